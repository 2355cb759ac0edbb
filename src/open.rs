//! Choosing the store by its URL.

use std::{fmt, sync::Arc};

use annals_core::{MemoryStore, Store, StoreError};
use annals_runtime::Builder;

/// The way in: opens a store and wires an application on it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Annals;

impl Annals {
    /// Opens the store at a URL, ready for wiring.
    ///
    /// | URL | store |
    /// |---|---|
    /// | `sqlite://PATH` | a SQLite file, made if it is not there (feature `sqlite`) |
    /// | `postgres://USER:PASSWORD@HOST:PORT/DATABASE` | a schema of a PostgreSQL database, made if it is not there (feature `postgres`) |
    /// | `memory:` | in memory, gone with the process |
    ///
    /// A PostgreSQL URL may say more: `?schema=NAME` (default `annals`), `pgbouncer=true` behind a
    /// pooler that gives out connections by transaction, `notifications=false`,
    /// `max_connections=N`, and what sqlx knows, such as `sslmode` (feature `postgres-tls`).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let app = annals::Annals::open("memory:").await?.start().await?;
    /// app.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the URL is not one of these, or the store can't be opened.
    pub async fn open(url: &str) -> Result<Builder, OpenError> {
        Ok(Builder::new(open_store(url, true).await?))
    }

    /// Opens the store at a URL as [`open`](Self::open) does, but makes none where there is none: for
    /// tools that look at a store or repair it, and must not answer from an empty one because
    /// somebody misspelt its URL.
    ///
    /// # Errors
    /// As with `open`, and of [`StoreErrorKind::NotFound`](annals_core::StoreErrorKind::NotFound)
    /// when there is no store.
    pub async fn open_existing(url: &str) -> Result<Builder, OpenError> {
        Ok(Builder::new(open_store(url, false).await?))
    }

    /// Wires an application on a store that is open already.
    pub fn on(store: Arc<dyn Store>) -> Builder {
        Builder::new(store)
    }
}

async fn open_store(url: &str, create: bool) -> Result<Arc<dyn Store>, OpenError> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new())),
        #[cfg(feature = "sqlite")]
        Some(("sqlite", _)) => {
            let options = annals_sqlite::SqliteOptions {
                create,
                ..annals_sqlite::SqliteOptions::default()
            };
            Ok(Arc::new(
                annals_sqlite::SqliteStore::open(url, options).await?,
            ))
        }
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => {
            let options = annals_postgres::PostgresOptions {
                create,
                ..annals_postgres::PostgresOptions::default()
            };
            Ok(Arc::new(
                annals_postgres::PostgresStore::open(url, options).await?,
            ))
        }
        _ => Err(OpenError::UnknownStore {
            url: Redacted::new(url),
        }),
    }
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is of no store that this build knows.
    #[error(
        "`{url}` is no store that this build knows; write `sqlite://PATH`, `postgres://...` (with \
         feature `postgres`) or `memory:`"
    )]
    UnknownStore {
        /// The URL, without what may be a password.
        url: Redacted,
    },
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A URL without the user name and password it may hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    fn new(url: &str) -> Self {
        Self(match (url.find("://"), url.rfind('@')) {
            (Some(scheme), Some(at)) if scheme + 3 <= at => {
                let (scheme, rest) = url.split_at(scheme + 3);
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                format!("{scheme}…@{host}")
            }
            _ => url.to_owned(),
        })
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_url_is_refused_without_showing_its_password() {
        let error = Annals::open("mysql://me:secret@host/db")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("mysql://…@host/db") && error.contains("sqlite://PATH"),
            "{error}"
        );
    }
}
