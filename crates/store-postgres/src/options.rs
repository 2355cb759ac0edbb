//! How a store is opened.

use std::time::Duration;

/// How [`PostgresStore::open`](crate::PostgresStore::open) opens a store.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The schema that holds the store's tables. Default: `annals`.
    ///
    /// 1 to 63 lower-case letters, digits and `_`, not starting with a digit or `pg_`. The URL
    /// parameter `schema` overrides it.
    pub schema: String,
    /// Whether the schema and its tables are made if they are not there. Default: yes.
    pub create: bool,
    /// How many connections read, and write what is not an append. The appends have one of
    /// their own, and so do [`notifications`](Self::notifications). Default: 8; the URL
    /// parameter `max_connections` overrides it.
    pub max_connections: u32,
    /// How long to wait for one of these connections while others use them all. Default: 30
    /// seconds. A server that can't be reached is waited for 5 seconds at most.
    pub acquire_timeout: Duration,
    /// How long to wait for other processes' locks before giving up. Default: 30 seconds.
    pub lock_timeout: Duration,
    /// When the server ends a transaction whose process has stalled, so that its locks do not
    /// hold up everybody else. Default: 5 seconds.
    pub stall_timeout: Duration,
    /// How often to look for appends of other processes. Default: 20 milliseconds.
    pub poll_interval: Duration,
    /// Whether appends send a notification (`NOTIFY`), and whether one is listened for, so that
    /// other processes' appends are noticed before the next poll. Default: yes; the URL
    /// parameter `notifications` overrides it.
    pub notifications: bool,
    /// For a pooler between the store and the server that gives out connections by transaction,
    /// as PgBouncer may: nothing then outlives a transaction, and nobody listens for
    /// notifications. Default: no; the URL parameter `pgbouncer` overrides it.
    pub transaction_pooling: bool,
    /// How many appends may wait before further callers wait to be let in. Default: 4,096.
    pub queue: usize,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            schema: "annals".to_owned(),
            create: true,
            max_connections: 8,
            acquire_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(5),
            poll_interval: Duration::from_millis(20),
            notifications: true,
            transaction_pooling: false,
            queue: 4096,
        }
    }
}
