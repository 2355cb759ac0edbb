//! Time and ids that are the same in every run.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use annals_core::{Clock, IdSource};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// The moment at which test clocks start: 2024-01-01 00:00:00 UTC.
#[must_use]
pub fn dawn() -> DateTime<Utc> {
    DateTime::from_timestamp(1_704_067_200, 0).expect("the time is in range")
}

/// A clock that stands still until it is moved.
///
/// ```
/// use std::time::Duration;
/// use annals_core::Clock;
/// use annals_testing::clock::{ManualClock, dawn};
///
/// let clock = ManualClock::default();
/// assert_eq!(clock.now(), dawn());
/// clock.advance(Duration::from_secs(60));
/// assert_eq!((clock.now() - dawn()).num_seconds(), 60);
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<DateTime<Utc>>,
}

impl ManualClock {
    /// A clock that shows this time.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self {
            now: Mutex::new(now),
        }
    }

    /// Moves the clock forwards.
    ///
    /// # Panics
    /// When the time goes out of range, in the year 262142.
    pub fn advance(&self, by: Duration) {
        let by = TimeDelta::from_std(by).expect("the step is in range");
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add_signed(by).expect("the time is in range");
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, now: DateTime<Utc>) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

impl Default for ManualClock {
    /// A clock that shows [`dawn`].
    fn default() -> Self {
        Self::at(dawn())
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives out UUIDv7s that count up, so that every run has the same ids.
///
/// ```
/// use annals_core::IdSource;
/// use annals_testing::clock::{SequentialIds, dawn};
///
/// let ids = SequentialIds::default();
/// let first = ids.next(dawn());
/// assert_eq!(first.get_version_num(), 7);
/// assert!(ids.next(dawn()) > first);
/// assert_eq!(SequentialIds::default().next(dawn()), first);
/// ```
#[derive(Debug, Default)]
pub struct SequentialIds {
    given: AtomicU64,
}

impl SequentialIds {
    /// Ids whose count starts after `count`, apart from those of another source.
    #[must_use]
    pub const fn after(count: u64) -> Self {
        Self {
            given: AtomicU64::new(count),
        }
    }
}

impl IdSource for SequentialIds {
    fn next(&self, now: DateTime<Utc>) -> Uuid {
        let count = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let mut tail = [0; 10];
        // The first bytes lose some bits to the UUID's version and variant.
        tail[2..].copy_from_slice(&count.to_be_bytes());
        tail[2] &= 0x3f;
        uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
    }
}
