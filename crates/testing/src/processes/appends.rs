//! What the writers append: a function of seed, writer and number, so that a restarted writer
//! repeats exactly what it may have appended before, and the test knows all of it.

use annals_core::{
    Append, AppendId, CausationId, CorrelationId, EventId, EventType, Expected, Metadata, NewEvent,
    StreamName, Tag,
};
use chrono::DateTime;
use uuid::{Builder, Uuid};

use crate::seed::Seed;

/// Appends that can be made again from their number.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    /// What the choices come from.
    pub seed: u64,
    /// How many streams, of each of two categories, all writers share.
    pub streams: usize,
    /// The most events of one append.
    pub events: usize,
}

impl Numbered {
    /// The numbered append of a writer: to one or two streams, and perhaps with an id.
    #[must_use]
    pub fn append(&self, writer: u64, index: u64) -> Append {
        let mut seed = Seed::apart(self.seed, (writer + 1) << 32 | index);
        let stream = seed.below(self.streams);
        let count = 1 + seed.below(self.events);
        let mut events: Vec<_> = (0..count).map(|_| event(&mut seed, &[])).collect();
        let second = if count > 1 && seed.below(3) == 0 {
            events.split_off(1)
        } else {
            Vec::new()
        };
        let mut append = to(&format!("account-{stream}"), Expected::Any, events);
        if !second.is_empty() {
            let other = to(&format!("transfer-{stream}"), Expected::Any, second);
            append.writes.extend(other.writes);
        }
        if seed.below(3) == 0 {
            append = append.once(AppendId::new(uuid(&mut seed)), [1; 16]);
        }
        append
    }
}

/// Events for one stream, recorded at a fixed time.
///
/// # Panics
/// When the stream's name is not valid.
#[must_use]
pub fn to(stream: &str, expected: Expected, events: Vec<NewEvent>) -> Append {
    let stream = StreamName::parse(stream).expect("a valid name");
    let recorded_at = DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time");
    Append::to(stream, expected, events, recorded_at)
}

/// An event with a random id and up to 200 random bytes.
#[must_use]
pub fn event(seed: &mut Seed, tags: &[Tag]) -> NewEvent {
    let size = seed.below(200);
    NewEvent {
        id: event_id(seed),
        event_type: EventType::new("account.deposited").expect("a valid name"),
        schema_version: 1,
        payload: seed.take(size),
        tags: tags.to_vec(),
        metadata: Metadata::caused_by(CausationId::new(uuid(seed)), CorrelationId::new(uuid(seed))),
    }
}

/// A random id.
#[must_use]
pub fn event_id(seed: &mut Seed) -> EventId {
    EventId::new(uuid(seed))
}

fn uuid(seed: &mut Seed) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&seed.take(10));
    Builder::from_unix_timestamp_millis(1_700_000_000_000, &random).into_uuid()
}
