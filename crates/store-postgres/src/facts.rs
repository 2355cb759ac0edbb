//! Finds what the decisions on a batch of appends rest on.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use annals_core::{
    Append, AppendId, Appended, Condition, EventId, Fingerprint, Position, StoreError, StreamName,
    Version,
    admission::{Facts, streams},
};
use serde::Serialize;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    error::failed,
    event_row::{clamped, column, corrupt, event, number},
    sql,
    transaction::Session,
};

const DOING: &str = "append events";

/// Everything that a batch's decisions rest on, for a log that ends at `head`.
pub(crate) async fn all(
    session: &mut Session<'_>,
    appends: &[&Append],
    head: Position,
) -> Result<Facts, StoreError> {
    let ids: Vec<AppendId> = appends.iter().filter_map(|append| append.id).collect();
    let mut facts = Facts {
        head,
        versions: versions(session, &streams(appends)).await?,
        appends: find_appends(session, &ids).await?,
        ..Facts::default()
    };
    facts.matches = first_matches(session, appends).await?;
    find_events(session, appends, &mut facts).await?;
    Ok(facts)
}

/// Where streams are; one without events is left out.
pub(crate) async fn versions(
    session: &mut Session<'_>,
    streams: &[&StreamName],
) -> Result<HashMap<StreamName, Version>, StoreError> {
    if streams.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<&str> = streams.iter().map(|stream| stream.as_str()).collect();
    let rows = session
        .sql
        .query(sql::HEADS)
        .bind(names)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    rows.iter()
        .map(|row| Ok((stream(row)?, Version::new(number(row, 1, DOING)?))))
        .collect()
}

/// What appends with these ids brought about, as far as there were any.
pub(crate) async fn find_appends(
    session: &mut Session<'_>,
    ids: &[AppendId],
) -> Result<HashMap<AppendId, (Fingerprint, Appended)>, StoreError> {
    const DOING: &str = "look up an append";
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = session
        .sql
        .query(sql::FIND_APPENDS)
        .bind(ids)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    rows.iter().map(|row| found_append(row, DOING)).collect()
}

/// What an append brought about, from its row.
pub(crate) fn found_append(
    row: &PgRow,
    doing: &str,
) -> Result<(AppendId, (Fingerprint, Appended)), StoreError> {
    let fingerprint: &[u8] = column(row, 1, doing)?;
    let fingerprint = fingerprint
        .try_into()
        .map_err(|error: std::array::TryFromSliceError| corrupt(doing, error))?;
    let versions: Vec<i64> = column(row, 3, doing)?;
    let versions = versions
        .into_iter()
        .map(|version| u64::try_from(version).map(Version::new))
        .collect::<Result<_, _>>()
        .map_err(|error| corrupt(doing, error))?;
    let appended = Appended {
        position: Position::new(number(row, 2, doing)?),
        versions,
        repeated: false,
    };
    Ok((
        AppendId::new(column(row, 0, doing)?),
        (fingerprint, appended),
    ))
}

/// An item of a condition's query, as `sql/first_matches.sql` takes it.
#[derive(Serialize)]
struct Item<'a, N> {
    n: usize,
    after: i64,
    categories: Option<&'a [N]>,
    types: Option<&'a [annals_core::EventType]>,
    tags: Option<&'a [annals_core::Tag]>,
}

/// The first event that each append's condition forbids, by the append's place in the batch.
pub(crate) async fn first_matches(
    session: &mut Session<'_>,
    appends: &[&Append],
) -> Result<HashMap<usize, Position>, StoreError> {
    const DOING: &str = "check the append's condition";
    let conditions = appends.iter().enumerate();
    let items: Vec<_> = conditions
        .filter_map(|(n, append)| Some((n, append.condition.as_ref()?)))
        .flat_map(|(n, condition)| items(n, condition))
        .collect();
    if items.is_empty() {
        return Ok(HashMap::new());
    }
    let json = serde_json::to_string(&items).map_err(|error| corrupt(DOING, error))?;
    let rows = session
        .sql
        .query(sql::FIRST_MATCHES)
        .bind(json)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    rows.iter()
        .map(|row| {
            let n = usize::try_from(number(row, 0, DOING)?).unwrap_or(usize::MAX);
            Ok((n, Position::new(number(row, 1, DOING)?)))
        })
        .collect()
}

/// A query without items matches every event, as one item without wishes does.
fn items(n: usize, condition: &Condition) -> Vec<Item<'_, annals_core::Category>> {
    let after = clamped(condition.after.get());
    if condition.query.items.is_empty() {
        return vec![Item {
            n,
            after,
            categories: None,
            types: None,
            tags: None,
        }];
    }
    let items = condition.query.items.iter();
    items
        .map(|item| Item {
            n,
            after,
            categories: wished(&item.categories),
            types: wished(&item.types),
            tags: wished(&item.tags),
        })
        .collect()
}

fn wished<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

/// Finds events that have ids of the batch, and what repeating their appends answers.
async fn find_events(
    session: &mut Session<'_>,
    appends: &[&Append],
    facts: &mut Facts,
) -> Result<(), StoreError> {
    let writes = appends.iter().flat_map(|append| &append.writes);
    let wanted: HashSet<(Uuid, i64)> = writes
        .flat_map(|write| &write.events)
        .map(|event| (event.id.uuid(), clamped(event.payload.len() as u64)))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let (ids, lengths): (Vec<Uuid>, Vec<i64>) = wanted.into_iter().unzip();
    let rows = session
        .sql
        .query(sql::FIND_EVENTS)
        .bind(ids)
        .bind(lengths)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    for row in &rows {
        let found = event(row, DOING)?;
        let id = found.event.id;
        // One id may come with several lengths.
        if !found.lacks_payload {
            facts.unlike.remove(&id);
            facts.events.insert(id, found.event);
        } else if let Entry::Vacant(unknown) = facts.events.entry(id) {
            facts.unlike.insert(id);
            unknown.insert(found.event);
        }
    }
    if !facts.events.is_empty() {
        facts.versions_at = versions_at(session, appends, facts).await?;
    }
    Ok(())
}

/// Where streams were that repeated appends only checked.
async fn versions_at(
    session: &mut Session<'_>,
    appends: &[&Append],
    facts: &Facts,
) -> Result<HashMap<(StreamName, Position), Version>, StoreError> {
    let mut names = Vec::new();
    let mut positions = Vec::new();
    for append in appends {
        let events = append.writes.iter().flat_map(|write| &write.events);
        let known = events.filter_map(|event| known_at(facts, event.id));
        let Some(position) = known.max() else {
            continue;
        };
        for write in append.writes.iter().filter(|write| write.events.is_empty()) {
            names.push(write.stream.as_str());
            positions.push(clamped(position.get()));
        }
    }
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = session
        .sql
        .query(sql::VERSIONS_AT)
        .bind(names)
        .bind(positions)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    rows.iter()
        .map(|row| {
            let position = Position::new(number(row, 1, DOING)?);
            let version = Version::new(number(row, 2, DOING)?);
            Ok(((stream(row)?, position), version))
        })
        .collect()
}

fn known_at(facts: &Facts, id: EventId) -> Option<Position> {
    facts.events.get(&id).map(|event| event.position)
}

fn stream(row: &PgRow) -> Result<StreamName, StoreError> {
    let name: &str = row.try_get(0).map_err(failed(DOING))?;
    StreamName::parse(name).map_err(|error| corrupt(DOING, error))
}

#[cfg(test)]
mod tests {
    use annals_core::{
        CausationId, CorrelationId, EventStore as _, EventType, Expected, Metadata, NewEvent,
    };
    use annals_testing::postgres::TestSchema;
    use sqlx::{Connection as _, PgConnection};

    use super::*;
    use crate::{PostgresOptions, PostgresStore, pulse::UNWATCHED};

    fn append(id: u128, payload: &[u8]) -> Append {
        let id = Uuid::from_u128(id);
        let event = NewEvent {
            id: EventId::new(id),
            event_type: EventType::new("account.opened").unwrap(),
            schema_version: 1,
            payload: payload.to_vec(),
            tags: Vec::new(),
            metadata: Metadata::caused_by(CausationId::new(id), CorrelationId::new(id)),
        };
        let stream = StreamName::parse("account-1").unwrap();
        Append::to(
            stream,
            Expected::Any,
            vec![event],
            chrono::DateTime::UNIX_EPOCH,
        )
    }

    #[tokio::test]
    async fn a_payload_is_looked_at_only_where_it_may_be_the_same() {
        let schema = TestSchema::create().await;
        let url = schema.url();
        let store = PostgresStore::open(&url, PostgresOptions::default());
        let store = store.await.unwrap();
        for (id, payload) in [(1, &b"1234"[..]), (2, b"12"), (3, b"")] {
            store.append(append(id, payload)).await.unwrap();
        }
        let mut conn = PgConnection::connect(&url).await.unwrap();
        let mut session = Session {
            conn: &mut conn,
            sql: &store.shared.connections.sql,
            pulse: &UNWATCHED,
        };
        let again = [
            append(1, b""),   // another length
            append(2, b"21"), // the same length
            append(2, b"longer"),
            append(3, b""),
            append(4, b"new"),
        ];
        let again: Vec<&Append> = again.iter().collect();
        let facts = all(&mut session, &again, Position::new(3)).await.unwrap();
        let payload = |id: u128| {
            let event = facts.events.get(&EventId::new(Uuid::from_u128(id)))?;
            Some((event.payload.as_slice(), facts.unlike.contains(&event.id)))
        };
        assert_eq!(payload(1), Some((&b""[..], true)), "it stays where it is");
        assert_eq!(payload(2), Some((&b"12"[..], false)));
        assert_eq!(payload(3), Some((&b""[..], false)));
        assert_eq!(payload(4), None);
        store.close().await;
    }
}
