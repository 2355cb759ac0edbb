//! What the writers append: a function of seed, writer and number, so that a restarted writer
//! repeats exactly what it may have appended before, and the test knows all of it.

use annals_core::{
    Append, AppendId, CausationId, CorrelationId, EventId, EventType, Expected, Metadata, NewEvent,
    StreamName, Tag,
};
use chrono::DateTime;
use uuid::{Builder, Uuid};

use crate::prng::Prng;

const STREAMS: usize = 6;
const EVENTS: usize = 5;

/// The numbered append of a writer: 1 to 5 events to one or two streams that all writers share.
pub(crate) fn append(seed: u64, writer: u64, index: u64) -> Append {
    let mut prng = Prng::new(seed, (writer + 1) << 32 | index);
    let stream = prng.below(STREAMS);
    let count = 1 + prng.below(EVENTS);
    let mut events: Vec<_> = (0..count).map(|_| event(&mut prng, &[])).collect();
    let second = if count > 1 && prng.chance(1, 3) {
        events.split_off(1)
    } else {
        Vec::new()
    };
    let mut append = to(&format!("account-{stream}"), Expected::Any, events);
    if !second.is_empty() {
        let other = to(&format!("transfer-{stream}"), Expected::Any, second);
        append.writes.extend(other.writes);
    }
    if prng.chance(1, 3) {
        append = append.once(AppendId::new(id(&mut prng)), [1; 16]);
    }
    append
}

pub(crate) fn to(stream: &str, expected: Expected, events: Vec<NewEvent>) -> Append {
    let stream = StreamName::parse(stream).expect("a valid name");
    let recorded_at = DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time");
    Append::to(stream, expected, events, recorded_at)
}

pub(crate) fn event(prng: &mut Prng, tags: &[Tag]) -> NewEvent {
    let size = prng.below(200);
    NewEvent {
        id: EventId::new(id(prng)),
        event_type: EventType::new("account.deposited").expect("a valid name"),
        schema_version: 1,
        payload: prng.bytes(size),
        tags: tags.to_vec(),
        metadata: Metadata::caused_by(CausationId::new(id(prng)), CorrelationId::new(id(prng))),
    }
}

pub(crate) fn id(prng: &mut Prng) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&prng.bytes(10));
    Builder::from_unix_timestamp_millis(1_700_000_000_000, &random).into_uuid()
}
