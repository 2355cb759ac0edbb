-- Takes one event into the balance of its owner.
-- Binds: 1 owner, 2 by how much the balance changes, 3 how many accounts more, 4 position.
-- Index: the primary key.
INSERT INTO user_balance AS b (owner, balance, accounts, position)
VALUES ($1, $2, $3, $4)
ON CONFLICT (owner) DO UPDATE SET balance = b.balance + excluded.balance,
    accounts = b.accounts + excluded.accounts, position = excluded.position
