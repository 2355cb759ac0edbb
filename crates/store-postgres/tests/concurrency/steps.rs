//! Read models, their leases, states and rebuilds, by callers who may go away.
//!
//! Each read model has one row, which says how far it reaches: it agrees with the checkpoint, or a
//! step came through in part.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Changes, Checkpoint, Claim, Column, ColumnType, Commit, CommitError, EventStore as _, Fence,
    FoldError, InlineProjection, Position, ProjectionRecord, ProjectionSpec, ProjectionState,
    ProjectionStore as _, RebuildError, Row, RowAccess, StoreError, StoredEvent, SwapRequest,
    TableSpec, Target, Value,
};
use annals_postgres::PostgresStore;
use annals_testing::seed::Seed;
use chrono::Utc;
use futures_util::future::join_all;

const TABLES: [TableSpec; 4] = [
    table("first"),
    table("second"),
    table("third"),
    table("fourth"),
];

const fn table(name: &'static str) -> TableSpec {
    TableSpec {
        name,
        columns: &[
            Column {
                name: "name",
                column_type: ColumnType::Text,
                nullable: false,
                key: true,
            },
            Column {
                name: "position",
                column_type: ColumnType::Integer,
                nullable: false,
                key: false,
            },
        ],
    }
}

/// What a caller was told of a read model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    which: usize,
    position: Position,
    epoch: u64,
}

pub(crate) async fn register(store: &PostgresStore) {
    for table in TABLES {
        let record = store.register(&spec(table), Utc::now()).await;
        record.expect("it is registered");
    }
}

/// Does something to one of the read models; answers what is certain by then.
pub(crate) async fn operate(store: &PostgresStore, mut seed: Seed) -> Option<Told> {
    let which = seed.below(TABLES.len());
    match seed.below(8) {
        0 => claim(store, which).await,
        1 => set_state(store, which, &mut seed).await,
        2..5 => rebuild(store, which, &mut seed).await,
        _ => commit(store, which).await,
    }
}

async fn claim(store: &PostgresStore, which: usize) -> Option<Told> {
    let owner = Utc::now().timestamp_micros().to_string();
    let claimed = store.claim(TABLES[which].name, &owner, Duration::ZERO);
    match passing(claimed.await)? {
        Claim::Held { epoch } => Some(Told {
            which,
            position: Position::START,
            epoch,
        }),
        Claim::HeldBy { .. } => None,
    }
}

async fn set_state(store: &PostgresStore, which: usize, seed: &mut Seed) -> Option<Told> {
    let state = match seed.below(3) {
        0 => ProjectionState::Paused,
        _ => ProjectionState::Running,
    };
    let record = store.set_state(TABLES[which].name, state, Utc::now()).await;
    let record = passing(record)?.expect("it is registered");
    Some(Told {
        which,
        position: record.checkpoint.position,
        epoch: record.epoch,
    })
}

async fn commit(store: &PostgresStore, which: usize) -> Option<Told> {
    let record = passing(store.projection(TABLES[which].name).await)??;
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: record.checkpoint.position,
    };
    let step = step(store, which, Target::Live, fence).await?;
    let position = step.checkpoint.position;
    match store.commit(step).await {
        Ok(()) => Some(Told {
            which,
            position,
            epoch: fence.epoch,
        }),
        Err(CommitError::Fenced { .. }) => None,
        Err(CommitError::Store(error)) => passing(Err(error)),
        Err(error) => panic!("a step failed: {error:?}"),
    }
}

/// Begins a rebuild or takes over another's, and does the next thing to it.
async fn rebuild(store: &PostgresStore, which: usize, seed: &mut Seed) -> Option<Told> {
    let spec = spec(TABLES[which]);
    let restart = seed.chance(1, 10);
    let begun = store.begin_rebuild(&spec, "me", Duration::ZERO, restart, Utc::now());
    let begun = settled(begun.await)?;
    let fence = Fence {
        epoch: begun.epoch,
        checkpoint: begun.checkpoint.position,
    };
    match seed.below(5) {
        0 => {
            let keep = seed.chance(1, 2);
            settled(store.abandon_rebuild(&spec.name, begun.epoch, keep).await)?;
            None
        }
        1 => {
            let request = SwapRequest {
                spec: spec.clone(),
                fence,
                verify: None,
                now: Utc::now(),
            };
            let swapped = settled(store.swap(request, Arc::new(Last(spec))).await)?;
            Some(Told {
                which,
                position: swapped.checkpoint.position,
                epoch: 0,
            })
        }
        _ => {
            let step = step(store, which, Target::Rebuild, fence).await?;
            match store.commit(step).await {
                Ok(()) | Err(CommitError::Fenced { .. }) => None,
                Err(CommitError::Store(error)) => passing(Err(error)),
                Err(error) => panic!("a step of a rebuild failed: {error:?}"),
            }
        }
    }
}

/// Steps that come too late, as many at once as there are connections and more: each is undone, and
/// none may leave its connection in the transaction.
pub(crate) async fn come_too_late(store: &PostgresStore) {
    let steps = (0..16).map(|number| {
        store.commit(Commit {
            projection: TABLES[number % TABLES.len()].name.to_owned(),
            target: Target::Live,
            fence: Fence {
                epoch: u64::from(u32::MAX),
                checkpoint: Position::START,
            },
            rows: None,
            checkpoint: Checkpoint::default(),
            park: Vec::new(),
            unpark: Vec::new(),
            now: Utc::now(),
        })
    });
    for step in join_all(steps).await {
        assert!(matches!(step, Err(CommitError::Fenced { .. })), "{step:?}");
    }
}

/// A step to the next event, if there is one.
async fn step(store: &PostgresStore, which: usize, target: Target, fence: Fence) -> Option<Commit> {
    let next = fence.checkpoint.next();
    if passing(store.head().await)? < next {
        return None;
    }
    Some(Commit {
        projection: TABLES[which].name.to_owned(),
        target,
        fence,
        rows: Some((TABLES[which], reaches(next))),
        checkpoint: Checkpoint {
            position: next,
            event_id: None,
        },
        park: Vec::new(),
        unpark: Vec::new(),
        now: Utc::now(),
    })
}

/// What was answered, unless the store failed in a way that passes.
fn passing<T>(answer: Result<T, StoreError>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(error) if error.is_transient() => None,
        Err(error) => panic!("the store failed: {error:?}"),
    }
}

/// What was answered, unless somebody else was there first.
fn settled<T>(answer: Result<T, RebuildError>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(RebuildError::Fenced { .. } | RebuildError::AlreadyRunning { .. }) => None,
        Err(RebuildError::Store(error)) => passing(Err(error)),
        Err(error) => panic!("a rebuild failed: {error:?}"),
    }
}

/// Checks that nothing was lost that anybody was told, and that no step came through in part.
pub(crate) async fn check(store: &PostgresStore, told: &[Told]) {
    for (which, table) in TABLES.iter().enumerate() {
        let record = store.projection(table.name).await;
        let record = record.expect("it can be read").expect("it is registered");
        for told in told.iter().filter(|told| told.which == which) {
            assert!(
                record.checkpoint.position >= told.position && record.epoch >= told.epoch,
                "{told:?} is lost: {record:?}"
            );
        }
        check_rows(store, table, &record).await;
    }
}

async fn check_rows(store: &PostgresStore, table: &TableSpec, record: &ProjectionRecord) {
    let live = Some((Target::Live, record.checkpoint));
    let rebuild = record.rebuild.as_ref();
    let rebuild = rebuild.map(|rebuild| (Target::Rebuild, rebuild.checkpoint));
    for (target, checkpoint) in live.into_iter().chain(rebuild) {
        let rows = store.scan_rows(table, target, None, 9).await;
        let expected: Vec<_> = match checkpoint.position {
            Position::START => Vec::new(),
            position => reaches(position).upserts,
        };
        assert_eq!(
            rows.expect("it can be read"),
            expected,
            "{target:?} of {record:?}"
        );
    }
}

fn spec(table: TableSpec) -> ProjectionSpec {
    ProjectionSpec {
        name: table.name.to_owned(),
        fingerprint: "1".to_owned(),
        table: Some(table),
        inline: false,
    }
}

/// The row of a read model that reaches as far as this.
fn reaches(position: Position) -> Changes {
    let number = i64::try_from(position.get()).expect("a small number");
    let row: Row = vec![Value::Text("last".to_owned()), Value::Integer(number)];
    Changes {
        upserts: vec![row],
        deletes: Vec::new(),
    }
}

/// Says in its row how far it reaches.
#[derive(Debug)]
struct Last(ProjectionSpec);

#[async_trait::async_trait]
impl InlineProjection for Last {
    fn spec(&self) -> &ProjectionSpec {
        &self.0
    }

    async fn fold(
        &self,
        events: &[StoredEvent],
        rows: &mut dyn RowAccess,
    ) -> Result<(), FoldError> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        rows.write(reaches(last.position)).await?;
        Ok(())
    }
}
