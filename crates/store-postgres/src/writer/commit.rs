//! One batch of appends: decided, written and committed together.

use std::time::Duration;

use annals_core::{
    Append, AppendError, Appended, Expected, FoldError, Position, StoreError, StoreErrorKind,
    StoredEvent,
    admission::{Decided, Facts, decide, streams},
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::{
    at_once, behind,
    heads::Heads,
    proof::{Found, Proof, look_for},
    task::Writer,
};
use crate::{
    error::{failed, is_read_only, is_unique_violation, silent},
    facts,
    insert::{NewRow, insert, recorded},
    projections::inline::{Installed, fold_inline},
    pulse::UNWATCHED,
    retry::Attempts,
    transaction::Session,
};

pub(crate) const DOING: &str = "append events";

/// What each append of a batch came to.
pub(super) type Outcomes = Vec<Result<Appended, AppendError>>;

/// How long a batch may take besides waiting for the append lock, and how long its commit.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

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
    /// Streams are taken to be where they are remembered or where callers say, and ids to be new;
    /// unique indexes say when they are not.
    Trusting,
    /// Everything is looked up first.
    Checking,
}

/// Why an attempt at a batch came to nothing.
pub(super) enum Undone {
    /// What was trusted was wrong: decide again, and look at everything first.
    Mistrust,
    /// An inline projection was installed meanwhile: begin again.
    Installed,
    /// An inline projection refused an event.
    Refused(FoldError),
    /// An inline projection has missed much, and has to catch up first.
    Behind(Installed),
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
pub(super) struct Ready {
    outcomes: Outcomes,
    /// The position before its first event; none while it stands as for an empty log.
    before: Option<Position>,
    head: Position,
    /// By which a commit is found whose answer was lost.
    proof: Proof,
    wrote: bool,
}

impl Ready {
    /// What was decided for a log that ends at `before`, or for an empty one if that is to be seen.
    pub(super) fn of(decided: Decided<'_>, before: Option<Position>) -> Self {
        let last = decided.placed.last().map(|row| row.position);
        Self {
            before,
            head: last.or(before).unwrap_or(Position::START),
            proof: Proof::of(&decided),
            wrote: decided.writes(),
            outcomes: decided.outcomes,
        }
    }

    /// Whether unique indexes refuse the same batch if it is written after this: not when nothing
    /// is written, and that for no other reason than that the callers are ahead of the log.
    fn keeps_out_the_same(&self) -> bool {
        let is_ahead = |outcome: &Result<Appended, AppendError>| {
            matches!(
                outcome,
                Err(AppendError::Conflict { expected: Expected::Exact(version), actual, .. })
                    if version > actual
            )
        };
        self.wrote || !self.outcomes.iter().all(is_ahead)
    }

    /// The batch where it came to stand; none if it was decided for another place.
    pub(super) fn found(mut self, before: Option<Position>) -> Option<Self> {
        let Some(found) = before else {
            return self.before.is_some().then_some(self);
        };
        if let Some(decided) = self.before {
            return (decided == found).then_some(self);
        }
        let moved = |position: Position| Position::new(found.get().saturating_add(position.get()));
        for appended in self.outcomes.iter_mut().flatten() {
            appended.position = moved(appended.position);
        }
        self.head = moved(self.head);
        self.before = before;
        Some(self)
    }
}

/// Decides and commits a batch.
pub(super) async fn batch(writer: &mut Writer, appends: &[&Append]) -> Result<Outcomes, Failed> {
    let mut attempts = Attempts::default();
    let mut care = Care::Trusting;
    // Why this process gave up a statement that may still arrive. What is tried again keeps it out,
    // mostly; else nobody knows.
    let mut on_its_way = None;
    loop {
        let error = match attempt(writer, appends, care).await {
            Ok(ready) => {
                return match on_its_way {
                    Some(error) if !ready.keeps_out_the_same() => Err(Failed::Unknown(error)),
                    _ => Ok(done(writer, ready)),
                };
            }
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
            Err(Undone::Behind(projection)) => match behind::catch_up(writer, &projection).await {
                Ok(()) => continue,
                Err(error) => error,
            },
            Err(Undone::Store(error)) => error,
            Err(Undone::AtCommit(ready, error)) => {
                tracing::warn!(?error, "a commit failed; looking whether it came through");
                if ready.before.is_none() {
                    on_its_way = Some(copy(&error));
                }
                let found = look_for(writer, &ready.proof).await;
                // They may include the batch, and the log may be another one by now.
                writer.heads = Heads::default();
                match found {
                    Ok(Found::Whole(before)) => match ready.found(before) {
                        Some(ready) => return Ok(done(writer, ready)),
                        None => error,
                    },
                    Ok(Found::Nothing) => error,
                    Err(_) => return Err(Failed::Unknown(error)),
                }
            }
        };
        if !attempts.go_on_after(&error).await {
            return Err(match on_its_way {
                Some(_) => Failed::Unknown(error),
                None => Failed::Store(error),
            });
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
    if care == Care::Trusting
        && let Some(ready) = at_once::attempt(writer, appends).await?
    {
        return Ok(ready);
    }
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
    let mut session = Session {
        conn,
        sql: &sql,
        pulse: &UNWATCHED,
    };
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
        writer.learn(&decided, head);
    }
    Ok(Ready::of(decided, Some(head)))
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
    match fold_inline(session, installed, head, &events).await {
        Ok(None) => Ok(check_alive(session).await?),
        Ok(Some(behind)) => Err(Undone::Behind(behind)),
        Err(FoldError::Store(error)) => Err(Undone::Store(error)),
        Err(refused) => Err(Undone::Refused(refused)),
    }
}

/// A statement of the user's may have failed without anybody taking notice, and to commit what has
/// failed is no error but rolls back.
pub(super) async fn check_alive(session: &mut Session<'_>) -> Result<(), StoreError> {
    let alive = sqlx::raw_sql("SELECT 1").execute(&mut *session.conn).await;
    alive.map(drop).map_err(failed(DOING))
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
