//! Writes rows, many with one statement.

use annals_core::{
    EventHeader, EventId, EventType, Metadata, NewEvent, Position, RecordedAppend, StoredEvent,
    StreamName, Tag,
};
use chrono::{DateTime, SubsecRound, Utc};
use futures_util::StreamExt as _;
use sqlx::{
    Arguments as _, AssertSqlSafe, Encode, Executor as _, Sqlite, SqliteConnection, Type,
    query::Query, sqlite::SqliteArguments,
};
use std::sync::Arc;

use crate::{
    frame,
    log::clamped,
    sql::{self, MAX_ROWS, Statement},
};

/// An event that has its place but is not yet written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) position: i64,
    pub(crate) version: i64,
    pub(crate) stream: &'a StreamName,
    pub(crate) event: &'a NewEvent,
    pub(crate) recorded_at: DateTime<Utc>,
}

impl Placed<'_> {
    /// The event as a reader will see it.
    pub(crate) fn stored(&self) -> StoredEvent {
        let count = |place: i64| u64::try_from(place).unwrap_or_default();
        let header = EventHeader {
            position: Position::new(count(self.position)),
            stream: self.stream.clone(),
            version: annals_core::Version::new(count(self.version)),
            id: self.event.id,
            event_type: self.event.event_type.clone(),
            schema_version: self.event.schema_version,
            // The log keeps microseconds.
            recorded_at: self.recorded_at.trunc_subsecs(6),
            tags: self.event.tags.clone(),
            metadata: self.event.metadata.clone(),
        };
        StoredEvent {
            header: Arc::new(header),
            payload: self.event.payload.clone(),
        }
    }
}

/// What the table `events` holds of an event.
pub(crate) struct EventRow<'a> {
    position: i64,
    stream: &'a StreamName,
    version: i64,
    event_type: &'a EventType,
    schema_version: u32,
    id: EventId,
    recorded_at: DateTime<Utc>,
    metadata: &'a Metadata,
    tags: &'a [Tag],
    payload: &'a [u8],
}

impl<'a> From<&Placed<'a>> for EventRow<'a> {
    fn from(placed: &Placed<'a>) -> Self {
        let event = placed.event;
        Self {
            position: placed.position,
            stream: placed.stream,
            version: placed.version,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            id: event.id,
            recorded_at: placed.recorded_at,
            metadata: &event.metadata,
            tags: &event.tags,
            payload: &event.payload,
        }
    }
}

impl<'a> From<&'a StoredEvent> for EventRow<'a> {
    fn from(event: &'a StoredEvent) -> Self {
        Self {
            position: clamped(event.position.get()),
            stream: &event.stream,
            version: clamped(event.version.get()),
            event_type: &event.event_type,
            schema_version: event.schema_version,
            id: event.id,
            recorded_at: event.recorded_at,
            metadata: &event.metadata,
            tags: &event.tags,
            payload: &event.payload,
        }
    }
}

/// Statements that write, in order, each of them a trip to the connection's thread.
#[derive(Default)]
pub(crate) struct Steps(Vec<Step>);

struct Step {
    statement: &'static Statement,
    rows: usize,
    binds: SqliteArguments,
}

/// Where steps broke off that were to commit.
pub(crate) enum Broken {
    /// Before the commit: nothing is committed.
    Before(sqlx::Error),
    /// At the commit: nobody knows how far it came.
    AtCommit(sqlx::Error),
}

impl Steps {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Events and their tags; `before` is the position before the first of them.
    pub(crate) fn insert_events<'a, T>(
        &mut self,
        before: i64,
        events: &'a [T],
    ) -> Result<(), sqlx::Error>
    where
        EventRow<'a>: From<&'a T>,
    {
        let mut tagged = false;
        self.insert(&sql::INSERT_EVENTS, events, |binds, row| {
            let row = EventRow::from(row);
            tagged |= !row.tags.is_empty();
            bind_event(binds, &row)
        })?;
        if tagged {
            self.insert(&sql::INSERT_TAGS, &[before], |binds, row| add(binds, *row))?;
        }
        Ok(())
    }

    /// What appends with an id brought about.
    pub(crate) fn insert_appends(&mut self, done: &[RecordedAppend]) -> Result<(), sqlx::Error> {
        self.insert(&sql::INSERT_APPENDS, done, bind_append)
    }

    fn insert<'a, T>(
        &mut self,
        statement: &'static Statement,
        rows: &'a [T],
        mut bind: impl FnMut(&mut SqliteArguments, &'a T) -> Result<(), sqlx::Error>,
    ) -> Result<(), sqlx::Error> {
        for rows in rows.chunks(MAX_ROWS) {
            let mut binds = SqliteArguments::default();
            binds.reserve(statement.width() * rows.len(), 0);
            rows.iter().try_for_each(|row| bind(&mut binds, row))?;
            self.0.push(Step {
                statement,
                rows: rows.len(),
                binds,
            });
        }
        Ok(())
    }

    /// Writes it all, within the connection's transaction.
    pub(crate) async fn run(self, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for step in self.0 {
            step.query(false).execute(&mut *conn).await?;
        }
        Ok(())
    }

    /// Writes it all, and commits in the same trip as the last step.
    pub(crate) async fn run_and_commit(
        mut self,
        conn: &mut SqliteConnection,
    ) -> Result<(), Broken> {
        let Some(last) = self.0.pop() else {
            return Ok(());
        };
        self.run(conn).await.map_err(Broken::Before)?;
        let mut written = false;
        let mut results = conn.execute_many(last.query(true));
        while let Some(result) = results.next().await {
            match result {
                Ok(_) => written = true,
                Err(error) if written => return Err(Broken::AtCommit(error)),
                Err(error) => return Err(Broken::Before(error)),
            }
        }
        Ok(())
    }
}

impl Step {
    fn query(self, commit: bool) -> Query<'static, Sqlite, SqliteArguments> {
        let text = self.statement.text(self.rows, commit);
        sqlx::query_with(AssertSqlSafe(text), self.binds)
    }
}

/// Writes events and their tags; `before` is the position before the first of them.
pub(crate) async fn events<'a, T>(
    conn: &mut SqliteConnection,
    before: i64,
    events: &'a [T],
) -> Result<(), sqlx::Error>
where
    EventRow<'a>: From<&'a T>,
{
    let mut steps = Steps::default();
    steps.insert_events(before, events)?;
    steps.run(conn).await
}

/// Records what appends with an id brought about.
pub(crate) async fn appends(
    conn: &mut SqliteConnection,
    done: &[RecordedAppend],
) -> Result<(), sqlx::Error> {
    let mut steps = Steps::default();
    steps.insert_appends(done)?;
    steps.run(conn).await
}

fn add<'q, T>(binds: &mut SqliteArguments, value: T) -> Result<(), sqlx::Error>
where
    T: Encode<'q, Sqlite> + Type<Sqlite>,
{
    binds.add(value).map_err(sqlx::Error::Encode)
}

fn bind_event(binds: &mut SqliteArguments, row: &EventRow<'_>) -> Result<(), sqlx::Error> {
    let encode = |error: serde_json::Error| sqlx::Error::Encode(error.into());
    add(binds, row.position)?;
    add(binds, row.stream.as_str())?;
    add(binds, row.version)?;
    add(binds, row.event_type.as_str())?;
    add(binds, i64::from(row.schema_version))?;
    add(binds, &row.id.uuid().as_bytes()[..])?;
    add(binds, row.recorded_at.timestamp_micros())?;
    add(binds, &row.metadata.correlation_id.uuid().as_bytes()[..])?;
    add(binds, &row.metadata.causation_id.uuid().as_bytes()[..])?;
    add(binds, frame::metadata_text(row.metadata).map_err(encode)?)?;
    add(binds, frame::tags_text(row.tags).map_err(encode)?)?;
    add(binds, row.payload)
}

fn bind_append(binds: &mut SqliteArguments, append: &RecordedAppend) -> Result<(), sqlx::Error> {
    let versions = serde_json::to_string(&append.versions)
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    add(binds, &append.id.uuid().as_bytes()[..])?;
    add(binds, &append.fingerprint[..])?;
    add(binds, clamped(append.position.get()))?;
    add(binds, versions)
}
