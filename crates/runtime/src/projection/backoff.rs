//! How long to wait before the next attempt.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

const SHORTEST: Duration = Duration::from_millis(20);
/// Whoever waits for a server that is away goes on within 5 seconds of its return.
const LONGEST: Duration = Duration::from_secs(2);

/// Waits that double from one failure to the next, up to two seconds.
///
/// Each is cut by up to half, differently for every `who`, so that nodes which failed together
/// don't come back together. No randomness is involved, and a test sees the same waits again.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    who: u64,
    failures: u32,
}

impl Backoff {
    /// No wait is longer than this.
    pub(crate) const LONGEST: Duration = LONGEST;

    pub(crate) fn new(who: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        who.hash(&mut hasher);
        Self {
            who: hasher.finish(),
            failures: 0,
        }
    }

    /// The waits of one who holds leases, with something it does. The number in its name tells it
    /// from all others; the process id is left out, so that a simulated world is the same wherever
    /// it is run.
    pub(crate) fn of(owner: &str, what: &str) -> Self {
        Self::new((owner.rsplit(' ').next(), what))
    }

    /// Starts from the shortest wait again.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How often it failed since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// The wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let full = SHORTEST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let mut hasher = DefaultHasher::new();
        (self.who, self.failures).hash(&mut hasher);
        let percent = 50 + u32::try_from(hasher.finish() % 51).unwrap_or(0);
        full * percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_again_after_a_success() {
        let mut backoff = Backoff::new("node-1");
        let waits: Vec<_> = (0..40).map(|_| backoff.failed()).collect();
        assert!(
            waits
                .iter()
                .all(|&wait| wait >= SHORTEST / 2 && wait <= LONGEST)
        );
        assert!(waits.iter().skip(20).all(|&wait| wait >= LONGEST / 2));
        backoff.succeeded();
        assert!(backoff.failed() <= SHORTEST);
    }

    #[test]
    fn two_nodes_wait_differently() {
        let waits = |who| {
            let mut backoff = Backoff::new(who);
            (0..8).map(|_| backoff.failed()).collect::<Vec<_>>()
        };
        assert_ne!(waits("node-1"), waits("node-2"));
    }
}
