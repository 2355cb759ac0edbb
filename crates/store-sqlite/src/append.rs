//! Decides a batch of appends, in order, within one write transaction.

use std::collections::HashMap;

use annals_core::{
    Append, AppendError, AppendId, Appended, Fingerprint, FoldError, Position, RecordedAppend,
    StoreError, StreamName, StreamWrite, Version,
};
use sqlx::{Row, SqliteConnection};

use crate::{
    error::{failed, is_unique_violation},
    insert::{self, Placed},
    log::{clamped, number},
    matching::{Cut, Stretch, matching},
    repeat,
    sql::{self, bound},
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
    /// Reads what the batch's decisions rest on.
    pub(crate) async fn begin(
        conn: &'a mut SqliteConnection,
        appends: &[&'a Append],
        care: Care,
    ) -> Result<Self, StoreError> {
        let mut batch = Self {
            conn,
            care,
            before: 0,
            written: 0,
            placed: Vec::new(),
            versions: HashMap::new(),
            known: HashMap::new(),
            done: Vec::new(),
        };
        batch.load_heads(appends).await?;
        let ids: Vec<_> = appends.iter().filter_map(|append| append.id).collect();
        if !ids.is_empty() {
            batch.known = repeat::find_appends(batch.conn, &ids).await?;
        }
        Ok(batch)
    }

    async fn load_heads(&mut self, appends: &[&'a Append]) -> Result<(), StoreError> {
        let writes = appends.iter().flat_map(|append| &append.writes);
        let mut streams: Vec<&StreamName> = writes.map(|write| &write.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        (self.before, self.versions) = heads(self.conn, streams).await?;
        Ok(())
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
            .map_err(failed("check the append's condition"))?;
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
        let new = self.placed.get(self.written..).unwrap_or_default();
        let Some(first) = new.first() else {
            return Ok(());
        };
        insert::events(self.conn, first.position - 1, new)
            .await
            .map_err(|error| {
                if is_unique_violation(&error) {
                    Undone::IdTaken
                } else {
                    Undone::Store(failed(DOING)(error))
                }
            })?;
        self.written = self.placed.len();
        Ok(())
    }

    /// Writes what is left to write, and gives the connection back for the rest.
    pub(crate) async fn finish(
        mut self,
    ) -> Result<(&'a mut SqliteConnection, Vec<Placed<'a>>, bool), Undone> {
        self.flush().await?;
        insert::appends(self.conn, &self.done)
            .await
            .map_err(failed(DOING))?;
        let wrote = !self.placed.is_empty() || !self.done.is_empty();
        Ok((self.conn, self.placed, wrote))
    }
}

/// The head of the log, and the versions of these streams, of which none may come twice.
pub(crate) async fn heads<'a>(
    conn: &mut SqliteConnection,
    streams: Vec<&'a StreamName>,
) -> Result<(i64, HashMap<&'a StreamName, i64>), StoreError> {
    let names = serde_json::to_string(&streams).map_err(corrupt)?;
    let row = sqlx::query(sql::HEADS)
        .bind(names)
        .fetch_one(conn)
        .await
        .map_err(failed(DOING))?;
    let head = row.try_get(0).map_err(failed(DOING))?;
    let versions: Option<&str> = row.try_get(1).map_err(failed(DOING))?;
    let versions = versions.unwrap_or_default().split(',');
    let known = streams.into_iter().zip(versions);
    let known = known.map(|(stream, version)| Ok((stream, version.parse().map_err(corrupt)?)));
    Ok((head, known.collect::<Result<_, StoreError>>()?))
}

fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(annals_core::StoreErrorKind::Corrupt, DOING).caused_by(error)
}
