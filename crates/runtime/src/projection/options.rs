//! How the projection engine works; the defaults suit most applications.

use std::time::Duration;

use super::batch::BatchLimits;

/// How live projections are driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectionOptions {
    /// How many events are read at a time, for all projections together.
    pub page_size: usize,
    /// How many events a projection that is behind folds between two commits.
    pub batch_events: u64,
    /// How many changed rows it keeps in memory between two commits.
    pub batch_rows: usize,
    /// How long it folds between two commits. At the end of the log it commits at once.
    pub batch_age: Duration,
    /// How often a projection's record is looked at for what operators, rebuilds and other
    /// processes did to it.
    pub poll: Duration,
    /// How long a process that was killed keeps others from running its projections; one that
    /// shuts down makes room at once. A lease is renewed three times as often, which is a small
    /// write. It is shorter than [`App::caught_up`](crate::App::caught_up) waits.
    pub lease: Duration,
    /// How long a projection may take for one page or commit. One that takes longer counts as
    /// hanging: its lease is renewed no more, and another process may take its place.
    pub patience: Duration,
}

impl Default for ProjectionOptions {
    fn default() -> Self {
        Self {
            page_size: 1_000,
            batch_events: 20_000,
            batch_rows: 20_000,
            batch_age: Duration::from_millis(250),
            poll: Duration::from_millis(200),
            lease: Duration::from_secs(3),
            patience: Duration::from_secs(30),
        }
    }
}

impl ProjectionOptions {
    pub(super) fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: self.batch_events,
            rows: self.batch_rows,
            age: self.batch_age,
        }
    }
}

/// How a rebuild works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildOptions {
    /// Compares the new table with the live one, at the same position, before swapping.
    pub verify: bool,
    /// How many differing rows are reported in full.
    pub samples: usize,
    /// Begins anew even where an interrupted rebuild could be resumed.
    pub restart: bool,
    /// How many events are read at a time.
    pub page_size: usize,
    /// How many pages are read and decoded at the same time.
    pub parallel: usize,
    /// How many events are folded between two commits.
    pub flush_events: u64,
    /// How many changed rows are kept in memory between two commits. While all of them fit, each
    /// is written once.
    pub flush_rows: usize,
    /// How long it folds between two commits: what a kill can cost.
    pub flush_age: Duration,
    /// How long a rebuild that was killed keeps others out.
    pub lease: Duration,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self {
            verify: false,
            samples: 10,
            restart: false,
            page_size: 4_000,
            parallel: 4,
            flush_events: 5_000_000,
            flush_rows: 200_000,
            flush_age: Duration::from_secs(30),
            lease: Duration::from_secs(6),
        }
    }
}

impl RebuildOptions {
    pub(super) fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: self.flush_events,
            rows: self.flush_rows,
            age: self.flush_age,
        }
    }
}
