//! Where the bank of a test keeps its log.

use annals_testing::postgres::TestSchema;
use tempfile::TempDir;

/// What the scenarios run on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
    /// The same behind PgBouncer in transaction mode.
    PgBouncer,
    /// A server, with a pool of one connection.
    SingleConnection,
}

/// A store of one's own, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    url: String,
    _kept: Kept,
}

#[derive(Debug)]
#[allow(dead_code, reason = "held to be dropped")]
enum Kept {
    Directory(TempDir),
    Schema(TestSchema),
}

impl Place {
    pub(crate) async fn of(store: Store) -> Self {
        if let Store::Sqlite = store {
            let directory = tempfile::tempdir().unwrap();
            return Self {
                url: format!("sqlite://{}", directory.path().join("bank.db").display()),
                _kept: Kept::Directory(directory),
            };
        }
        let schema = TestSchema::create().await;
        let url = match store {
            Store::PgBouncer => schema.url_through_pgbouncer(),
            Store::SingleConnection => format!("{}&max_connections=1", schema.url()),
            Store::Sqlite | Store::Postgres => schema.url(),
        };
        Self {
            url,
            _kept: Kept::Schema(schema),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
