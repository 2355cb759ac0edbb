//! What a saga's own stream holds.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use annals_macros::Event;

use super::{command::SagaCommand, process::ReactError, retry::Retry};
use crate::{
    event::{EventHeader, EventSet, Recorded, StoredEvent},
    id::{CommandId, EventId},
    metadata::Metadata,
    name::{EventType, StreamName, Tag},
    order::{Position, Version},
};

/// What happens to a saga. Its stream is inbox, outbox, list of deadlines and audit trail in one.
///
/// The engine writes these events, all that follow from one cause in one append. A `step` is the
/// name under which a command was sent, `due` when a command or deadline is or was due.
#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = crate, category = "saga")]
pub enum SagaEvent {
    /// It began, with what it was asked for; a linear saga's whole plan is part of that.
    Started {
        /// What it was asked for.
        start: Value,
    },
    /// It took in an event of the log.
    Received(ReceivedEvent),
    /// It has sent, or is about to send, a command.
    Sent {
        /// Under which name.
        step: String,
        /// The command.
        command: SagaCommand,
        /// Its id, by which it is carried out once however often it is sent.
        command_id: CommandId,
        /// Whether it is sent again when it is refused.
        retry: Option<Retry>,
        /// Whether a refusal is for an operator to solve, as a compensation's is.
        insist: bool,
        /// Since when it is due.
        due: DateTime<Utc>,
    },
    /// A command was carried out.
    Succeeded {
        /// Which one.
        step: String,
        /// When it was due.
        due: DateTime<Utc>,
        /// Up to where the log holds what it brought about.
        position: Position,
    },
    /// A command was refused, and will be sent again.
    Postponed {
        /// Which one.
        step: String,
        /// When it was due.
        due: DateTime<Utc>,
        /// How often it was refused by now.
        refusals: u32,
        /// What the aggregate said.
        reason: String,
        /// When it is sent again.
        until: DateTime<Utc>,
    },
    /// A command is to be taken back, unless it is carried out already.
    Recalled {
        /// Which one.
        step: String,
        /// Why.
        reason: String,
        /// When it was due.
        due: Option<DateTime<Utc>>,
        /// Since when it is to be taken back.
        now: Option<DateTime<Utc>>,
    },
    /// A command was refused for good or taken back: it will never have an effect.
    Rejected {
        /// Which one.
        step: String,
        /// When it was due.
        due: DateTime<Utc>,
        /// Why.
        reason: String,
    },
    /// A deadline was set.
    Scheduled {
        /// Its name.
        name: String,
        /// When it is due.
        due: DateTime<Utc>,
    },
    /// A deadline was lifted.
    Cancelled {
        /// Its name.
        name: String,
        /// When it was due.
        due: DateTime<Utc>,
    },
    /// A deadline was reached.
    Fired {
        /// Its name.
        name: String,
        /// When it was due.
        due: DateTime<Utc>,
    },
    /// What was done is being undone.
    Compensating {
        /// Why.
        reason: String,
    },
    /// All is done.
    Completed,
    /// All that was done is undone.
    Compensated {
        /// Why.
        reason: String,
    },
    /// It ended with nothing done.
    Failed {
        /// Why.
        reason: String,
    },
    /// It can't go on without an operator.
    Stuck {
        /// The command that is refused again and again; none when the saga's own code failed.
        step: Option<String>,
        /// When that command was due.
        due: Option<DateTime<Utc>>,
        /// Why.
        reason: String,
    },
    /// An operator let it try again.
    Retried {
        /// The commands that are sent again.
        steps: Vec<String>,
        /// Since when they are due.
        due: DateTime<Utc>,
    },
    /// An operator gave it up, as it was.
    Abandoned {
        /// Why.
        reason: String,
    },
}

/// An event of the log, as a saga has taken it in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceivedEvent {
    /// Its place in the log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its place in the stream.
    pub version: Version,
    /// Its id.
    pub id: EventId,
    /// Its wire name.
    pub event_type: EventType,
    /// The schema version it was written with.
    pub schema_version: u32,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Who, why, in which trace.
    pub metadata: Metadata,
    /// What happened.
    pub payload: Value,
}

impl ReceivedEvent {
    /// Takes in a stored event.
    ///
    /// # Errors
    /// When its payload is not JSON.
    pub fn take_in(event: &StoredEvent) -> Result<Self, ReactError> {
        let header = EventHeader::clone(&event.header);
        Ok(Self {
            position: header.position,
            stream: header.stream,
            version: header.version,
            id: header.id,
            event_type: header.event_type,
            schema_version: header.schema_version,
            recorded_at: header.recorded_at,
            tags: header.tags,
            metadata: header.metadata,
            payload: serde_json::from_slice(&event.payload)?,
        })
    }

    /// Reads the event as one of `E`.
    ///
    /// # Errors
    /// When `E` has no such event type, or can't read it.
    pub fn decode<E: EventSet>(&self) -> Result<Recorded<E>, ReactError> {
        let payload = serde_json::to_vec(&self.payload)?;
        let decoded = E::decode(self.event_type.as_str(), self.schema_version, &payload)?;
        let event = decoded.ok_or_else(|| {
            ReactError::new(format!("it does not know `{}` any more", self.event_type))
        })?;
        let header = EventHeader {
            position: self.position,
            stream: self.stream.clone(),
            version: self.version,
            id: self.id,
            event_type: self.event_type.clone(),
            schema_version: self.schema_version,
            recorded_at: self.recorded_at,
            tags: self.tags.clone(),
            metadata: self.metadata.clone(),
        };
        Ok(Recorded {
            header: Arc::new(header),
            event,
        })
    }
}

impl SagaEvent {
    /// Whether it ends the saga.
    #[must_use]
    pub fn ends(&self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::Compensated { .. }
                | Self::Failed { .. }
                | Self::Abandoned { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recall_that_an_earlier_release_wrote_is_read() {
        let written = br#"{"step": "credit", "reason": "it took too long"}"#;
        let read = SagaEvent::decode("saga.recalled", 1, written).unwrap();
        let recalled = SagaEvent::Recalled {
            step: "credit".to_owned(),
            reason: "it took too long".to_owned(),
            due: None,
            now: None,
        };
        assert_eq!(read, Some(recalled));
    }
}
