//! Decides a batch of appends, in order, within one write transaction.

use std::collections::HashMap;

use annals_core::{
    Append, AppendError, AppendId, Appended, Fingerprint, FoldError, Position, RecordedAppend,
    StoreError, StreamName, StreamWrite, Version,
};
use sqlx::{
    Arguments as _, Row, SqliteConnection,
    sqlite::{SqliteArguments, SqliteRow},
};

use crate::{
    error::{failed_on_own, is_unique_violation},
    insert::{self, Broken, Placed, Steps},
    log::{clamped, number},
    matching::{Cut, Stretch, matching},
    projections::inline::Installed,
    repeat,
    sql::{self, bound},
    transaction::Beginning,
};

pub(crate) const DOING: &str = "append events";

/// What each append of a batch came to.
pub(crate) type Outcomes = Vec<Result<Appended, AppendError>>;

/// Why a whole batch has to be undone.
#[derive(Debug)]
pub(crate) enum Undone {
    /// An event id is there already: decide again, and look at every id first.
    IdTaken,
    /// An inline projection refused an event.
    Refused(FoldError),
    /// An inline projection has missed much, and has to catch up first.
    Behind(Installed),
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How a batch is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Event ids are taken to be new; the unique index says when one is not.
    Trusting,
    /// Every append's event ids are looked up first.
    Checking,
}

/// How far the transaction of a batch has come.
#[derive(Debug)]
pub(crate) enum End {
    /// There was nothing to write.
    Empty,
    /// Everything is written, and not yet committed.
    Open,
    /// Everything is committed.
    Committed,
    /// The commit failed, and nobody knows how far it came.
    Doubtful(StoreError),
}

/// What a batch's decisions rest on: read as its transaction begins.
pub(crate) struct Bases<'a> {
    streams: Vec<&'a StreamName>,
    ids: Vec<AppendId>,
}

impl<'a> Bases<'a> {
    pub(crate) fn of(appends: &[&'a Append]) -> Self {
        let writes = appends.iter().flat_map(|append| &append.writes);
        let mut streams: Vec<&StreamName> = writes.map(|write| &write.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        let ids = appends.iter().filter_map(|append| append.id).collect();
        Self { streams, ids }
    }

    /// What begins a transaction and reads them, in one trip to the connection's thread.
    pub(crate) fn beginning(&self) -> Result<Beginning, StoreError> {
        Ok(Beginning {
            sql: sql::BEGIN_WITH_HEADS,
            binds: head_binds(&self.streams, &self.ids)?,
        })
    }
}

/// A batch of appends in the making.
pub(crate) struct Batch<'a> {
    conn: &'a mut SqliteConnection,
    care: Care,
    /// The head of the log before the batch.
    pub(crate) before: i64,
    /// How many events of `placed` are written.
    written: usize,
    /// The batch's events.
    pub(crate) placed: Vec<Placed<'a>>,
    /// Where the batch's streams are by now.
    versions: HashMap<&'a StreamName, i64>,
    /// What appends with an id brought about, before the batch or in it.
    known: HashMap<AppendId, (Fingerprint, Appended)>,
    /// Those of the batch, to be recorded.
    done: Vec<RecordedAppend>,
}

impl<'a> Batch<'a> {
    /// Takes in the row that the batch's transaction began with.
    pub(crate) async fn begin(
        conn: &'a mut SqliteConnection,
        bases: Bases<'a>,
        row: Option<SqliteRow>,
        care: Care,
    ) -> Result<Self, StoreError> {
        let row = row
            .ok_or(sqlx::Error::RowNotFound)
            .map_err(failed_on_own(DOING))?;
        let (before, versions) = heads_in(&row, bases.streams)?;
        // Ids that are known are rare enough for a trip of their own.
        let known = match number(&row, 2, DOING)? {
            0 => HashMap::new(),
            _ => repeat::find_appends(conn, &bases.ids).await?,
        };
        Ok(Self {
            conn,
            care,
            before,
            written: 0,
            placed: Vec::new(),
            versions,
            known,
            done: Vec::new(),
        })
    }

    /// Decides one append: what it came to, or why the batch has to be undone.
    pub(crate) async fn decide(
        &mut self,
        append: &'a Append,
    ) -> Result<Result<Appended, AppendError>, Undone> {
        if let Some(id) = append.id
            && let Some((fingerprint, appended)) = self.known.get(&id)
        {
            return Ok(if *fingerprint == append.fingerprint {
                Ok(Appended {
                    repeated: true,
                    ..appended.clone()
                })
            } else {
                Err(AppendError::IdReused {
                    kind: "append",
                    id: id.uuid(),
                })
            });
        }
        let refusal = self.refusal(append).await?;
        if refusal.is_some() || self.care == Care::Checking {
            // A repeated append may well be refused by what it brought about the first time.
            self.flush().await?;
            if let Some(repeated) = repeat::find(self.conn, append).await? {
                return Ok(repeated);
            }
        }
        if let Some(refusal) = refusal {
            return Ok(Err(refusal));
        }
        Ok(Ok(self.place(append)))
    }

    /// Why the append can't be, if so.
    async fn refusal(&mut self, append: &'a Append) -> Result<Option<AppendError>, Undone> {
        for write in &append.writes {
            let actual = self.version(write);
            if !write.expected.is_met_by(actual) {
                return Ok(Some(AppendError::Conflict {
                    stream: write.stream.clone(),
                    expected: write.expected,
                    actual,
                }));
            }
        }
        let Some(condition) = &append.condition else {
            return Ok(None);
        };
        // Earlier appends of the batch count as well.
        self.flush().await?;
        let stretch = Stretch {
            first: clamped(condition.after.get()).saturating_add(1),
            last: i64::MAX,
        };
        let cut = Cut {
            order: "ASC",
            limit: 1,
        };
        let filter = match matching(&condition.query, stretch, cut) {
            Ok(filter) => filter,
            Err(error) => return Ok(Some(AppendError::Store(error))),
        };
        let statement = sql::FIRST_MATCH.replace("/*where*/", &filter.sql);
        let row = bound(statement, filter.binds)
            .fetch_optional(&mut *self.conn)
            .await
            .map_err(failed_on_own("check the append's condition"))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let position = Position::new(number(&row, 0, DOING)?);
        Ok(Some(AppendError::ConditionFailed { position }))
    }

    fn version(&self, write: &StreamWrite) -> Version {
        let version = self
            .versions
            .get(&write.stream)
            .copied()
            .unwrap_or_default();
        Version::new(u64::try_from(version).unwrap_or_default())
    }

    /// Gives the append's events their places.
    fn place(&mut self, append: &'a Append) -> Appended {
        for write in &append.writes {
            let version = self.versions.entry(&write.stream).or_default();
            for event in &write.events {
                *version += 1;
                let position = self.placed.last().map_or(self.before, |row| row.position) + 1;
                self.placed.push(Placed {
                    position,
                    version: *version,
                    stream: &write.stream,
                    event,
                    recorded_at: append.recorded_at,
                });
            }
        }
        let appended = Appended {
            position: self.head(),
            versions: append
                .writes
                .iter()
                .map(|write| self.version(write))
                .collect(),
            repeated: false,
        };
        if let Some(id) = append.id {
            self.known
                .insert(id, (append.fingerprint, appended.clone()));
            self.done
                .push(RecordedAppend::new(id, append.fingerprint, &appended));
        }
        appended
    }

    /// Where the log ends by now.
    pub(crate) fn head(&self) -> Position {
        let head = self.placed.last().map_or(self.before, |row| row.position);
        Position::new(u64::try_from(head).unwrap_or_default())
    }

    /// Writes the events that have their places.
    async fn flush(&mut self) -> Result<(), Undone> {
        let steps = self.unwritten().map_err(undone)?;
        steps.run(self.conn).await.map_err(undone)?;
        self.written = self.placed.len();
        Ok(())
    }

    fn unwritten(&self) -> Result<Steps, sqlx::Error> {
        let mut steps = Steps::default();
        let new = self.placed.get(self.written..).unwrap_or_default();
        if let Some(first) = new.first() {
            steps.insert_events(first.position - 1, new)?;
        }
        Ok(steps)
    }

    /// Writes what is left to write, and gives the connection back for the rest.
    pub(crate) async fn finish(
        mut self,
    ) -> Result<(&'a mut SqliteConnection, Vec<Placed<'a>>), Undone> {
        self.flush().await?;
        insert::appends(self.conn, &self.done)
            .await
            .map_err(undone)?;
        Ok((self.conn, self.placed))
    }

    /// Writes what is left to write, and commits with the last statement.
    pub(crate) async fn finish_and_commit(self) -> Result<End, Undone> {
        let mut steps = self.unwritten().map_err(undone)?;
        steps.insert_appends(&self.done).map_err(undone)?;
        if steps.is_empty() {
            let wrote = !self.placed.is_empty();
            return Ok(if wrote { End::Open } else { End::Empty });
        }
        match steps.run_and_commit(self.conn).await {
            Ok(()) => Ok(End::Committed),
            Err(Broken::AtCommit(error)) => Ok(End::Doubtful(failed_on_own(DOING)(error))),
            Err(Broken::Before(error)) => Err(undone(error)),
        }
    }
}

fn undone(error: sqlx::Error) -> Undone {
    if is_unique_violation(&error) {
        Undone::IdTaken
    } else {
        Undone::Store(failed_on_own(DOING)(error))
    }
}

/// The head of the log, and the versions of these streams, of which none may come twice.
pub(crate) async fn heads<'a>(
    conn: &mut SqliteConnection,
    streams: Vec<&'a StreamName>,
) -> Result<(i64, HashMap<&'a StreamName, i64>), StoreError> {
    let row = sqlx::query_with(sql::HEADS, head_binds(&streams, &[])?)
        .fetch_one(conn)
        .await
        .map_err(failed_on_own(DOING))?;
    heads_in(&row, streams)
}

fn head_binds(streams: &[&StreamName], ids: &[AppendId]) -> Result<SqliteArguments, StoreError> {
    let streams = serde_json::to_string(streams).map_err(corrupt)?;
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let mut binds = SqliteArguments::default();
    for names in [streams, sql::hex_array(&ids)] {
        let added = binds.add(names).map_err(sqlx::Error::Encode);
        added.map_err(failed_on_own(DOING))?;
    }
    Ok(binds)
}

fn heads_in<'a>(
    row: &SqliteRow,
    streams: Vec<&'a StreamName>,
) -> Result<(i64, HashMap<&'a StreamName, i64>), StoreError> {
    let head = row.try_get(0).map_err(failed_on_own(DOING))?;
    let versions: Option<&str> = row.try_get(1).map_err(failed_on_own(DOING))?;
    let versions = versions.unwrap_or_default().split(',');
    let known = streams.into_iter().zip(versions);
    let known = known.map(|(stream, version)| Ok((stream, version.parse().map_err(corrupt)?)));
    Ok((head, known.collect::<Result<_, StoreError>>()?))
}

fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(annals_core::StoreErrorKind::Corrupt, DOING).caused_by(error)
}
