//! Positions and versions are dense.

use std::collections::HashMap;

use annals_core::{Position, StoredEvent, StreamName, Version};
use async_trait::async_trait;

use crate::check::LogCheck;

/// Positions follow each other without holes, and so do the versions of every stream.
#[derive(Default)]
pub(super) struct Dense {
    at: Position,
    /// One entry per stream: the memory that verifying takes.
    versions: HashMap<StreamName, Version>,
}

#[async_trait]
impl LogCheck for Dense {
    fn name(&self) -> &str {
        "positions and versions are dense"
    }

    fn event(&mut self, event: &StoredEvent) -> Option<String> {
        let expected = self.at.next();
        self.at = event.position;
        if event.position != expected {
            return Some(format!("position {expected} should be here"));
        }
        let version = self.versions.entry(event.stream.clone()).or_default();
        let expected = version.next();
        *version = event.version;
        (event.version != expected).then(|| {
            let (stream, found) = (&event.stream, event.version);
            format!("version {expected} of `{stream}` should be here, not {found}")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use annals_core::{CorrelationId, EventHeader, EventId, EventType, Metadata};
    use chrono::Utc;

    use super::*;

    fn event(position: u64, stream: &str, version: u64) -> StoredEvent {
        let id = EventId::new(Default::default());
        let header = EventHeader {
            position: Position::new(position),
            stream: StreamName::parse(stream).unwrap(),
            version: Version::new(version),
            id,
            event_type: EventType::new("account.opened").unwrap(),
            schema_version: 1,
            recorded_at: Utc::now(),
            tags: Vec::new(),
            metadata: Metadata::caused_by(id.into(), CorrelationId::new(id.uuid())),
        };
        StoredEvent {
            header: Arc::new(header),
            payload: b"{}".to_vec(),
        }
    }

    #[test]
    fn a_missing_position_and_a_missing_version_are_found() {
        let mut dense = Dense::default();
        assert_eq!(dense.event(&event(1, "account-a", 1)), None);
        assert_eq!(dense.event(&event(2, "account-b", 1)), None);
        assert_eq!(dense.event(&event(3, "account-a", 2)), None);
        assert_eq!(
            dense.event(&event(4, "account-a", 4)).unwrap(),
            "version 3 of `account-a` should be here, not 4"
        );
        assert_eq!(
            dense.event(&event(6, "account-b", 2)).unwrap(),
            "position 5 should be here"
        );
    }
}
