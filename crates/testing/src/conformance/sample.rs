//! Streams, events and appends to test with.

use std::sync::LazyLock;

use annals_core::{
    Append, AppendId, CausationId, Clock, CorrelationId, EventId, EventType, Expected, IdSource,
    Metadata, NewEvent, Position, Query, QueryItem, StreamName, Tag, Version,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::clock::{ManualClock, SequentialIds};

static CLOCK: LazyLock<ManualClock> = LazyLock::new(ManualClock::default);
static IDS: SequentialIds = SequentialIds::after(0);

pub(super) fn now() -> DateTime<Utc> {
    CLOCK.advance(std::time::Duration::from_micros(1));
    CLOCK.now()
}

pub(super) fn uuid() -> Uuid {
    IDS.next(CLOCK.now())
}

pub(super) fn append_id() -> AppendId {
    AppendId::new(uuid())
}

pub(super) fn stream(name: &str) -> StreamName {
    StreamName::parse(name).expect("the suite's stream names are valid")
}

pub(super) fn tag(text: &str) -> Tag {
    Tag::parse(text).expect("the suite's tags are valid")
}

pub(super) fn event_type(name: &str) -> EventType {
    EventType::new(name).expect("the suite's event types are valid")
}

/// An event of this type, whose payload is its type.
pub(super) fn event(name: &str) -> NewEvent {
    let cause = uuid();
    NewEvent {
        id: EventId::new(uuid()),
        event_type: event_type(name),
        schema_version: 1,
        payload: format!("{{\"said\":\"{name}\"}}").into_bytes(),
        tags: Vec::new(),
        metadata: Metadata::caused_by(CausationId::new(cause), CorrelationId::new(cause)),
    }
}

pub(super) fn tagged(name: &str, tags: &[&str]) -> NewEvent {
    NewEvent {
        tags: tags.iter().map(|text| tag(text)).collect(),
        ..event(name)
    }
}

pub(super) fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|_| event("thing.done")).collect()
}

pub(super) fn append(name: &str, expected: Expected, events: Vec<NewEvent>) -> Append {
    Append::to(stream(name), expected, events, now())
}

/// An append of `count` events at the end of a stream.
pub(super) fn any(name: &str, count: usize) -> Append {
    append(name, Expected::Any, events(count))
}

pub(super) fn exact(version: u64) -> Expected {
    Expected::Exact(Version::new(version))
}

pub(super) fn versions(numbers: &[u64]) -> Vec<Version> {
    numbers.iter().copied().map(Version::new).collect()
}

pub(super) const fn position(number: u64) -> Position {
    Position::new(number)
}

pub(super) fn with_tag(text: &str) -> Query {
    Query::from(QueryItem::default().tag(tag(text)))
}

pub(super) fn with_type(name: &str) -> Query {
    Query::from(QueryItem::default().event_type(event_type(name)))
}
