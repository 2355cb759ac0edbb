//! One batch of appends: decided, written and committed together.

use std::time::Duration;

use annals_core::{
    Append, AppendError, Appended, FoldError, Position, StoreError, StoreErrorKind, StoredEvent,
    admission::{Decided, Facts, decide, streams},
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{connection::silent, heads::Heads, task::Writer};
use crate::{
    error::{failed, is_read_only, is_unique_violation},
    event_row::clamped,
    facts,
    insert::{NewRow, insert, recorded},
    projections::inline::{Installed, fold_inline},
    retry::Attempts,
    sql,
    transaction::Session,
};

pub(crate) const DOING: &str = "append events";

/// What each append of a batch came to.
pub(super) type Outcomes = Vec<Result<Appended, AppendError>>;

/// How long a batch may take besides waiting for the append lock, and how long its commit.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a batch came to nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// An inline projection refused an event.
    Refused(FoldError),
    /// The store failed, and nothing was committed.
    Store(StoreError),
    /// The commit failed, and nobody knows how far it came.
    Unknown(StoreError),
}

impl Failed {
    /// What one of the batch's callers is told.
    pub(super) fn for_one(&self) -> AppendError {
        match self {
            Self::Refused(FoldError::Event {
                projection,
                message,
                ..
            }) => AppendError::InlineProjection {
                projection: projection.clone(),
                message: message.clone(),
            },
            Self::Refused(FoldError::Store(error)) | Self::Store(error) => {
                AppendError::Store(copy(error))
            }
            Self::Refused(error) => AppendError::Store(
                StoreError::new(StoreErrorKind::Other, DOING).caused_by(error.to_string()),
            ),
            Self::Unknown(error) => AppendError::Unknown(copy(error)),
        }
    }
}

/// What an append is told whose events an inline projection could not fold.
pub(crate) fn refusal(error: FoldError) -> AppendError {
    match error {
        FoldError::Store(error) => AppendError::Store(error),
        refused => Failed::Refused(refused).for_one(),
    }
}

/// The same error again, for several callers.
fn copy(error: &StoreError) -> StoreError {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    StoreError::new(error.kind(), DOING).caused_by(cause.unwrap_or_else(|| error.to_string()))
}

/// How a batch is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// Streams are taken to be where they are remembered, and ids to be new; unique indexes say
    /// when they are not.
    Trusting,
    /// Everything is looked up first.
    Checking,
}

/// Why an attempt at a batch came to nothing.
enum Undone {
    /// What was trusted was wrong: decide again, and look at everything first.
    Mistrust,
    /// An inline projection was installed meanwhile: begin again.
    Installed,
    /// An inline projection refused an event.
    Refused(FoldError),
    /// The store failed.
    Store(StoreError),
    /// The commit failed, and nobody knows yet how far it came.
    AtCommit(Box<Ready>, StoreError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A batch that is written, and committed or about to be.
struct Ready {
    outcomes: Outcomes,
    head: Position,
    /// By which a commit is found whose answer was lost.
    proof: Proof,
    wrote: bool,
}

/// All that a batch has written. A part of it proves nothing: whoever got no answer may have
/// repeated an append on another node, which committed it alone.
struct Proof {
    positions: Vec<i64>,
    events: Vec<Uuid>,
    appends: Vec<Uuid>,
}

impl Proof {
    fn of(decided: &Decided<'_>) -> Self {
        let placed = &decided.placed;
        let appends = decided.recorded.iter();
        Self {
            positions: placed
                .iter()
                .map(|row| clamped(row.position.get()))
                .collect(),
            events: placed.iter().map(|row| row.event.id.uuid()).collect(),
            appends: appends.map(|(id, ..)| id.uuid()).collect(),
        }
    }
}

/// Decides and commits a batch.
pub(super) async fn batch(writer: &mut Writer, appends: &[&Append]) -> Result<Outcomes, Failed> {
    let mut attempts = Attempts::default();
    let mut care = Care::Trusting;
    loop {
        let error = match attempt(writer, appends, care).await {
            Ok(ready) => return Ok(done(writer, ready)),
            Err(Undone::Installed) => continue,
            Err(Undone::Mistrust) if care == Care::Trusting => {
                care = Care::Checking;
                continue;
            }
            Err(Undone::Mistrust) => {
                let error = StoreError::new(StoreErrorKind::Corrupt, DOING);
                return Err(Failed::Store(error.caused_by(
                    "a unique index refused what the table does not have: somebody writes to the \
                     log's tables without the append lock, or an index is damaged",
                )));
            }
            Err(Undone::Refused(error)) => return Err(Failed::Refused(error)),
            Err(Undone::Store(error)) => error,
            Err(Undone::AtCommit(ready, error)) => {
                tracing::warn!(?error, "a commit failed; looking whether it came through");
                let committed = is_committed(writer, &ready.proof).await;
                if !matches!(committed, Ok(true)) {
                    // They include the batch.
                    writer.heads = Heads::default();
                }
                match committed {
                    Ok(true) => return Ok(done(writer, *ready)),
                    Ok(false) => error,
                    Err(_) => return Err(Failed::Unknown(error)),
                }
            }
        };
        if !attempts.go_on_after(&error).await {
            return Err(Failed::Store(error));
        }
    }
}

fn done(writer: &Writer, ready: Ready) -> Outcomes {
    writer.tail.grown_to(ready.head);
    ready.outcomes
}

/// Decides, writes and commits a batch in a new transaction. The connection is given up, and with
/// it whatever was not committed, unless all ends cleanly.
async fn attempt(writer: &mut Writer, appends: &[&Append], care: Care) -> Result<Ready, Undone> {
    let mut conn = writer.link.take().await?;
    let patience = writer.lock_timeout.saturating_add(PATIENCE);
    let installed = !writer.installed().is_empty();
    let opened = writer.link.open(&mut conn, installed, writer.heads.known());
    let opened = timeout(patience, opened).await;
    let (mut open, found) = opened.map_err(|_| silent(DOING))?.map_err(failed(DOING))?;
    writer.heads.recognise(found.known);
    let written = write(writer, open.conn(), appends, care, found.head);
    let written = timeout(PATIENCE, written).await;
    let written = written.unwrap_or_else(|_| Err(silent(DOING).into()));
    let ready = match written {
        Ok(ready) if ready.wrote => ready,
        refused => {
            let rolled_back = timeout(PATIENCE, open.roll_back()).await;
            let elsewhere = matches!(&refused, Err(Undone::Store(error)) if is_read_only(error));
            if matches!(rolled_back, Ok(Ok(()))) && !elsewhere {
                writer.link.put(conn);
            }
            return refused;
        }
    };
    match timeout(PATIENCE, open.commit()).await {
        Ok(Ok(())) => {
            writer.link.put(conn);
            Ok(ready)
        }
        Ok(Err(error)) => Err(Undone::AtCommit(Box::new(ready), failed(DOING)(error))),
        Err(_) => Err(Undone::AtCommit(Box::new(ready), silent(DOING))),
    }
}

/// Decides and writes a batch under the append lock.
async fn write(
    writer: &mut Writer,
    conn: &mut PgConnection,
    appends: &[&Append],
    care: Care,
    head: Position,
) -> Result<Ready, Undone> {
    // Read under the lock, as an installation is made under it.
    let installed = writer.installed();
    let sql = writer.link.sql.clone();
    let mut session = Session { conn, sql: &sql };
    if !installed.is_empty() && !session.conn.is_in_transaction() {
        return Err(Undone::Installed);
    }
    let decided = decided(&mut session, &writer.heads, appends, care, head).await?;
    if decided.writes() {
        let rows = decided.placed.iter().map(NewRow::from);
        let recorded = recorded(&decided.recorded);
        let written = insert(&mut session, rows, &recorded, writer.notify).await;
        written.map_err(|error| {
            if is_unique_violation(&error) {
                Undone::Mistrust
            } else {
                Undone::Store(failed(DOING)(error))
            }
        })?;
        fold(&mut session, &installed, head, &decided).await?;
        writer.learn(&decided);
    }
    let last = decided.placed.last();
    Ok(Ready {
        head: last.map_or(head, |row| row.position),
        proof: Proof::of(&decided),
        wrote: decided.writes(),
        outcomes: decided.outcomes,
    })
}

/// Folds the batch's events into the inline projections.
async fn fold(
    session: &mut Session<'_>,
    installed: &[Installed],
    head: Position,
    decided: &Decided<'_>,
) -> Result<(), Undone> {
    if installed.is_empty() || decided.placed.is_empty() {
        return Ok(());
    }
    let events: Vec<StoredEvent> = decided.placed.iter().map(|row| row.stored()).collect();
    let folded = fold_inline(session, installed, head, &events).await;
    folded.map_err(|error| match error {
        FoldError::Store(error) => Undone::Store(error),
        refused => Undone::Refused(refused),
    })?;
    // A statement of the user's may have failed without anybody taking notice, and to commit
    // what has failed is no error but rolls back.
    let alive = sqlx::raw_sql("SELECT 1").execute(&mut *session.conn).await;
    alive.map(drop).map_err(failed(DOING))?;
    Ok(())
}

/// Decides a batch: on trust if that lets everything in, else on all the facts.
async fn decided<'a>(
    session: &mut Session<'_>,
    heads: &Heads,
    appends: &[&'a Append],
    care: Care,
    head: Position,
) -> Result<Decided<'a>, StoreError> {
    if care == Care::Trusting {
        let mut versions = facts::versions(session, &heads.unknown(appends)).await?;
        for stream in streams(appends) {
            // What was looked up just now is nearer to the truth than what is remembered.
            if let Some(version) = heads.get(stream) {
                versions.entry(stream.clone()).or_insert(version);
            }
        }
        let trusted = Facts {
            head,
            versions,
            matches: facts::first_matches(session, appends).await?,
            ..Facts::default()
        };
        let decided = decide(&trusted, appends);
        if decided.is_all_new() {
            return Ok(decided);
        }
    }
    let facts = facts::all(session, appends, head).await?;
    Ok(decide(&facts, appends))
}

/// Whether a commit came through whose answer was lost.
///
/// Looks under the append lock, as the lost transaction may not have ended yet.
async fn is_committed(writer: &mut Writer, proof: &Proof) -> Result<bool, StoreError> {
    let patience = writer.lock_timeout.saturating_add(PATIENCE);
    let mut attempts = Attempts::default();
    loop {
        let looked = async {
            let mut conn = writer.link.take().await?;
            let sql = writer.link.sql.clone();
            let opened = writer.link.open(&mut conn, false, Position::START).await;
            let (mut open, _) = opened.map_err(failed(DOING))?;
            let found = sql
                .query_scalar(sql::IS_COMMITTED)
                .bind(proof.positions.clone())
                .bind(proof.events.clone())
                .bind(proof.appends.clone());
            let found: bool = found.fetch_one(open.conn()).await.map_err(failed(DOING))?;
            open.roll_back().await.map_err(failed(DOING))?;
            writer.link.put(conn);
            Ok::<_, StoreError>(found)
        };
        let looked = timeout(patience, looked).await;
        match looked.unwrap_or_else(|_| Err(silent(DOING))) {
            Err(error) if attempts.go_on_after(&error).await => {}
            looked => return looked,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use annals_core::{
        CausationId, CorrelationId, EventId, EventStore as _, EventType, Expected, Metadata,
        NewEvent, StreamName,
    };
    use annals_testing::postgres::TestSchema;

    use super::*;
    use crate::{PostgresOptions, PostgresStore, open, tail::Tail, writer::Link};

    fn append(id: Uuid) -> Append {
        let event = NewEvent {
            id: EventId::new(id),
            event_type: EventType::new("account.opened").unwrap(),
            schema_version: 1,
            payload: Vec::new(),
            tags: Vec::new(),
            metadata: Metadata::caused_by(CausationId::new(id), CorrelationId::new(id)),
        };
        let stream = StreamName::parse("account-1").unwrap();
        let now = chrono::DateTime::UNIX_EPOCH;
        Append::to(stream, Expected::Any, vec![event], now)
    }

    #[tokio::test]
    async fn a_batch_of_which_another_node_repeated_a_part_is_not_committed() {
        let schema = TestSchema::create().await;
        let options = PostgresOptions::default;
        let other = PostgresStore::open(&schema.url(), options()).await.unwrap();
        let ids = [1, 2, 3].map(Uuid::from_u128);
        for id in &ids[1..] {
            other.append(append(*id)).await.unwrap();
        }
        let opened = open::open(&schema.url(), options()).await.unwrap();
        let sql = opened.connections.sql.clone();
        let link = Link::new(opened.connect, sql, &opened.begin);
        let tail = Arc::new(Tail::new(opened.options.poll_interval));
        let mut writer = Writer::new(link, Arc::default(), tail, &opened.options);
        let mut is_there = async |events: &[Uuid], appends: &[Uuid]| {
            let proof = Proof {
                positions: (1..).take(events.len()).collect(),
                events: events.to_vec(),
                appends: appends.to_vec(),
            };
            is_committed(&mut writer, &proof).await.unwrap()
        };
        assert!(is_there(&ids[1..], &[]).await);
        assert!(!is_there(&ids, &[]).await, "the first one is nowhere");
        assert!(!is_there(&ids[2..], &[]).await, "it stands elsewhere");
        assert!(
            !is_there(&ids[1..], &ids).await,
            "the append is not recorded"
        );
        other.close().await;
    }
}
