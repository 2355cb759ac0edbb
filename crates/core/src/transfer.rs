//! Moving a log, as it is, from one store to another.

use std::collections::{HashMap, HashSet};

use crate::{
    append::{self, Appended, Fingerprint, MAX_EVENTS},
    event::StoredEvent,
    id::AppendId,
    name::StreamName,
    order::{Position, Version},
    projector::FoldError,
    store::{StoreError, StoreErrorKind},
};

const DOING: &str = "import a piece of a log";

/// What an append with an id brought about, as the store keeps it: repeating that append answers
/// this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedAppend {
    /// The append's id.
    pub id: AppendId,
    /// What the id stands for.
    pub fingerprint: Fingerprint,
    /// The position of its last event; the head of the log as it saw it when it had no events.
    pub position: Position,
    /// The version that each stream reached with it, in the order of its writes.
    pub versions: Vec<Version>,
}

impl RecordedAppend {
    /// Notes what an append brought about.
    #[must_use]
    pub fn new(id: AppendId, fingerprint: Fingerprint, appended: &Appended) -> Self {
        Self {
            id,
            fingerprint,
            position: appended.position,
            versions: appended.versions.clone(),
        }
    }

    /// What the append was answered the first time.
    #[must_use]
    pub fn appended(self) -> Appended {
        Appended {
            position: self.position,
            versions: self.versions,
            repeated: false,
        }
    }
}

/// Checks whether a piece of a log goes on where a store's log ends, and answers where it then
/// ends.
///
/// `version` tells at which version the store's log has a stream. What is left to the store is
/// that none of the ids is in it already.
///
/// # Errors
/// [`StoreErrorKind::Invalid`] when positions or versions don't follow on each other, an id comes
/// twice, an append lies beyond the end, or a limit is exceeded.
pub fn check_piece(
    head: Position,
    events: &[StoredEvent],
    appends: &[RecordedAppend],
    version: impl Fn(&StreamName) -> Version,
) -> Result<Position, StoreError> {
    let largest = events.len().max(appends.len());
    if largest > MAX_EVENTS {
        return Err(refused(format!(
            "it has {largest} events or appends; {MAX_EVENTS} are allowed"
        )));
    }
    let mut end = head;
    let mut ids = HashSet::with_capacity(events.len());
    let mut versions: HashMap<&StreamName, Version> = HashMap::new();
    for event in events {
        let (position, stream) = (event.position, &event.stream);
        if position != end.next() {
            let expected = end.next();
            return Err(refused(format!(
                "position {expected} should follow, not {position}"
            )));
        }
        let at = versions.entry(stream).or_insert_with(|| version(stream));
        if event.version != at.next() {
            let (expected, found) = (at.next(), event.version);
            return Err(refused(format!(
                "version {expected} of stream `{stream}` should follow at position {position}, \
                 not {found}"
            )));
        }
        if !ids.insert(event.id) {
            return Err(refused(format!("it has the event id {} twice", event.id)));
        }
        append::check_event(
            &event.event_type,
            &event.payload,
            &event.metadata,
            &event.tags,
        )
        .map_err(refused)?;
        *at = event.version;
        end = position;
    }
    check_appends(end, appends)?;
    Ok(end)
}

fn check_appends(end: Position, appends: &[RecordedAppend]) -> Result<(), StoreError> {
    let mut ids = HashSet::with_capacity(appends.len());
    for append in appends {
        let (id, position) = (append.id, append.position);
        if position > end {
            return Err(refused(format!(
                "append {id} ended at position {position}, but the log ends at {end}"
            )));
        }
        if !ids.insert(id) {
            return Err(refused(format!("it has the append id {id} twice")));
        }
    }
    Ok(())
}

/// The refusal of a piece of a log, for stores that find out what [`check_piece`] can't.
#[must_use]
pub fn refused(problem: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, DOING).caused_by(problem.into())
}

/// The answer when an inline projection can't fold what is imported.
#[must_use]
pub fn not_folded(error: FoldError) -> StoreError {
    match error {
        FoldError::Store(error) => error,
        FoldError::Event { .. } => StoreError::new(StoreErrorKind::Invalid, DOING).caused_by(error),
    }
}
