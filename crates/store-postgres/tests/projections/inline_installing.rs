//! Installing an inline projection while other processes append with it.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Column, ColumnType, FoldError, InlineProjection, Position, ProjectionSpec, ProjectionState,
    RowAccess, StoredEvent, TableSpec,
};
use annals_postgres::PostgresStore;
use annals_testing::conformance::{
    Fixture as _,
    database::{Database as _, append_to, deposited},
};
use async_trait::async_trait;
use chrono::Utc;
use sqlx::Connection as _;
use tokio::time::{sleep, timeout};

use crate::schema::Bank;

/// The account whose events can't be folded.
const POISONED: &str = "poisoned";

/// Takes every event in but those of one stream, and keeps nothing of it but the checkpoint.
#[derive(Debug)]
struct Seen(ProjectionSpec);

impl Seen {
    fn new() -> Self {
        Self(ProjectionSpec {
            name: "seen".to_owned(),
            fingerprint: "1".to_owned(),
            table: Some(TableSpec {
                name: "seen",
                columns: &[Column {
                    name: "name",
                    column_type: ColumnType::Text,
                    nullable: false,
                    key: true,
                }],
            }),
            inline: true,
        })
    }
}

#[async_trait]
impl InlineProjection for Seen {
    fn spec(&self) -> &ProjectionSpec {
        &self.0
    }

    async fn fold(&self, events: &[StoredEvent], _: &mut dyn RowAccess) -> Result<(), FoldError> {
        let poison = events.iter().find(|event| event.stream.id() == POISONED);
        let refusal = |event: &StoredEvent| FoldError::event("seen", event, "it is poison");
        poison.map_or(Ok(()), |event| Err(refusal(event)))
    }
}

/// The new node looks at the log's end, waits for the append that holds the projection's record,
/// and finds a checkpoint beyond that end: this is no other log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_of_another_node_meanwhile_does_not_halt_it() {
    let bank = Bank::open().await;
    let seen = Seen::new();
    bank.store.register(&seen.0, Utc::now()).await.unwrap();
    bank.store.install_inline(Arc::new(seen)).await.unwrap();
    bank.append("account-1", &[deposited("alice", 1)]).await;

    // An append in the middle of its transaction, with the record in its hands.
    let mut conn = bank.database.connect().await;
    let mut transaction = conn.begin().await.unwrap();
    let store: &PostgresStore = bank.store.as_any().downcast_ref().unwrap();
    let append = append_to("account-1", &[deposited("alice", 1)]);
    let appended = store.append_in(&mut transaction, append).await.unwrap();
    assert_eq!(appended.position, Position::new(2));

    let other = bank.database.open().await;
    let installing = tokio::spawn(async move { other.install_inline(Arc::new(Seen::new())).await });
    let waits = "SELECT pid::text FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND position(current_schema() IN query) > 0";
    let waiting = async {
        while bank.query(waits).await.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let waiting = timeout(Duration::from_secs(20), waiting).await;
    waiting.expect("the installation waits for the record");
    transaction.commit().await.unwrap();
    installing.await.unwrap().unwrap();

    let record = bank.record("seen").await;
    assert_eq!(
        record.state,
        ProjectionState::Running,
        "{:?}",
        record.failure
    );
    assert_eq!(record.checkpoint.position, Position::new(2));
}

/// Who appends in no other way must not be refused for ever: it is nobody's fault who appends now.
#[tokio::test]
async fn an_event_that_was_missed_and_cannot_be_folded_stops_no_append_of_a_users_transaction() {
    let bank = Bank::open().await;
    let seen = Seen::new();
    bank.store.register(&seen.0, Utc::now()).await.unwrap();
    bank.store.install_inline(Arc::new(seen)).await.unwrap();
    let set = |state| bank.store.set_state("seen", state, Utc::now());
    set(ProjectionState::Paused).await.unwrap();
    bank.append("account-poisoned", &[deposited("alice", 1)])
        .await;
    set(ProjectionState::Running).await.unwrap();

    let mut conn = bank.database.connect().await;
    let mut transaction = conn.begin().await.unwrap();
    let insert = "INSERT INTO factors VALUES (2)";
    sqlx::raw_sql(insert)
        .execute(&mut *transaction)
        .await
        .unwrap();
    let store: &PostgresStore = bank.store.as_any().downcast_ref().unwrap();
    let append = append_to("account-1", &[deposited("alice", 1)]);
    let appended = store.append_in(&mut transaction, append).await.unwrap();
    assert_eq!(appended.position, Position::new(2));
    let record = bank.record("seen").await;
    assert_eq!(record.state, ProjectionState::Failed);
    assert_eq!(record.failure.unwrap().position, Position::new(1));
    transaction.commit().await.unwrap();
    assert_eq!(bank.store.head().await.unwrap(), Position::new(2));
    let factors = bank
        .query("SELECT factor::text FROM factors ORDER BY factor")
        .await;
    assert_eq!(factors, ["1", "2"], "the transaction is as it was");
}
