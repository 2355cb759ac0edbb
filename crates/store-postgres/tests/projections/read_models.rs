//! Read-model tables as the application and its people meet them.

use std::sync::Arc;

use annals_core::{
    Changes, Checkpoint, Column, ColumnType, Commit, CommitError, Fence, FoldError,
    InlineProjection, Position, ProjectionSpec, ProjectionState, RebuildError, RebuildRecord, Row,
    RowAccess, StoreError, StoreErrorKind, StoredEvent, SwapRequest, Swapped, TableSpec, Target,
    Value,
};
use async_trait::async_trait;
use sqlx::Row as _;

use crate::accounts::{Bank, LEASE, now};

const OWNER: Column = Column {
    name: "owner",
    column_type: ColumnType::Text,
    nullable: false,
    key: true,
};
const BALANCE: Column = Column {
    name: "balance",
    column_type: ColumnType::Integer,
    nullable: true,
    key: false,
};
const NOTE: Column = Column {
    name: "note",
    column_type: ColumnType::Blob,
    nullable: true,
    key: false,
};
const OLD: TableSpec = TableSpec {
    name: "balances",
    columns: &[OWNER, BALANCE],
};
const NEW: TableSpec = TableSpec {
    name: "balances",
    columns: &[OWNER, NOTE, BALANCE],
};

fn spec(table: TableSpec) -> ProjectionSpec {
    ProjectionSpec {
        name: "balances".to_owned(),
        fingerprint: format!("{} columns", table.columns.len()),
        table: Some(table),
        inline: false,
    }
}

/// Adds nothing to a swap.
#[derive(Debug)]
struct Still(ProjectionSpec);

#[async_trait]
impl InlineProjection for Still {
    fn spec(&self) -> &ProjectionSpec {
        &self.0
    }

    async fn fold(&self, _: &[StoredEvent], _: &mut dyn RowAccess) -> Result<(), FoldError> {
        Ok(())
    }
}

fn commit(target: Target, table: TableSpec, fence: Fence, rows: Vec<Row>) -> Commit {
    let changes = Changes {
        upserts: rows,
        deletes: Vec::new(),
    };
    Commit {
        projection: "balances".to_owned(),
        target,
        fence,
        rows: Some((table, changes)),
        checkpoint: Checkpoint {
            position: fence.checkpoint.next(),
            event_id: None,
        },
        park: Vec::new(),
        unpark: Vec::new(),
        now: now(),
    }
}

fn old_row(owner: &str, balance: i64) -> Row {
    vec![Value::Text(owner.to_owned()), Value::Integer(balance)]
}

/// A live table with one row at position 1.
async fn live() -> Bank {
    let bank = Bank::open().await;
    let record = bank.store.register(&spec(OLD), now()).await.unwrap();
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: Position::START,
    };
    let step = commit(Target::Live, OLD, fence, vec![old_row("alice", 5)]);
    bank.store.commit(step).await.unwrap();
    bank
}

async fn rebuilt(bank: &Bank, table: TableSpec, rows: Vec<Row>) -> RebuildRecord {
    let spec = spec(table);
    let begun = bank.store.begin_rebuild(&spec, "me", LEASE, false, now());
    let mut rebuild = begun.await.unwrap();
    let fence = Fence {
        epoch: rebuild.epoch,
        checkpoint: Position::START,
    };
    let step = commit(Target::Rebuild, table, fence, rows);
    rebuild.checkpoint = step.checkpoint;
    bank.store.commit(step).await.unwrap();
    rebuild
}

async fn swap(bank: &Bank, table: TableSpec, rebuild: &RebuildRecord) -> Swapped {
    try_swap(bank, table, rebuild).await.unwrap()
}

async fn try_swap(
    bank: &Bank,
    table: TableSpec,
    rebuild: &RebuildRecord,
) -> Result<Swapped, RebuildError> {
    let request = SwapRequest {
        spec: spec(table),
        fence: Fence {
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint.position,
        },
        verify: Some(10),
        now: now(),
    };
    let still = Arc::new(Still(spec(table)));
    bank.store.swap(request, still).await
}

async fn balances(bank: &Bank) -> Vec<String> {
    bank.query("SELECT owner || '|' || balance FROM balances ORDER BY owner")
        .await
}

#[tokio::test]
async fn a_table_of_the_application_is_left_alone() {
    let bank = Bank::open().await;
    bank.sql("CREATE TABLE Balances (mine bigint)").await;
    let error: StoreError = bank.store.register(&spec(OLD), now()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert_eq!(bank.store.projection("balances").await.unwrap(), None);
    assert_eq!(bank.query("SELECT mine::text FROM Balances").await, [""; 0]);
}

#[tokio::test]
async fn a_table_that_somebody_dropped_is_filled_from_the_beginning() {
    let bank = live().await;
    bank.sql("DROP TABLE balances").await;
    let record = bank.store.register(&spec(OLD), now()).await.unwrap();
    assert_eq!(record.checkpoint, Checkpoint::default());
    assert_eq!(record.state, ProjectionState::Running);
    assert_eq!(balances(&bank).await, [""; 0]);
}

#[tokio::test]
async fn what_people_have_put_on_a_table_survives_a_swap() {
    let bank = live().await;
    bank.sql(
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
        let rows = vec![old_row("alice", 7), old_row("bob", round)];
        let rebuild = rebuilt(&bank, OLD, rows).await;
        swap(&bank, OLD, &rebuild).await;
        assert_eq!(bank.query(described).await, before);
    }
    assert_eq!(bank.query("SELECT sum::text FROM wealth").await, ["9"]);
    assert_eq!(
        bank.query("SELECT trunc(half)::text FROM halved").await,
        ["4"]
    );
    bank.sql("UPDATE balances SET balance = 0 WHERE owner = 'bob'")
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
        let bank = live().await;
        bank.sql(statement).await;
        let rebuild = rebuilt(&bank, OLD, vec![old_row("alice", 7)]).await;
        let error = try_swap(&bank, OLD, &rebuild).await.unwrap_err();
        let RebuildError::Store(error) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
        assert!(format!("{error:?}").contains(name), "{error:?}");
        assert_eq!(balances(&bank).await, ["alice|5"]);
        let record = bank.store.projection("balances").await.unwrap().unwrap();
        assert_eq!(record.rebuild, Some(rebuild), "the rebuild can go on");
    }
}

#[tokio::test]
async fn a_swap_waits_for_a_long_reader_without_holding_up_the_others() {
    let bank = live().await;
    let rebuild = rebuilt(&bank, OLD, vec![old_row("alice", 7)]).await;
    let mut long = bank.connection().await;
    let statement = "BEGIN; SELECT balance FROM balances";
    sqlx::raw_sql(statement).execute(&mut long).await.unwrap();
    let swapping = try_swap(&bank, OLD, &rebuild);
    let reading = async {
        let mut slowest = std::time::Duration::ZERO;
        for _ in 0..30 {
            let begun = std::time::Instant::now();
            assert_eq!(balances(&bank).await, ["alice|5"]);
            slowest = slowest.max(begun.elapsed());
        }
        sqlx::raw_sql("COMMIT").execute(&mut long).await.unwrap();
        slowest
    };
    let (swapped, slowest) = tokio::join!(swapping, reading);
    swapped.unwrap();
    assert!(slowest < std::time::Duration::from_secs(2), "{slowest:?}");
    assert_eq!(balances(&bank).await, ["alice|7"]);
}

#[tokio::test]
async fn text_with_a_nul_is_refused_with_a_reason_and_has_no_row() {
    let bank = live().await;
    let record = bank.store.projection("balances").await.unwrap().unwrap();
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: record.checkpoint.position,
    };
    let step = commit(Target::Live, OLD, fence, vec![old_row("a\0b", 1)]);
    let CommitError::Store(error) = bank.store.commit(step).await.unwrap_err() else {
        panic!("it is the store that refuses");
    };
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    let shown = format!("{error:?}");
    assert!(shown.contains("owner") && shown.contains("NUL"), "{shown}");
    let key = vec![Value::Text("a\0b".to_owned())];
    let found = bank.store.rows(&OLD, Target::Live, &[key]).await.unwrap();
    assert_eq!(found, [[]; 0]);
}

#[tokio::test]
async fn values_are_copied_as_they_are_bound() {
    let bank = live().await;
    let rows: Vec<Row> = (0..1_000)
        .map(|number| {
            let note = (number % 3 > 0).then(|| Value::Blob(vec![0, 255, b'\\', number as u8]));
            vec![
                Value::Text(format!("ä\t\n\\{number:04}")),
                note.unwrap_or(Value::Null),
                Value::Integer(i64::MIN + number),
            ]
        })
        .collect();
    let rebuild = rebuilt(&bank, NEW, rows.clone()).await;
    let all = bank.store.scan_rows(&NEW, Target::Rebuild, None, 2_000);
    assert_eq!(all.await.unwrap(), rows);
    // There are rows by now: these are not copied.
    let fence = Fence {
        epoch: rebuild.epoch,
        checkpoint: rebuild.checkpoint.position,
    };
    let step = commit(Target::Rebuild, NEW, fence, rows.clone());
    bank.store.commit(step).await.unwrap();
    let all = bank.store.scan_rows(&NEW, Target::Rebuild, None, 2_000);
    assert_eq!(all.await.unwrap(), rows);
}

#[tokio::test]
async fn prepared_statements_of_other_connections_survive_a_swap() {
    let bank = live().await;
    let mut reader = bank.connection().await;
    let statement = "SELECT balance FROM balances WHERE owner = 'alice'";
    let before = sqlx::query(statement).fetch_one(&mut reader).await.unwrap();
    assert_eq!(before.get::<i64, _>(0), 5);
    let row = vec![
        Value::Text("alice".to_owned()),
        Value::Blob(vec![1]),
        Value::Integer(7),
    ];
    let rebuild = rebuilt(&bank, NEW, vec![row]).await;
    swap(&bank, NEW, &rebuild).await;
    let after = sqlx::query(statement).fetch_one(&mut reader).await.unwrap();
    assert_eq!(after.get::<i64, _>(0), 7);
}

#[tokio::test]
async fn a_rebuild_brings_a_table_of_other_columns() {
    let bank = live().await;
    let outdated = bank.store.register(&spec(NEW), now()).await.unwrap();
    assert_eq!(outdated.state, ProjectionState::Outdated);
    let row = vec![Value::Text("alice".to_owned()), Value::Null, Value::Null];
    let rebuild = rebuilt(&bank, NEW, vec![row.clone()]).await;
    let swapped = swap(&bank, NEW, &rebuild).await;
    assert_eq!(swapped.differences, None, "there is nothing to compare");
    let found = bank.store.scan_rows(&NEW, Target::Live, None, 10).await;
    assert_eq!(found.unwrap(), [row]);
    let record = bank.store.register(&spec(NEW), now()).await.unwrap();
    assert_eq!(record.state, ProjectionState::Running);
}

#[tokio::test]
async fn an_index_that_does_not_fit_the_new_columns_stops_the_swap() {
    let bank = live().await;
    bank.sql("CREATE INDEX rich ON balances (balance)").await;
    const NARROW: TableSpec = TableSpec {
        name: "balances",
        columns: &[OWNER],
    };
    let row = vec![Value::Text("alice".to_owned())];
    let rebuild = rebuilt(&bank, NARROW, vec![row]).await;
    let error = try_swap(&bank, NARROW, &rebuild).await.unwrap_err();
    assert!(error.to_string().contains("rich"), "{error}");
    assert_eq!(balances(&bank).await, ["alice|5"]);
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_refused() {
    let bank = live().await;
    let record = bank.store.projection("balances").await.unwrap().unwrap();
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: record.checkpoint.position,
    };
    let wrong = vec![
        Value::Text("bob".to_owned()),
        Value::Text("many".to_owned()),
    ];
    let step = commit(Target::Live, OLD, fence, vec![wrong]);
    let refused = bank.store.commit(step).await.unwrap_err();
    // Of this kind the engine stops; others it would try again and again.
    let CommitError::Store(error) = refused else {
        panic!("{refused}");
    };
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    let short = vec![Value::Text("bob".to_owned())];
    let step = commit(Target::Live, OLD, fence, vec![short]);
    bank.store.commit(step).await.unwrap_err();
    assert_eq!(balances(&bank).await, ["alice|5"]);
}
