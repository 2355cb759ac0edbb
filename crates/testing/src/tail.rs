//! Did a reader that followed the log see all of it, once, in order?

use std::collections::HashSet;

use annals_core::{Position, StoredEvent};

/// What is wrong with what a reader saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailFault {
    /// The reader never saw this event.
    Missed(Position),
    /// The reader saw this event more than once.
    Doubled(Position),
    /// The reader saw this event after one that stands behind it.
    OutOfOrder(Position),
    /// The reader saw something at this position that is not what the log has there.
    Foreign(Position),
}

/// Compares what a reader saw, in the order it saw it, with the whole log.
///
/// # Errors
/// The first thing that is wrong: order and doubles first, then what is missing.
pub fn check_tail(seen: &[StoredEvent], log: &[StoredEvent]) -> Result<(), TailFault> {
    let mut positions = HashSet::new();
    let mut last = Position::START;
    for event in seen {
        let at = event.position;
        if !positions.insert(at) {
            return Err(TailFault::Doubled(at));
        }
        if at < last {
            return Err(TailFault::OutOfOrder(at));
        }
        last = at;
    }
    if let Some(missed) = log
        .iter()
        .find(|event| !positions.contains(&event.position))
    {
        return Err(TailFault::Missed(missed.position));
    }
    let foreign = seen
        .iter()
        .enumerate()
        .find(|(index, event)| log.get(*index) != Some(event));
    foreign.map_or(Ok(()), |(_, event)| Err(TailFault::Foreign(event.position)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use annals_core::{
        CausationId, CorrelationId, EventHeader, EventId, EventType, Metadata, StreamName, Version,
    };
    use uuid::Uuid;

    use super::*;
    use crate::clock::dawn;

    fn event(position: u64, payload: &str) -> StoredEvent {
        let cause = Uuid::nil();
        StoredEvent {
            header: Arc::new(EventHeader {
                position: Position::new(position),
                stream: StreamName::parse("thing-1").unwrap(),
                version: Version::new(position),
                id: EventId::new(Uuid::from_u64_pair(0, position)),
                event_type: EventType::new("thing.done").unwrap(),
                schema_version: 1,
                recorded_at: dawn(),
                tags: Vec::new(),
                metadata: Metadata::caused_by(CausationId::new(cause), CorrelationId::new(cause)),
            }),
            payload: payload.into(),
        }
    }

    #[test]
    fn every_fault_of_a_reader_is_named() {
        let log = [event(1, "a"), event(2, "b"), event(3, "c")];
        let [one, two, three] = log.clone();
        let cases: [(Vec<StoredEvent>, Result<(), TailFault>); 6] = [
            (log.to_vec(), Ok(())),
            (
                vec![one.clone(), three.clone()],
                Err(TailFault::Missed(Position::new(2))),
            ),
            (
                vec![one.clone(), two.clone()],
                Err(TailFault::Missed(Position::new(3))),
            ),
            (
                vec![one.clone(), two.clone(), two.clone(), three.clone()],
                Err(TailFault::Doubled(Position::new(2))),
            ),
            (
                vec![one.clone(), three.clone(), two],
                Err(TailFault::OutOfOrder(Position::new(2))),
            ),
            (
                vec![one, event(2, "other"), three],
                Err(TailFault::Foreign(Position::new(2))),
            ),
        ];
        for (seen, expected) in cases {
            assert_eq!(check_tail(&seen, &log), expected);
        }
    }
}
