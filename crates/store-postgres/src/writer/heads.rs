//! What the writer remembers of where streams are.

use std::collections::{HashMap, HashSet};

use annals_core::{Append, Expected, Position, StreamName, StreamWrite, Version};
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
        first_writes(appends)
            .into_iter()
            .filter(|(write, is_checked)| {
                let taken_as_new = expects_nothing(write.expected);
                *is_checked || !taken_as_new && self.get(&write.stream).is_none()
            })
            .map(|(write, _)| &write.stream)
            .collect()
    }

    /// The streams that by what their callers say are further than is remembered, and how far; none
    /// when a stream has to be looked up of which they don't say it.
    pub(crate) fn claims<'a>(
        &self,
        appends: &[&'a Append],
    ) -> Option<Vec<(&'a StreamName, Version)>> {
        let mut claims = Vec::new();
        for (write, is_checked) in first_writes(appends) {
            let remembered = self.get(&write.stream);
            match write.expected {
                _ if is_checked => return None,
                Expected::Exact(version) if remembered.unwrap_or_default() < version => {
                    claims.push((&write.stream, version));
                }
                Expected::NoStream | Expected::Exact(_) => {}
                Expected::Any | Expected::StreamExists if remembered.is_none() => return None,
                Expected::Any | Expected::StreamExists => {}
            }
        }
        Some(claims)
    }
}

/// The first write to each stream, and whether an append only checks the stream.
fn first_writes<'a>(appends: &[&'a Append]) -> Vec<(&'a StreamWrite, bool)> {
    let writes = || appends.iter().flat_map(|append| &append.writes);
    let checked: HashSet<&StreamName> = writes()
        .filter(|write| write.events.is_empty())
        .map(|write| &write.stream)
        .collect();
    let mut seen = HashSet::new();
    writes()
        .filter(|write| seen.insert(&write.stream))
        .map(|write| (write, checked.contains(&write.stream)))
        .collect()
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

    #[test]
    fn callers_are_believed_where_nothing_or_less_is_remembered_unless_it_is_only_checked() {
        let write = |number, expected| {
            let events = vec![event()];
            Append::to(stream(number), expected, events, DateTime::UNIX_EPOCH)
        };
        let exactly = |version| Expected::Exact(Version::new(version));
        let mut heads = Heads::default();
        heads.learn(&stream(1), Version::new(4));
        heads.learn(&stream(2), Version::new(4));
        let claims = |appends: &[Append]| {
            let appends: Vec<_> = appends.iter().collect();
            let claims = heads.claims(&appends)?.into_iter();
            let named = claims.map(|(stream, version)| (stream.clone(), version.get()));
            Some(named.collect::<Vec<_>>())
        };
        let appends = [
            write(1, Expected::Any),
            write(2, exactly(9)),
            write(3, exactly(7)),
            write(3, exactly(8)),
            write(4, Expected::NoStream),
            write(4, exactly(1)),
        ];
        let further = vec![(stream(2), 9), (stream(3), 7)];
        assert_eq!(claims(&appends), Some(further));
        for remembered in [
            exactly(4),
            exactly(3),
            Expected::NoStream,
            Expected::StreamExists,
        ] {
            assert_eq!(claims(&[write(1, remembered)]), Some(vec![]));
        }
        for looked_up in [Expected::Any, Expected::StreamExists] {
            assert_eq!(claims(&[write(3, looked_up), write(3, exactly(7))]), None);
        }
        let checks = write(5, exactly(7)).and(stream(1), exactly(4), Vec::new());
        assert_eq!(claims(&[write(1, exactly(4)), checks]), None);
    }
}
