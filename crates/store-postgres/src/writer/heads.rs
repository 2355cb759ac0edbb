//! What the writer remembers of where streams are.

use std::collections::{HashMap, HashSet};

use annals_core::{Append, Expected, Position, StreamName, Version};
use uuid::Uuid;

/// How many streams each generation holds.
const GENERATION: usize = 32 * 1024;

/// Where streams were when this process last looked or wrote.
///
/// A stream only ever grows, so that it is now at what is remembered or beyond, as long as the
/// log is still the same one. Whoever writes the version after the remembered one is stopped by
/// the unique index if the stream has gone on; so most batches need look up nothing.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// The last event that was known, by which the log is recognised.
    last: Option<(Position, Uuid)>,
    young: HashMap<StreamName, Version>,
    /// What was young before; forgotten when the next generation is full.
    old: HashMap<StreamName, Version>,
}

impl Heads {
    /// The position whose event tells whether the log is still the same one.
    pub(crate) fn known(&self) -> Position {
        self.last.map_or(Position::START, |(position, _)| position)
    }

    /// The event at the known position.
    pub(crate) fn known_id(&self) -> Option<Uuid> {
        self.last.map(|(_, id)| id)
    }

    /// Forgets everything unless the log has the event at the known position still.
    pub(crate) fn recognise(&mut self, found: Option<Uuid>) {
        if self.known_id() != found {
            *self = Self::default();
        }
    }

    /// Where a stream is at least.
    pub(crate) fn get(&self, stream: &StreamName) -> Option<Version> {
        let known = self.young.get(stream).or_else(|| self.old.get(stream));
        known.copied()
    }

    /// Remembers where a stream is.
    pub(crate) fn learn(&mut self, stream: &StreamName, version: Version) {
        if self.young.len() >= GENERATION && !self.young.contains_key(stream) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream.clone(), version);
    }

    /// Remembers the last event that was committed.
    pub(crate) fn ends_with(&mut self, position: Position, id: Uuid) {
        self.last = Some((position, id));
    }

    /// The streams of a batch that have to be looked up.
    ///
    /// Those that an append only checks, because nothing written would show that they have gone
    /// on; and those not remembered, unless the first append to them expects that there is nothing.
    pub(crate) fn unknown<'a>(&self, appends: &[&'a Append]) -> Vec<&'a StreamName> {
        let writes = || appends.iter().flat_map(|append| &append.writes);
        let checked: HashSet<&StreamName> = writes()
            .filter(|write| write.events.is_empty())
            .map(|write| &write.stream)
            .collect();
        let mut seen = HashSet::new();
        writes()
            .filter(|write| seen.insert(&write.stream))
            .filter(|write| {
                let taken_as_new = expects_nothing(write.expected);
                checked.contains(&write.stream)
                    || !taken_as_new && self.get(&write.stream).is_none()
            })
            .map(|write| &write.stream)
            .collect()
    }
}

fn expects_nothing(expected: Expected) -> bool {
    matches!(
        expected,
        Expected::NoStream | Expected::Exact(Version::NONE)
    )
}

#[cfg(test)]
mod tests {
    use annals_core::{CausationId, CorrelationId, EventId, EventType, Metadata, NewEvent};
    use chrono::DateTime;

    use super::*;

    fn event() -> NewEvent {
        let id = Uuid::nil();
        NewEvent {
            id: EventId::new(id),
            event_type: EventType::new("account.opened").unwrap(),
            schema_version: 1,
            payload: Vec::new(),
            tags: Vec::new(),
            metadata: Metadata::caused_by(CausationId::new(id), CorrelationId::new(id)),
        }
    }

    fn stream(number: usize) -> StreamName {
        StreamName::parse(&format!("account-{number}")).unwrap()
    }

    #[test]
    fn the_oldest_streams_are_forgotten_and_no_more_than_two_generations_kept() {
        let mut heads = Heads::default();
        for number in 0..3 * GENERATION {
            heads.learn(&stream(number), Version::new(1));
        }
        assert!(heads.get(&stream(0)).is_none());
        assert!(heads.get(&stream(3 * GENERATION - 1)).is_some());
        assert!(heads.young.len() + heads.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn another_log_is_recognised_by_the_last_event() {
        let mut heads = Heads::default();
        heads.recognise(None);
        heads.learn(&stream(1), Version::new(4));
        heads.ends_with(Position::new(9), Uuid::from_u128(9));
        assert_eq!(heads.known(), Position::new(9));
        heads.recognise(Some(Uuid::from_u128(9)));
        assert_eq!(heads.get(&stream(1)), Some(Version::new(4)));
        heads.recognise(Some(Uuid::from_u128(8)));
        assert_eq!(heads.get(&stream(1)), None);
        assert_eq!(heads.known(), Position::START);
    }

    #[test]
    fn new_and_remembered_streams_are_not_looked_up_unless_they_are_only_checked() {
        let append = |number, expected| {
            let events = vec![event()];
            Append::to(stream(number), expected, events, DateTime::UNIX_EPOCH)
        };
        let check = |append: Append, number| append.and(stream(number), Expected::NoStream, vec![]);
        let mut heads = Heads::default();
        for number in [1, 5] {
            heads.learn(&stream(number), Version::new(4));
        }
        let appends = [
            append(1, Expected::Exact(Version::new(4))),
            append(2, Expected::NoStream),
            append(2, Expected::Exact(Version::new(1))),
            append(3, Expected::Any),
            append(4, Expected::Exact(Version::new(7))),
            append(4, Expected::NoStream),
            append(5, Expected::Any),
            check(append(6, Expected::NoStream), 5),
            check(append(7, Expected::NoStream), 8),
        ];
        let unknown = heads.unknown(&appends.each_ref());
        assert_eq!(unknown, [3, 4, 5, 8].map(stream).each_ref());
    }
}
