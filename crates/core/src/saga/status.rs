//! How a saga stands.

use serde::{Deserialize, Serialize};

/// How a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SagaStatus {
    /// On its way.
    Running,
    /// Undoing what was done.
    Compensating,
    /// Waiting for an operator.
    Stuck,
    /// Ended: all is done.
    Completed,
    /// Ended: what was done is undone.
    Compensated,
    /// Ended: nothing was done.
    Failed,
    /// Ended by an operator, as it was.
    Abandoned,
}

impl SagaStatus {
    /// All of them, in the order of a saga's life.
    pub const ALL: [Self; 7] = [
        Self::Running,
        Self::Compensating,
        Self::Stuck,
        Self::Completed,
        Self::Compensated,
        Self::Failed,
        Self::Abandoned,
    ];

    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Compensating | Self::Stuck)
    }

    /// The word for it: `running`, `stuck`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Stuck => "stuck",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

impl std::fmt::Display for SagaStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
