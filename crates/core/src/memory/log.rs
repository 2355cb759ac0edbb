//! The log: events by position, by stream and by id.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use crate::{
    append::{Appended, Fingerprint},
    event::StoredEvent,
    id::{AppendId, EventId},
    name::StreamName,
    order::{Direction, Position, Version},
    query::{LogRead, Query, StreamRead},
    store::LogPage,
    transfer::RecordedAppend,
};

#[derive(Debug, Default)]
pub(super) struct Log {
    /// The event at position `p` is at index `p - 1`.
    events: Vec<StoredEvent>,
    /// The position of a stream's version `v` is at index `v - 1`.
    streams: HashMap<StreamName, Vec<Position>>,
    ids: HashMap<EventId, Position>,
    /// By id, as they are exported in that order.
    appends: BTreeMap<AppendId, (Appended, Fingerprint)>,
}

impl Log {
    pub(super) fn head(&self) -> Position {
        Position::new(self.events.len() as u64)
    }

    /// The events above a position.
    pub(super) fn after(&self, position: Position) -> &[StoredEvent] {
        self.events.get(index(position.get())..).unwrap_or_default()
    }

    /// The events above one position, up to and including another.
    pub(super) fn between(&self, above: Position, up_to: Position) -> &[StoredEvent] {
        let range = index(above.get())..index(up_to.get()).min(self.events.len());
        self.events.get(range).unwrap_or_default()
    }

    pub(super) fn at(&self, position: Position) -> Option<&StoredEvent> {
        self.events.get(index(position.get()).checked_sub(1)?)
    }

    pub(super) fn position_of(&self, id: EventId) -> Option<Position> {
        self.ids.get(&id).copied()
    }

    pub(super) fn find_append(&self, id: AppendId) -> Option<&(Appended, Fingerprint)> {
        self.appends.get(&id)
    }

    /// What appends with an id above this one brought about.
    pub(super) fn appends(&self, after: Option<AppendId>, limit: usize) -> Vec<RecordedAppend> {
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let appends = self.appends.range((above, Bound::Unbounded)).take(limit);
        appends
            .map(|(id, (appended, fingerprint))| RecordedAppend::new(*id, *fingerprint, appended))
            .collect()
    }

    pub(super) fn version(&self, stream: &StreamName) -> Version {
        let versions = self.streams.get(stream).map_or(0, Vec::len);
        Version::new(versions as u64)
    }

    /// The version that a stream had when the log reached up to a position.
    pub(super) fn version_at(&self, stream: &StreamName, position: Position) -> Version {
        let positions = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        Version::new(positions.partition_point(|at| *at <= position) as u64)
    }

    /// The first event above a position that matches.
    pub(super) fn first_match(&self, query: &Query, after: Position) -> Option<Position> {
        let events = self.after(after).iter();
        events
            .map(|event| &event.header)
            .find(|header| query.matches(header))
            .map(|header| header.position)
    }

    /// Puts events at the end; their positions and versions must continue the log.
    pub(super) fn push(&mut self, events: Vec<StoredEvent>) {
        for event in events {
            self.ids.insert(event.id, event.position);
            let positions = self.streams.entry(event.stream.clone()).or_default();
            positions.push(event.position);
            self.events.push(event);
        }
    }

    pub(super) fn remember(&mut self, id: AppendId, appended: Appended, fingerprint: Fingerprint) {
        self.appends.insert(id, (appended, fingerprint));
    }

    pub(super) fn read_stream(&self, read: &StreamRead) -> Vec<StoredEvent> {
        let Some(positions) = self.streams.get(&read.stream) else {
            return Vec::new();
        };
        let events = |position: &Position| self.at(*position).cloned();
        match read.direction {
            Direction::Forwards => {
                let rest = positions.iter().skip(index(read.from.get()));
                rest.take(read.limit).filter_map(events).collect()
            }
            Direction::Backwards => {
                let rest = positions.iter().take(before(read.from.get())).rev();
                rest.take(read.limit).filter_map(events).collect()
            }
        }
    }

    pub(super) fn read(&self, read: &LogRead) -> LogPage {
        match read.direction {
            Direction::Forwards => {
                let mut page = scan(self.after(read.from).iter(), read);
                page.at_end = page.scanned_to >= self.head();
                page
            }
            Direction::Backwards => {
                let mut page = scan(self.events.iter().take(before(read.from.get())).rev(), read);
                // `START` stands for the end of the log here, so nothing but an empty log ends there.
                let end = if page.scanned_to == Position::START {
                    self.head()
                } else {
                    page.scanned_to.minus(1)
                };
                page.at_end = end == Position::START;
                page
            }
        }
    }
}

/// Looks at events in turn until the page is full.
fn scan<'a>(events: impl Iterator<Item = &'a StoredEvent>, read: &LogRead) -> LogPage {
    let mut page = LogPage {
        scanned_to: read.from,
        ..LogPage::default()
    };
    for event in events {
        if page.events.len() >= read.limit {
            break;
        }
        page.scanned_to = event.position;
        if read.query.matches(event) {
            page.events.push(event.clone());
        }
    }
    page
}

/// How many places lie before `from`, where zero stands for the end.
fn before(from: u64) -> usize {
    from.checked_sub(1).map_or(usize::MAX, index)
}

/// The number as an index; one too large for this machine lies beyond every end.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
