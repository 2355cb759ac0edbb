//! Many rows at once, which take another way into a rebuilt table than few.

use annals_testing::conformance::database::{BALANCES, balance};

use crate::schema::Bank;

const KEYS: &str = "SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype = 'p' AND conrelid IN (
        to_regclass('balances'), to_regclass('balances__rebuild'))
    ORDER BY 1";

#[tokio::test]
async fn many_first_rows_leave_a_rebuilt_table_its_key() {
    let bank = Bank::open().await;
    bank.fill_balances().await;
    let rows = (0..20_000).map(|number| balance(&format!("{:05}", number % 15_000), number));
    let rebuild = bank.rebuild_balances(BALANCES, rows.collect()).await;
    let keys = bank.query(KEYS).await;
    let [live, rebuilt] =
        ["balances", "balances__rebuild"].map(|table| format!("{table}_pkey PRIMARY KEY (owner)"));
    assert_eq!(keys, [rebuilt, live.clone()]);

    let swapped = bank.swap_balances(BALANCES, &rebuild).await.unwrap();
    assert_eq!(swapped.rows, 15_000);
    assert_eq!(bank.query(KEYS).await, [live]);
    // Of several rows with one key the last counts.
    let found = bank.query("SELECT balance::text FROM balances WHERE owner = '00007'");
    assert_eq!(found.await, ["15007"]);
}
