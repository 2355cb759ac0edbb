//! How often, and after which waits, a refused command is sent again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often, and after which waits, a command that an aggregate refused is sent again.
///
/// The waits double from the first to the longest. They are kept in the saga's stream, so a
/// restart does not cut them short or begin anew.
///
/// ```
/// use std::time::Duration;
/// use annals_core::saga::Retry;
///
/// let retry = Retry::times(4).waiting(Duration::from_secs(1), Duration::from_secs(3));
/// let waits: Vec<_> = (1..=4).map_while(|refusals| retry.wait(refusals)).collect();
/// assert_eq!(waits, [1, 2, 3].map(Duration::from_secs));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How often the command is sent at most, the first time included.
    pub attempts: u32,
    /// The wait after the first refusal.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Retry {
    /// Sends the command up to `attempts` times, waiting 0.2 seconds at first and 30 at most.
    #[must_use]
    pub const fn times(attempts: u32) -> Self {
        Self {
            attempts,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(30),
        }
    }

    /// Sends the command again and again, until a deadline ends it.
    #[must_use]
    pub const fn until_deadline() -> Self {
        Self::times(u32::MAX)
    }

    /// Waits `first` after the first refusal, then twice as long each time, up to `longest`.
    #[must_use]
    pub const fn waiting(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest;
        self
    }

    /// How long to wait after so many refusals; `None` when it was the last attempt.
    #[must_use]
    pub fn wait(&self, refusals: u32) -> Option<Duration> {
        let doublings = refusals.saturating_sub(1).min(31);
        (refusals < self.attempts)
            .then(|| self.first.saturating_mul(1 << doublings).min(self.longest))
    }
}
