//! PostgreSQL is a store: it passes the conformance suite, directly, through a pooler that gives
//! out connections by transaction, and with a single connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a test does not expect fails it"
)]

use std::sync::Arc;

use annals_core::Store;
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::{
    conformance::{Effort, Fixture},
    postgres::TestSchema,
};

async fn open(url: &str, max_connections: u32) -> Arc<dyn Store> {
    let options = PostgresOptions {
        max_connections,
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(url, options).await;
    Arc::new(store.expect("the store opens"))
}

/// A server is slower to reach than a file.
fn effort() -> Effort {
    Effort {
        cases: 24,
        ..Effort::default()
    }
}

macro_rules! fixture {
    ($module:ident, $fixture:ident, $url:ident, $max_connections:expr) => {
        mod $module {
            use super::*;

            struct $fixture(TestSchema);

            #[async_trait::async_trait]
            impl Fixture for $fixture {
                async fn create() -> Self {
                    Self(TestSchema::create().await)
                }

                async fn open(&self) -> Arc<dyn Store> {
                    open(&self.0.$url(), $max_connections).await
                }

                fn effort() -> Effort {
                    effort()
                }
            }

            annals_testing::conformance!($fixture);
        }
    };
}

fixture!(direct, Direct, url, 8);
fixture!(
    through_pgbouncer,
    ThroughPgBouncer,
    url_through_pgbouncer,
    8
);
fixture!(single_connection, SingleConnection, url, 1);
