//! What other people put on read-model tables.

use annals_testing::conformance::database::{BALANCES, balance};

use crate::file::Bank;

#[tokio::test]
async fn indexes_views_and_triggers_of_others_survive_a_swap() {
    let bank = Bank::open().await;
    bank.fill_balances().await;
    bank.execute(
        "CREATE INDEX rich ON balances (balance);
         CREATE VIEW wealth AS SELECT sum(balance) AS sum FROM balances;
         CREATE TABLE changes (owner TEXT);
         CREATE TRIGGER noted AFTER UPDATE ON balances
         BEGIN INSERT INTO changes VALUES (new.owner); END",
    )
    .await;
    let rows = vec![balance("alice", 7), balance("bob", 1)];
    let rebuild = bank.rebuild_balances(BALANCES, rows).await;
    bank.swap_balances(BALANCES, &rebuild).await.unwrap();
    assert_eq!(bank.query("SELECT '' || sum FROM wealth").await, ["8"]);
    let index = "SELECT tbl_name FROM sqlite_schema WHERE name = 'rich'";
    assert_eq!(bank.query(index).await, ["balances"]);
    bank.execute("UPDATE balances SET balance = 0 WHERE owner = 'bob'")
        .await;
    assert_eq!(bank.query("SELECT owner FROM changes").await, ["bob"]);
}
