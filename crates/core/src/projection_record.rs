//! What every store decides alike about a projection's record.

use chrono::{DateTime, Utc};

use crate::{
    event::EventHeader,
    id::EventId,
    order::Position,
    projection_store::{
        Checkpoint, Failure, ProjectionRecord, ProjectionSpec, ProjectionState, Target,
    },
    read_model::TableSpec,
    store::{StoreError, StoreErrorKind},
};

impl ProjectionState {
    /// The state as stores write it down.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Outdated => "outdated",
            Self::Diverged => "diverged",
        }
    }

    /// The state that a store has written down.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] when there is no such state.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        Ok(match text {
            "running" => Self::Running,
            "paused" => Self::Paused,
            "failed" => Self::Failed,
            "outdated" => Self::Outdated,
            "diverged" => Self::Diverged,
            other => return Err(corrupt(format!("there is no state {other:?}"))),
        })
    }
}

impl Target {
    /// The target as stores write it down.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Rebuild => "rebuild",
        }
    }
}

impl TableSpec {
    /// How one of a read model's two tables is called in a database.
    #[must_use]
    pub fn name_of(&self, target: Target) -> String {
        match target {
            Target::Live => self.name.to_owned(),
            Target::Rebuild => format!("{}__rebuild", self.name),
        }
    }
}

impl Checkpoint {
    /// The checkpoint of whoever has finished everything up to this event.
    #[must_use]
    pub fn at(event: &EventHeader) -> Self {
        Self {
            position: event.position,
            event_id: Some(event.id),
        }
    }
}

impl Failure {
    /// The failure as stores write it down.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] when it does not serialise.
    pub fn to_json(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|error| {
            StoreError::new(StoreErrorKind::Invalid, "record a failure").caused_by(error)
        })
    }

    /// The failure that a store has written down.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] when the text is none.
    pub fn from_json(text: &str) -> Result<Self, StoreError> {
        serde_json::from_str(text).map_err(corrupt)
    }
}

impl ProjectionRecord {
    /// The state in which a known projection goes on when an application that starts registers
    /// it; `anew` when its table was lost, so that it begins at the start again.
    #[must_use]
    pub fn state_when_registered(&self, spec: &ProjectionSpec, anew: bool) -> ProjectionState {
        match self.state {
            _ if spec.fingerprint != self.fingerprint => ProjectionState::Outdated,
            _ if anew => ProjectionState::Running,
            ProjectionState::Outdated => ProjectionState::Running,
            state => state,
        }
    }

    /// Whether this code keeps the rows up within every append: not while the projection is
    /// stopped, or its rows are those of other code.
    #[must_use]
    pub fn takes_part(&self, spec: &ProjectionSpec) -> bool {
        self.state == ProjectionState::Running && self.fingerprint == spec.fingerprint
    }

    /// Why the projection halts as [`Diverged`](ProjectionState::Diverged) if the log has event
    /// `found` at its checkpoint, or none: its rows were folded from another log.
    #[must_use]
    pub fn divergence(&self, found: Option<EventId>, since: DateTime<Utc>) -> Option<Failure> {
        let name = &self.name;
        let Checkpoint { position, event_id } = self.checkpoint;
        let found = match (found, event_id) {
            _ if position == Position::START => return None,
            (None, _) => "the log ends before it".to_owned(),
            (Some(found), Some(id)) if found != id => {
                format!("the log has event {found} there instead of {id}")
            }
            _ => return None,
        };
        Some(Failure {
            position,
            event_type: String::new(),
            stream: String::new(),
            message: format!(
                "the checkpoint of `{name}` is position {position}, but {found}: the log was \
                 restored or replaced; bring back the log that `{name}` was built from, or rebuild \
                 `{name}`"
            ),
            since,
        })
    }
}

/// The refusal to give `projection` a table that `other` fills.
#[must_use]
pub fn table_of_another(projection: &str, other: &str, table: &str) -> StoreError {
    refused(
        projection,
        format!("projection `{other}` fills table `{table}`; give one of them another table"),
    )
}

/// The refusal to give `projection` a table whose name is taken by `kind` of thing.
#[must_use]
pub fn table_name_taken(projection: &str, kind: &str, table: &str) -> StoreError {
    refused(
        projection,
        format!(
            "there is a {kind} `{table}` already, which this projection did not make; \
             rename it, or give the read model another table"
        ),
    )
}

fn refused(projection: &str, problem: String) -> StoreError {
    let doing = format!("create the table of projection `{projection}`");
    StoreError::new(StoreErrorKind::Invalid, doing).caused_by(problem)
}

fn corrupt(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "read a projection's record").caused_by(cause)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn states_are_read_as_they_were_written() {
        for state in [
            ProjectionState::Running,
            ProjectionState::Paused,
            ProjectionState::Failed,
            ProjectionState::Outdated,
            ProjectionState::Diverged,
        ] {
            assert_eq!(ProjectionState::parse(state.as_str()).unwrap(), state);
        }
        let error = ProjectionState::parse("asleep").unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    }

    #[test]
    fn failures_are_read_as_they_were_written() {
        let failure = Failure {
            position: Position::new(7),
            event_type: "account.closed".to_owned(),
            stream: "account-1".to_owned(),
            message: "it says \"no\"\0".to_owned(),
            since: DateTime::from_timestamp(1_700_000_000, 123_456_000).unwrap(),
        };
        let text = failure.to_json().unwrap();
        assert_eq!(Failure::from_json(&text).unwrap(), failure);
        let error = Failure::from_json("{}").unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    }

    #[test]
    fn a_log_without_the_event_at_the_checkpoint_is_another_one() {
        let [id, other] = [1, 2].map(|number| EventId::new(Uuid::from_u128(number)));
        let now = DateTime::UNIX_EPOCH;
        for (position, event_id, found, says) in [
            (0, None, None, None),
            (5, Some(id), Some(id), None),
            (5, None, Some(id), None),
            (5, Some(id), None, Some("the log ends before it")),
            (5, None, None, Some("the log ends before it")),
            (5, Some(id), Some(other), Some("instead of")),
        ] {
            let record = ProjectionRecord {
                name: "balances".to_owned(),
                state: ProjectionState::Running,
                inline: false,
                checkpoint: Checkpoint {
                    position: Position::new(position),
                    event_id,
                },
                epoch: 1,
                fingerprint: String::new(),
                owner: None,
                leased: false,
                updated_at: now,
                failure: None,
                parked: 0,
                retry_parked: false,
                rebuild: None,
            };
            let failure = record.divergence(found, now);
            let message = failure.map(|failure| failure.message);
            assert_eq!(message.is_some(), says.is_some(), "{message:?}");
            if let (Some(message), Some(says)) = (message, says) {
                assert!(message.contains(says), "{message}");
                assert!(message.contains("rebuild `balances`"), "{message}");
            }
        }
    }
}
