//! Decides a batch of appends: what becomes of each, given what the log holds.
//!
//! A pure function, so that a store only has to find the facts and write what was decided. The
//! store holds its append lock from before it looks for the facts until it has committed.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, SubsecRound as _, Utc};

use crate::{
    append::{Append, AppendError, Appended, Condition, Fingerprint, NewEvent, StreamWrite},
    event::{EventHeader, StoredEvent},
    id::{AppendId, EventId},
    name::StreamName,
    order::{Position, Version},
};

/// What the log holds, as far as a batch's decisions rest on it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The position of the last event.
    pub head: Position,
    /// Where the batch's streams are; a stream that is left out has no events.
    pub versions: HashMap<StreamName, Version>,
    /// What earlier appends with ids of the batch brought about.
    pub appends: HashMap<AppendId, (Fingerprint, Appended)>,
    /// Events that have ids of the batch.
    pub events: HashMap<EventId, StoredEvent>,
    /// Those of them whose payloads were not looked at, as none of the batch's is as long.
    pub unlike: HashSet<EventId>,
    /// The versions that streams had at earlier positions, for repeated appends that check a
    /// stream without writing to it.
    pub versions_at: HashMap<(StreamName, Position), Version>,
    /// The first event that an append's condition forbids, by the append's place in the batch.
    pub matches: HashMap<usize, Position>,
}

/// An event with its place in the log, ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// Its place in the log.
    pub position: Position,
    /// Its place in its stream.
    pub version: Version,
    /// Its stream.
    pub stream: &'a StreamName,
    /// The event.
    pub event: &'a NewEvent,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

impl Placed<'_> {
    /// The event as a reader will see it; its time has microseconds, as stores keep it.
    #[must_use]
    pub fn stored(&self) -> StoredEvent {
        let header = EventHeader {
            position: self.position,
            stream: self.stream.clone(),
            version: self.version,
            id: self.event.id,
            event_type: self.event.event_type.clone(),
            schema_version: self.event.schema_version,
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

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Decided<'a> {
    /// What each append came to, in order, provided that the rest is written.
    pub outcomes: Vec<Result<Appended, AppendError>>,
    /// The events to write.
    pub placed: Vec<Placed<'a>>,
    /// What to record about the appends that have ids.
    pub recorded: Vec<(AppendId, Fingerprint, Appended)>,
}

impl Decided<'_> {
    /// Whether there is anything to write.
    #[must_use]
    pub fn writes(&self) -> bool {
        !self.placed.is_empty() || !self.recorded.is_empty()
    }

    /// Whether every append is let in, and none repeats an earlier one.
    #[must_use]
    pub fn is_all_new(&self) -> bool {
        let new = |outcome: &Result<Appended, _>| matches!(outcome, Ok(new) if !new.repeated);
        self.outcomes.iter().all(new)
    }
}

/// Decides a batch of valid appends, in order; each sees those before it.
#[must_use]
pub fn decide<'a>(facts: &Facts, appends: &[&'a Append]) -> Decided<'a> {
    let mut batch = Batch {
        facts,
        versions: HashMap::new(),
        known: HashMap::new(),
        ids: HashMap::new(),
        decided: Decided::default(),
    };
    for (index, append) in appends.iter().enumerate() {
        let outcome = batch.decide(index, append);
        batch.decided.outcomes.push(outcome);
    }
    batch.decided
}

/// The streams whose versions a batch's decisions rest on, each once.
#[must_use]
pub fn streams<'a>(appends: &[&'a Append]) -> Vec<&'a StreamName> {
    let writes = appends.iter().flat_map(|append| &append.writes);
    let mut seen = HashSet::new();
    writes
        .map(|write| &write.stream)
        .filter(|stream| seen.insert(*stream))
        .collect()
}

/// A batch in the making.
struct Batch<'a, 'f> {
    facts: &'f Facts,
    /// Where streams are by now that the batch has written to.
    versions: HashMap<&'a StreamName, Version>,
    /// What appends of the batch came to, by id.
    known: HashMap<AppendId, (Fingerprint, Appended)>,
    /// Where events of the batch stand in what is placed.
    ids: HashMap<EventId, usize>,
    decided: Decided<'a>,
}

/// An event that has the id of one to be appended.
struct Earlier {
    position: Position,
    version: Version,
    same: bool,
}

impl<'a> Batch<'a, '_> {
    fn decide(&mut self, index: usize, append: &'a Append) -> Result<Appended, AppendError> {
        if let Some(repeated) = self.repeated_append(append)? {
            return Ok(repeated);
        }
        if let Some(repeated) = self.repeated_events(append)? {
            return Ok(repeated);
        }
        for write in &append.writes {
            let actual = self.version(&write.stream);
            if !write.expected.is_met_by(actual) {
                return Err(AppendError::Conflict {
                    stream: write.stream.clone(),
                    expected: write.expected,
                    actual,
                });
            }
        }
        if let Some(condition) = &append.condition
            && let Some(position) = self.first_match(index, condition)
        {
            return Err(AppendError::ConditionFailed { position });
        }
        Ok(self.place(append))
    }

    /// The first answer to an append whose id is known.
    fn repeated_append(&self, append: &Append) -> Result<Option<Appended>, AppendError> {
        let Some(id) = append.id else {
            return Ok(None);
        };
        let known = self.known.get(&id).or_else(|| self.facts.appends.get(&id));
        match known {
            None => Ok(None),
            Some((fingerprint, first)) if *fingerprint == append.fingerprint => {
                Ok(Some(Appended {
                    repeated: true,
                    ..first.clone()
                }))
            }
            Some(_) => Err(AppendError::IdReused {
                kind: "append",
                id: id.uuid(),
            }),
        }
    }

    /// The first answer to an append whose events stand in the log as they are.
    fn repeated_events(&self, append: &Append) -> Result<Option<Appended>, AppendError> {
        let events = || {
            let writes = append.writes.iter();
            writes.flat_map(|write| write.events.iter().map(|event| (&write.stream, event)))
        };
        let earlier: HashMap<EventId, Earlier> = events()
            .filter_map(|(stream, event)| Some((event.id, self.earlier(stream, event)?)))
            .collect();
        let Some(position) = earlier.values().map(|event| event.position).max() else {
            return Ok(None);
        };
        let is_same = |id| earlier.get(&id).is_some_and(|event: &Earlier| event.same);
        if !events().all(|(_, event)| is_same(event.id)) {
            let ids = || events().map(|(_, event)| event.id);
            let differs = ids().find(|id| earlier.contains_key(id) && !is_same(*id));
            let culprit = differs.or_else(|| ids().find(|id| earlier.contains_key(id)));
            return Err(AppendError::IdReused {
                kind: "event",
                id: culprit.map_or_else(uuid::Uuid::nil, EventId::uuid),
            });
        }
        let version_of = |write: &StreamWrite| {
            let last = write.events.last().and_then(|event| earlier.get(&event.id));
            last.map_or_else(
                || self.version_at(&write.stream, position),
                |event| event.version,
            )
        };
        Ok(Some(Appended {
            position,
            versions: append.writes.iter().map(version_of).collect(),
            repeated: true,
        }))
    }

    /// The event that has the id of a new one, in the log or in the batch.
    fn earlier(&self, stream: &StreamName, event: &NewEvent) -> Option<Earlier> {
        if let Some(stored) = self.facts.events.get(&event.id) {
            return Some(Earlier {
                position: stored.position,
                version: stored.version,
                same: !self.facts.unlike.contains(&event.id)
                    && stored.stream == *stream
                    && stored.event_type == event.event_type
                    && stored.schema_version == event.schema_version
                    && stored.tags == event.tags
                    && stored.payload == event.payload,
            });
        }
        let placed = self.decided.placed.get(*self.ids.get(&event.id)?)?;
        Some(Earlier {
            position: placed.position,
            version: placed.version,
            same: placed.stream == stream
                && placed.event.event_type == event.event_type
                && placed.event.schema_version == event.schema_version
                && placed.event.tags == event.tags
                && placed.event.payload == event.payload,
        })
    }

    /// Where a stream is by now.
    fn version(&self, stream: &StreamName) -> Version {
        let known = self.versions.get(stream);
        known
            .or_else(|| self.facts.versions.get(stream))
            .copied()
            .unwrap_or_default()
    }

    /// Where a stream was when the log reached a position.
    fn version_at(&self, stream: &StreamName, position: Position) -> Version {
        if position <= self.facts.head {
            let at = self.facts.versions_at.get(&(stream.clone(), position));
            return at.copied().unwrap_or_default();
        }
        let placed = self.decided.placed.iter().rev();
        let last = placed
            .skip_while(|placed| placed.position > position)
            .find(|placed| placed.stream == stream);
        let before = || self.facts.versions.get(stream).copied();
        last.map(|placed| placed.version)
            .or_else(before)
            .unwrap_or_default()
    }

    /// The first event that a condition forbids, in the log or in the batch.
    fn first_match(&self, index: usize, condition: &Condition) -> Option<Position> {
        if let Some(position) = self.facts.matches.get(&index) {
            return Some(*position);
        }
        let items = &condition.query.items;
        let matches = |placed: &&Placed<'_>| {
            let (category, event) = (placed.stream.category(), placed.event);
            let mut items = items.iter();
            placed.position > condition.after
                && (items.len() == 0
                    || items.any(|item| item.matches(category, &event.event_type, &event.tags)))
        };
        let found = self.decided.placed.iter().find(matches);
        found.map(|placed| placed.position)
    }

    /// Where the log ends by now.
    fn head(&self) -> Position {
        let last = self.decided.placed.last();
        last.map_or(self.facts.head, |placed| placed.position)
    }

    /// Gives the events their positions and versions, in the order of the writes.
    fn place(&mut self, append: &'a Append) -> Appended {
        let mut versions = Vec::with_capacity(append.writes.len());
        for write in &append.writes {
            let mut version = self.version(&write.stream);
            for event in &write.events {
                version = version.next();
                self.ids.insert(event.id, self.decided.placed.len());
                let position = self.head().next();
                self.decided.placed.push(Placed {
                    position,
                    version,
                    stream: &write.stream,
                    event,
                    recorded_at: append.recorded_at,
                });
            }
            self.versions.insert(&write.stream, version);
            versions.push(version);
        }
        let appended = Appended {
            position: self.head(),
            versions,
            repeated: false,
        };
        if let Some(id) = append.id {
            let known = (append.fingerprint, appended.clone());
            self.known.insert(id, known);
            let recorded = (id, append.fingerprint, appended.clone());
            self.decided.recorded.push(recorded);
        }
        appended
    }
}
