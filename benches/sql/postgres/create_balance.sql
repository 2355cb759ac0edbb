-- A read model that is updated by one statement an event. `/*schema*/` is filled in.
CREATE TABLE /*schema*/.user_balance (
    owner    text   COLLATE "C" PRIMARY KEY,
    balance  bigint NOT NULL,
    accounts bigint NOT NULL,
    position bigint NOT NULL
)
