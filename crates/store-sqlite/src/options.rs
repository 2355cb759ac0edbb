//! How a store is opened.

use std::time::Duration;

/// How [`SqliteStore::open`](crate::SqliteStore::open) opens a store.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Whether a missing file is created. Default: yes.
    pub create: bool,
    /// When a commit counts as durable. Default: [`Synchronous::Full`].
    pub synchronous: Synchronous,
    /// How long to wait for other processes' locks before giving up. Default: 30 seconds.
    pub busy_timeout: Duration,
    /// How often to look for appends of other processes. Default: 20 milliseconds.
    pub poll_interval: Duration,
    /// How many connections read. Default: 4.
    pub readers: u32,
    /// How many writes may wait before further callers wait to be let in. Default: 4,096.
    pub queue: usize,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            create: true,
            synchronous: Synchronous::Full,
            busy_timeout: Duration::from_secs(30),
            poll_interval: Duration::from_millis(20),
            readers: 4,
            queue: 4096,
        }
    }
}

/// When SQLite waits for the disk (`PRAGMA synchronous`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// At every commit: what was acknowledged survives a power cut. The only safe choice.
    #[default]
    Full,
    /// Now and then: a power cut loses acknowledged appends. For tests and measurements.
    Normal,
    /// Never: a power cut may corrupt the file. For tests and measurements.
    Off,
}
