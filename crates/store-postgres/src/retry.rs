//! Trying again what failed for a moment, a bounded number of times.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use annals_core::{CommitError, FoldError, RebuildError, StoreError, StoreErrorKind};
use tokio::time::Instant;

/// How often something is tried, the first time included.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Nothing is tried again after this long: what took its time, such as waiting for a lock, is not
/// worth as much again.
const LONGEST: Duration = Duration::from_secs(5);

/// An error in which a failure of the store can be recognised.
pub(crate) trait Failure: From<StoreError> + Send + Sync + 'static {
    /// The store's failure, if it is one.
    fn store_error(&self) -> Option<&StoreError>;
}

impl Failure for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

macro_rules! failure {
    ($($error:ident),+) => {
        $(impl Failure for $error {
            fn store_error(&self) -> Option<&StoreError> {
                match self {
                    Self::Store(error) => Some(error),
                    _ => None,
                }
            }
        })+
    };
}

failure!(CommitError, FoldError, RebuildError);

/// Counts attempts, and waits between them.
#[derive(Debug)]
pub(crate) struct Attempts {
    begun: Instant,
    failed: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            failed: 0,
        }
    }
}

impl Attempts {
    /// After an error: waits and says yes, unless trying again is of no use.
    pub(crate) async fn go_on_after(&mut self, error: &impl Failure) -> bool {
        let Some(error) = error.store_error() else {
            return false;
        };
        let fleeting = matches!(
            error.kind(),
            StoreErrorKind::Busy | StoreErrorKind::Unavailable
        );
        self.failed += 1;
        if !fleeting || self.failed >= ATTEMPTS || self.begun.elapsed() >= LONGEST {
            return false;
        }
        tracing::debug!(%error, attempt = self.failed, "a transient failure; trying again");
        tokio::time::sleep(pause(self.failed)).await;
        true
    }
}

/// Doubles with each attempt; jittered, so that those who failed together do not come back together.
fn pause(failed: u32) -> Duration {
    jittered(FIRST_PAUSE.saturating_mul(1 << failed.min(10)))
}

/// Between half and all of a pause.
pub(crate) fn jittered(whole: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1024;
    whole / 2 + whole.mul_f64(random as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        let pauses: Vec<_> = (1..ATTEMPTS).map(pause).collect();
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(pauses.iter().sum::<Duration>() < Duration::from_secs(2));
        let same: std::collections::HashSet<_> = (0..20).map(|_| pause(3)).collect();
        assert!(same.len() > 1);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_is_tried_again_and_not_for_ever() {
        let mut attempts = Attempts::default();
        let busy = StoreError::new(StoreErrorKind::Busy, "try");
        let mut tried = 1;
        while attempts.go_on_after(&busy).await {
            tried += 1;
        }
        assert_eq!(tried, ATTEMPTS);
        let mut late = Attempts::default();
        tokio::time::advance(LONGEST).await;
        assert!(!late.go_on_after(&busy).await);
        let invalid = StoreError::new(StoreErrorKind::Invalid, "try");
        assert!(!Attempts::default().go_on_after(&invalid).await);
    }
}
