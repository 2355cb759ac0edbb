//! Where time and ids come from, so that tests can run an engine deterministically.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Now, in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// Gives out new ids.
pub trait IdSource: Debug + Send + Sync + 'static {
    /// A new UUIDv7 for something that happens at `now`; never the same one twice.
    fn next(&self, now: DateTime<Utc>) -> Uuid;
}
