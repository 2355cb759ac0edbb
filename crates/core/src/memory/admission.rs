//! Whether an append is let into the log, and as what.

use std::sync::Arc;

use super::log::Log;
use crate::{
    append::{Append, AppendError, Appended, Fingerprint, NewEvent, StreamWrite},
    event::{EventHeader, StoredEvent},
    id::AppendId,
    name::StreamName,
};

/// What becomes of an append that is not refused.
pub(super) enum Admission {
    /// It was there before: the answer of the first time.
    Repeated(Appended),
    /// It can be written.
    New(Batch),
}

/// An append with its places in the log, ready to be written.
pub(super) struct Batch {
    id: Option<AppendId>,
    fingerprint: Fingerprint,
    appended: Appended,
    pub(super) events: Vec<StoredEvent>,
}

impl Log {
    /// Decides on a valid append, without changing anything.
    pub(super) fn admit(&self, append: Append) -> Result<Admission, AppendError> {
        if let Some(appended) = self.repeated_append(&append)? {
            return Ok(Admission::Repeated(appended));
        }
        if let Some(appended) = self.repeated_events(&append.writes)? {
            return Ok(Admission::Repeated(appended));
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
            && let Some(position) = self.first_match(&condition.query, condition.after)
        {
            return Err(AppendError::ConditionFailed { position });
        }
        Ok(Admission::New(self.place(append)))
    }

    /// Writes what was admitted.
    pub(super) fn write(&mut self, batch: Batch) -> Appended {
        self.push(batch.events);
        if let Some(id) = batch.id {
            self.remember(id, batch.appended.clone(), batch.fingerprint);
        }
        batch.appended
    }

    /// The first answer to an append whose id is known.
    fn repeated_append(&self, append: &Append) -> Result<Option<Appended>, AppendError> {
        let Some(id) = append.id else {
            return Ok(None);
        };
        match self.find_append(id) {
            None => Ok(None),
            Some((first, fingerprint)) if *fingerprint == append.fingerprint => {
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
    fn repeated_events(&self, writes: &[StreamWrite]) -> Result<Option<Appended>, AppendError> {
        let mut events = writes
            .iter()
            .flat_map(|write| write.events.iter().map(|event| (&write.stream, event)));
        let known = events
            .clone()
            .find_map(|(_, event)| Some((event, self.position_of(event.id)?)));
        let Some((known, first)) = known else {
            return Ok(None);
        };
        // One append's events follow each other in the log. Where the first of them is not the
        // one that is known, the places can't match and the loop ends at once.
        let mut next = first;
        let changed = events.find(|(stream, event)| {
            let same = self.at(next).is_some_and(|at| is_same(at, stream, event));
            next = next.next();
            !same
        });
        if let Some((_, changed)) = changed {
            let culprit = self.position_of(changed.id).map_or(known, |_| changed);
            return Err(AppendError::IdReused {
                kind: "event",
                id: culprit.id.uuid(),
            });
        }
        let position = next.minus(1);
        let version_of = |write: &StreamWrite| self.version_at(&write.stream, position);
        Ok(Some(Appended {
            position,
            versions: writes.iter().map(version_of).collect(),
            repeated: true,
        }))
    }

    /// Gives the events their positions and versions, in the order of the writes.
    fn place(&self, append: Append) -> Batch {
        let mut position = self.head();
        let mut events = Vec::with_capacity(append.event_count());
        let mut versions = Vec::with_capacity(append.writes.len());
        for StreamWrite {
            stream,
            events: new,
            ..
        } in append.writes
        {
            let mut version = self.version(&stream);
            for event in new {
                position = position.next();
                version = version.next();
                let header = EventHeader {
                    position,
                    stream: stream.clone(),
                    version,
                    id: event.id,
                    event_type: event.event_type,
                    schema_version: event.schema_version,
                    recorded_at: append.recorded_at,
                    tags: event.tags,
                    metadata: event.metadata,
                };
                events.push(StoredEvent {
                    header: Arc::new(header),
                    payload: event.payload,
                });
            }
            versions.push(version);
        }
        Batch {
            id: append.id,
            fingerprint: append.fingerprint,
            appended: Appended {
                position,
                versions,
                repeated: false,
            },
            events,
        }
    }
}

/// Whether a stored event is what a repeated append says it is.
fn is_same(stored: &StoredEvent, stream: &StreamName, event: &NewEvent) -> bool {
    stored.id == event.id
        && stored.stream == *stream
        && stored.event_type == event.event_type
        && stored.schema_version == event.schema_version
        && stored.tags == event.tags
        && stored.payload == event.payload
}
