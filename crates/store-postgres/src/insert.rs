//! Writes events, tags and appends with one statement.

use std::{collections::HashSet, fmt::Write as _};

use annals_core::{
    AppendId, EventId, EventType, Fingerprint, Metadata, Position, RecordedAppend, StoredEvent,
    StreamName, Tag, Version, admission::Placed,
};
use chrono::{DateTime, SubsecRound as _, Utc};
use sqlx::{Postgres, Row as _, postgres::PgArguments, query::Query};
use uuid::Uuid;

use crate::{event_row::clamped, sql, transaction::Session};

/// An event to write, wherever it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRow<'a> {
    position: Position,
    stream: &'a StreamName,
    version: Version,
    event_type: &'a EventType,
    schema_version: u32,
    id: EventId,
    recorded_at: DateTime<Utc>,
    metadata: &'a Metadata,
    tags: &'a [Tag],
    payload: &'a [u8],
}

impl<'a> From<&Placed<'a>> for NewRow<'a> {
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

impl<'a> From<&'a StoredEvent> for NewRow<'a> {
    fn from(event: &'a StoredEvent) -> Self {
        let header = &event.header;
        Self {
            position: header.position,
            stream: &header.stream,
            version: header.version,
            event_type: &header.event_type,
            schema_version: header.schema_version,
            id: header.id,
            recorded_at: header.recorded_at,
            metadata: &header.metadata,
            tags: &header.tags,
            payload: &event.payload,
        }
    }
}

/// A statement of this crate with some of its binds.
type Statement<'a> = Query<'a, Postgres, PgArguments>;

/// The columns of the statement's rows.
#[derive(Default)]
struct Columns<'a> {
    positions: Vec<i64>,
    streams: Vec<&'a str>,
    versions: Vec<i64>,
    types: Vec<&'a str>,
    schema_versions: Vec<i64>,
    ids: Vec<Uuid>,
    times: Vec<DateTime<Utc>>,
    correlations: Vec<Uuid>,
    causations: Vec<Uuid>,
    metadata: Vec<Option<String>>,
    tags: Vec<Option<String>>,
    payloads: Vec<&'a [u8]>,
    tag_names: Vec<&'a str>,
    tag_positions: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(rows: impl IntoIterator<Item = NewRow<'a>>) -> Result<Self, sqlx::Error> {
        let mut columns = Self::default();
        for row in rows {
            let pushed = columns.push(row);
            pushed.map_err(|error| sqlx::Error::Encode(error.into()))?;
        }
        Ok(columns)
    }

    fn push(&mut self, row: NewRow<'a>) -> Result<(), serde_json::Error> {
        let position = clamped(row.position.get());
        self.positions.push(position);
        self.streams.push(row.stream.as_str());
        self.versions.push(clamped(row.version.get()));
        self.types.push(row.event_type.as_str());
        self.schema_versions.push(i64::from(row.schema_version));
        self.ids.push(row.id.uuid());
        // Cut off as everywhere; the driver would round towards the year 2000.
        self.times.push(row.recorded_at.trunc_subsecs(6));
        self.correlations.push(row.metadata.correlation_id.uuid());
        self.causations.push(row.metadata.causation_id.uuid());
        self.metadata.push(row.metadata.free_form()?);
        self.tags.push(match row.tags {
            [] => None,
            tags => Some(serde_json::to_string(tags)?),
        });
        self.payloads.push(row.payload);
        // One that an event has twice is entered once.
        let mut seen = HashSet::new();
        for tag in row.tags {
            if seen.insert(tag) {
                self.tag_names.push(tag.as_str());
                self.tag_positions.push(position);
            }
        }
        Ok(())
    }

    /// Binds all but the positions, then what is to be recorded of appends, and whether to notify.
    fn bind(
        self,
        query: Statement<'a>,
        appends: &'a [RecordedAppend],
        notify: bool,
    ) -> Statement<'a> {
        let ids: Vec<Uuid> = appends.iter().map(|append| append.id.uuid()).collect();
        let prints: Vec<&[u8]> = appends.iter().map(|a| a.fingerprint.as_slice()).collect();
        let ends: Vec<i64> = appends.iter().map(|a| clamped(a.position.get())).collect();
        let reached: Vec<String> = appends.iter().map(|a| array(&a.versions)).collect();
        query
            .bind(self.streams)
            .bind(self.versions)
            .bind(self.types)
            .bind(self.schema_versions)
            .bind(self.ids)
            .bind(self.times)
            .bind(self.correlations)
            .bind(self.causations)
            .bind(self.metadata)
            .bind(self.tags)
            .bind(self.payloads)
            .bind(self.tag_names)
            .bind(self.tag_positions)
            .bind(ids)
            .bind(prints)
            .bind(ends)
            .bind(reached)
            .bind(notify)
    }
}

/// Writes rows under the append lock; `notify` sends a notification with the commit.
///
/// # Errors
/// A unique violation when an event id, an append id or a stream's version is there already.
pub(crate) async fn insert(
    session: &mut Session<'_>,
    rows: impl IntoIterator<Item = NewRow<'_>>,
    appends: &[RecordedAppend],
    notify: bool,
) -> Result<(), sqlx::Error> {
    let mut columns = Columns::of(rows)?;
    let positions = std::mem::take(&mut columns.positions);
    let query = session.sql.query(sql::INSERT).bind(positions);
    let query = columns.bind(query, appends, notify);
    query.execute(&mut *session.conn).await.map(drop)
}

/// What came of rows that were to be written at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AtOnce {
    /// They stand after this position.
    Written { before: Position },
    /// Nothing is written: a stream has not reached the version that is known of it.
    Mistaken,
    /// Nothing is written, as the rows have to be decided on under the lock: the log does not have
    /// the event that is known, for one.
    InVain,
}

/// Writes rows that are numbered from 1 after the end of the log, and commits them: one round
/// trip, under the append lock.
///
/// # Errors
/// As [`insert`].
pub(crate) async fn insert_at_once(
    session: &mut Session<'_>,
    rows: impl IntoIterator<Item = NewRow<'_>>,
    appends: &[RecordedAppend],
    known: Known<'_>,
    lock_timeout: &str,
    notify: bool,
) -> Result<AtOnce, sqlx::Error> {
    let query = session.sql.query(sql::APPEND_AT_ONCE);
    let query = query.bind(clamped(known.position.get())).bind(known.id);
    let query = query.bind(lock_timeout);
    let query = Columns::of(rows)?.bind(query, appends, notify);
    let reached = known.streams.iter();
    let (streams, versions): (Vec<_>, Vec<_>) = reached
        .map(|(stream, version)| (stream.as_str(), clamped(version.get())))
        .unzip();
    let query = query.bind(streams).bind(versions);
    let row = query.fetch_one(&mut *session.conn).await?;
    let before: Option<i64> = row.try_get(0)?;
    Ok(match before.map(u64::try_from) {
        Some(Ok(before)) => AtOnce::Written {
            before: Position::new(before),
        },
        Some(Err(_)) => AtOnce::Mistaken,
        None => AtOnce::InVain,
    })
}

/// What is taken to be in a log.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    /// The last event that somebody knew of it; with neither, a log without any.
    pub(crate) position: Position,
    pub(crate) id: Option<Uuid>,
    /// Streams and versions that they have at least reached.
    pub(crate) streams: Vec<(&'a StreamName, Version)>,
}

/// What to record about appends that were decided.
pub(crate) fn recorded(
    decided: &[(AppendId, Fingerprint, annals_core::Appended)],
) -> Vec<RecordedAppend> {
    decided
        .iter()
        .map(|(id, fingerprint, appended)| RecordedAppend::new(*id, *fingerprint, appended))
        .collect()
}

/// An array of numbers as PostgreSQL writes it; arrays of arrays can't be of different lengths.
fn array(versions: &[Version]) -> String {
    let mut text = String::from("{");
    for version in versions {
        let comma = if text.len() > 1 { "," } else { "" };
        // Writing to a string never fails.
        write!(text, "{comma}{version}").ok();
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_written_as_the_server_reads_them() {
        let versions: Vec<_> = [1, 0, 20].map(Version::new).into();
        assert_eq!(array(&versions), "{1,0,20}");
        assert_eq!(array(&[]), "{}");
    }
}
