//! How long something is somebody's own.

use std::time::{Duration, Instant};

/// The store lives and dies with its process, so the process's monotonic clock can judge it.
#[derive(Debug)]
pub(super) struct Lease {
    since: Instant,
    term: Duration,
}

impl Lease {
    /// A lease for `term` from now.
    pub(super) fn of(term: Duration) -> Self {
        Self {
            since: Instant::now(),
            term,
        }
    }

    /// A lease that has run out.
    pub(super) fn over() -> Self {
        Self::of(Duration::ZERO)
    }

    pub(super) fn holds(&self) -> bool {
        self.since.elapsed() < self.term
    }
}
