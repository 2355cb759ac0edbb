//! Who may write: leases by the database's clock, fences, and what they keep out.

use std::time::Duration;

use annals_core::{
    Changes, Checkpoint, Claim, Column, ColumnType, Commit, CommitError, Fence, Position,
    ProjectionSpec, ProjectionState, TableSpec, Target, Value,
};
use annals_testing::conformance::{Fixture as _, database::Database as _};
use chrono::Utc;

use crate::schema::{Bank, Schema};

const COUNTS: TableSpec = TableSpec {
    name: "counts",
    columns: &[
        Column {
            name: "name",
            column_type: ColumnType::Text,
            nullable: false,
            key: true,
        },
        Column {
            name: "count",
            column_type: ColumnType::Integer,
            nullable: false,
            key: false,
        },
    ],
};

fn spec() -> ProjectionSpec {
    ProjectionSpec {
        name: "counts".to_owned(),
        fingerprint: "1".to_owned(),
        table: Some(COUNTS),
        inline: false,
    }
}

fn step(epoch: u64, from: u64, name: &str, target: Target) -> Commit {
    let row = vec![Value::Text(name.to_owned()), Value::Integer(1)];
    let changes = Changes {
        upserts: vec![row],
        deletes: Vec::new(),
    };
    Commit {
        projection: "counts".to_owned(),
        target,
        fence: Fence {
            epoch,
            checkpoint: Position::new(from),
        },
        rows: Some((COUNTS, changes)),
        checkpoint: Checkpoint {
            position: Position::new(from + 1),
            event_id: None,
        },
        park: Vec::new(),
        unpark: Vec::new(),
        now: Utc::now(),
    }
}

async fn names(bank: &Bank) -> Vec<String> {
    bank.query("SELECT name FROM counts ORDER BY name").await
}

async fn claimed(bank: &Bank, owner: &str, term: Duration) -> Claim {
    bank.store.claim("counts", owner, term).await.unwrap()
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_lease_is_judged_by_the_databases_clock() {
    let bank = Bank::open().await;
    bank.store.register(&spec(), Utc::now()).await.unwrap();
    let Claim::Held { epoch } = claimed(&bank, "first", LONG).await else {
        panic!("nobody else is there");
    };
    let held = claimed(&bank, "second", LONG).await;
    let owner = "first".to_owned();
    assert_eq!(held, Claim::HeldBy { owner });
    // No time passes here but in the database.
    bank.execute("UPDATE annals_projections SET lease_until = lease_until - interval '11 minutes'")
        .await;
    let record = bank.record("counts").await;
    assert!(!record.leased);
    let taken = claimed(&bank, "second", LONG).await;
    assert_eq!(taken, Claim::Held { epoch: epoch + 1 });
}

#[tokio::test]
async fn who_was_overtaken_writes_nothing_and_an_unfenced_write_shows() {
    let bank = Bank::open().await;
    bank.store.register(&spec(), Utc::now()).await.unwrap();
    let Claim::Held { epoch: old } = claimed(&bank, "stalled", Duration::ZERO).await else {
        panic!("nobody else is there");
    };
    let Claim::Held { epoch: new } = claimed(&bank, "awake", LONG).await else {
        panic!("the lease has run out");
    };
    let late = bank.store.commit(step(old, 0, "late", Target::Live)).await;
    assert!(matches!(late, Err(CommitError::Fenced { .. })), "{late:?}");
    let good = bank.store.commit(step(new, 0, "good", Target::Live));
    good.await.unwrap();
    assert_eq!(names(&bank).await, ["good"]);
    // The control: without the fence the late row is there, and this test sees it.
    bank.execute("INSERT INTO counts VALUES ('late', 1)").await;
    assert_eq!(names(&bank).await, ["good", "late"]);
}

#[tokio::test]
async fn a_rebuild_whose_server_process_is_killed_goes_on_from_its_last_commit() {
    let bank = Bank::open().await;
    bank.store.register(&spec(), Utc::now()).await.unwrap();
    let begun = bank
        .store
        .begin_rebuild(&spec(), "me", LONG, false, Utc::now())
        .await
        .unwrap();
    let first = bank
        .store
        .commit(step(begun.epoch, 0, "a", Target::Rebuild));
    first.await.unwrap();
    // A transaction of somebody else keeps the next step waiting, until its backend is killed.
    let mut other = bank.database.connect().await;
    Schema::execute(&mut other, "BEGIN; LOCK TABLE counts__rebuild").await;
    let store = bank.store.clone();
    let waiting = tokio::spawn(async move {
        let step = step(begun.epoch, 1, "b", Target::Rebuild);
        store.commit(step).await
    });
    let kill = "SELECT pg_terminate_backend(pid)::text FROM pg_locks
                 WHERE relation = 'counts__rebuild'::regclass AND NOT granted";
    let mut killed = 0;
    while killed < 2 {
        killed += bank.query(kill).await.len();
    }
    Schema::execute(&mut other, "COMMIT").await;
    waiting.await.unwrap().unwrap();
    let other = bank.database.open().await;
    let record = other.projection("counts").await.unwrap().unwrap();
    let position = record.rebuild.unwrap().checkpoint.position;
    assert_eq!(position, Position::new(2));
    assert_eq!(record.state, ProjectionState::Running);
    let rows = other.scan_rows(&COUNTS, Target::Rebuild, None, 9).await;
    assert_eq!(rows.unwrap().len(), 2, "each row once");
}
