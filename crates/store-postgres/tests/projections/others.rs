//! What other people do with read-model tables, and what they put on them.

use std::time::{Duration, Instant};

use annals_core::{CommitError, RebuildError, StoreErrorKind, Target, Value};
use annals_testing::conformance::database::{BALANCES, Database as _, balance};

use crate::schema::{Bank, Schema};

#[tokio::test]
async fn what_people_have_put_on_a_table_survives_a_swap() {
    let bank = Bank::open().await;
    bank.fill_balances().await;
    bank.execute(
        "CREATE INDEX \"rich % people\" ON balances (balance) WHERE balance > 100;
         CREATE UNIQUE INDEX ON balances (lower(owner));
         ALTER TABLE balances ADD CONSTRAINT no_debt CHECK (balance >= 0);
         CREATE VIEW wealth WITH (security_barrier) AS SELECT sum(balance) AS sum FROM balances;
         CREATE VIEW halved AS SELECT sum / 2 AS half FROM wealth;
         GRANT SELECT ON balances, wealth TO PUBLIC;
         GRANT UPDATE (balance) ON balances TO PUBLIC;
         COMMENT ON TABLE balances IS 'what they have';
         COMMENT ON COLUMN balances.balance IS 'in cents';
         CREATE TABLE changes (owner text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO changes VALUES (new.owner); RETURN new; END $$;
         CREATE TRIGGER noted AFTER UPDATE ON balances FOR EACH ROW EXECUTE FUNCTION note();",
    )
    .await;
    let described = "SELECT concat_ws(' / ', c.relname, c.relacl, c.reloptions,
                obj_description(c.oid, 'pg_class'), col_description(c.oid, 2), a.attacl,
                (SELECT string_agg(indexdef, ' ' ORDER BY indexdef) FROM pg_indexes
                  WHERE schemaname = current_schema() AND tablename = c.relname),
                (SELECT string_agg(conname || pg_get_constraintdef(oid), ' ' ORDER BY conname)
                   FROM pg_constraint WHERE conrelid = c.oid))
           FROM pg_class AS c LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = 2
          WHERE c.relnamespace = current_schema()::regnamespace
            AND c.relname IN ('balances', 'wealth', 'halved') ORDER BY c.relname";
    let before = bank.query(described).await;
    for round in 1..=2 {
        let rows = vec![balance("alice", 7), balance("bob", round)];
        let rebuild = bank.rebuild_balances(BALANCES, rows).await;
        bank.swap_balances(BALANCES, &rebuild).await.unwrap();
        assert_eq!(bank.query(described).await, before);
    }
    assert_eq!(bank.query("SELECT sum::text FROM wealth").await, ["9"]);
    assert_eq!(
        bank.query("SELECT trunc(half)::text FROM halved").await,
        ["4"]
    );
    bank.execute("UPDATE balances SET balance = 0 WHERE owner = 'bob'")
        .await;
    assert_eq!(bank.query("SELECT owner FROM changes").await, ["bob"]);
}

#[tokio::test]
async fn what_cannot_be_carried_over_stops_the_swap_and_is_named() {
    let all = [
        (
            "CREATE MATERIALIZED VIEW frozen AS SELECT * FROM balances",
            "frozen",
        ),
        ("CREATE POLICY mine ON balances USING (true)", "mine"),
        (
            "CREATE TABLE notes (owner text REFERENCES balances)",
            "notes_owner_fkey",
        ),
    ];
    for (statement, name) in all {
        let bank = Bank::open().await;
        bank.fill_balances().await;
        bank.execute(statement).await;
        let rebuild = bank
            .rebuild_balances(BALANCES, vec![balance("alice", 7)])
            .await;
        let error = bank.swap_balances(BALANCES, &rebuild).await.unwrap_err();
        let RebuildError::Store(error) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
        assert!(format!("{error:?}").contains(name), "{error:?}");
        assert_eq!(bank.balances().await, ["alice|5"]);
        let record = bank.record("balances").await;
        assert_eq!(record.rebuild, Some(rebuild), "the rebuild can go on");
    }
}

#[tokio::test]
async fn what_is_put_on_a_table_while_the_swap_waits_for_it_stops_the_swap_too() {
    let bank = Bank::open().await;
    bank.fill_balances().await;
    let rows = vec![balance("alice", 7)];
    let rebuild = bank.rebuild_balances(BALANCES, rows).await;
    let mut other = bank.database.connect().await;
    let policy = "BEGIN; CREATE POLICY mine ON balances USING (true)";
    Schema::execute(&mut other, policy).await;
    let swapping = bank.swap_balances(BALANCES, &rebuild);
    let committing = async {
        let waiting = "SELECT 'it waits' FROM pg_locks
                        WHERE relation = 'balances'::regclass AND NOT granted";
        while Schema::query(&mut other, waiting).await.is_empty() {}
        Schema::execute(&mut other, "COMMIT").await;
    };
    let (swapped, ()) = tokio::join!(swapping, committing);
    let shown = format!("{:?}", swapped.unwrap_err());
    assert!(shown.contains("row security policy `mine`"), "{shown}");
    assert_eq!(bank.balances().await, ["alice|5"]);
}

#[tokio::test]
async fn row_level_security_stays_on_across_a_swap() {
    let flags = "SELECT concat_ws(' ', relrowsecurity, relforcerowsecurity) FROM pg_class
                  WHERE oid = 'balances'::regclass";
    let all = [
        ("SELECT 'neither'", "f f"),
        ("ALTER TABLE balances ENABLE ROW LEVEL SECURITY", "t f"),
        ("ALTER TABLE balances FORCE ROW LEVEL SECURITY", "f t"),
        (
            "ALTER TABLE balances ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            "t t",
        ),
    ];
    for (statement, expected) in all {
        let bank = Bank::open().await;
        bank.fill_balances().await;
        bank.execute(statement).await;
        let rows = vec![balance("alice", 7)];
        let rebuild = bank.rebuild_balances(BALANCES, rows).await;
        bank.swap_balances(BALANCES, &rebuild).await.unwrap();
        assert_eq!(bank.query(flags).await, [expected], "{statement}");
    }
}

#[tokio::test]
async fn a_swap_waits_for_a_long_reader_without_holding_up_the_others() {
    let bank = Bank::open().await;
    bank.fill_balances().await;
    let rebuild = bank
        .rebuild_balances(BALANCES, vec![balance("alice", 7)])
        .await;
    let mut long = bank.database.connect().await;
    Schema::execute(&mut long, "BEGIN; SELECT balance FROM balances").await;
    let swapping = bank.swap_balances(BALANCES, &rebuild);
    let reading = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..30 {
            let begun = Instant::now();
            assert_eq!(bank.balances().await, ["alice|5"]);
            slowest = slowest.max(begun.elapsed());
        }
        Schema::execute(&mut long, "COMMIT").await;
        slowest
    };
    let (swapped, slowest) = tokio::join!(swapping, reading);
    swapped.unwrap();
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(bank.balances().await, ["alice|7"]);
}

#[tokio::test]
async fn text_with_a_nul_is_refused_with_a_reason_and_has_no_row() {
    let bank = Bank::open().await;
    bank.fill_balances().await;
    let refused = bank.write_balance("a\0b", 1).await;
    let CommitError::Store(error) = refused.unwrap_err() else {
        panic!("it is the store that refuses");
    };
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    let shown = format!("{error:?}");
    assert!(shown.contains("owner") && shown.contains("NUL"), "{shown}");
    let key = vec![Value::Text("a\0b".to_owned())];
    let found = bank.store.rows(&BALANCES, Target::Live, &[key]).await;
    assert_eq!(found.unwrap(), [[]; 0]);
}
