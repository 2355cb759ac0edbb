//! Opens a store: finds the file, checks it, and starts the writer.

use std::{fmt, fs::File, io::Read as _, path::Path, time::Duration};

use annals_core::{Migrated, StoreError, StoreErrorKind};
use sqlx::{
    ConnectOptions as _, Connection as _, Row, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    SqliteOptions, Synchronous,
    error::{failed, failed_on_own},
    migrate,
    transaction::{Connector, begin, commit, patiently},
};

/// SQLite before this release can corrupt a file when its write-ahead log is reset while several
/// connections use it.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// What an open store works with.
pub(crate) struct Opened {
    pub(crate) connector: Connector,
    pub(crate) conn: SqliteConnection,
    pub(crate) readers: SqlitePool,
    pub(crate) migrated: Migrated,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// Opens the file, creating and migrating it as needed.
pub(crate) async fn open(file: &Path, options: &SqliteOptions) -> Result<Opened, StoreError> {
    let doing = format!("open the store at {}", file.display());
    look_at(file, options, &doing)?;
    let connector = Connector {
        options: connect_options(file, options),
        busy_timeout: options.busy_timeout,
    };
    let (conn, migrated) = prepared(&connector)
        .await
        .map_err(|error| with_advice(error, file, &doing))?;
    let reading = connector
        .options
        .clone()
        .read_only(true)
        .pragma("cache_size", "-8000")
        .create_if_missing(false)
        .busy_timeout(options.busy_timeout);
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .acquire_timeout(Duration::from_secs(30))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // One reader is there from the start: on a disk that is full later, none could be added.
        .connect_with(reading)
        .await
        .map_err(|error| with_advice(failed_on_own("connect a reader")(error), file, &doing))?;
    Ok(Opened {
        connector,
        conn,
        readers,
        migrated,
    })
}

fn connect_options(file: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(options.create)
        .foreign_keys(false)
        .synchronous(match options.synchronous {
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Normal => SqliteSynchronous::Normal,
            Synchronous::Off => SqliteSynchronous::Off,
        })
        // Writers wait for each other in `transaction::begin`, which is fairer than SQLite is.
        .busy_timeout(Duration::from_millis(5))
        // Rarer checkpoints, and a cache for the indexes' pages: in an experiment both, together
        // with time-ordered ids, nearly doubled the rate of batches of 64.
        .pragma("wal_autocheckpoint", "10000")
        .pragma("cache_size", "-64000")
        // Statements of many rows keep a journal each, from which to undo the statement alone.
        // Measured: in memory instead of in a temporary file it spares a quarter of an append's
        // processor time.
        .pragma("temp_store", "memory")
        // Every number of rows that a statement writes is a statement of its own.
        .statement_cache_capacity(400)
        .optimize_on_close(false, None)
        .disable_statement_logging()
}

/// Finds what SQLite would describe badly or not at all.
fn look_at(file: &Path, options: &SqliteOptions, doing: &str) -> Result<(), StoreError> {
    let fail = |kind, problem: String| Err(StoreError::new(kind, doing).caused_by(problem));
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => fail(
            StoreErrorKind::NotFound,
            "it is a directory; name a file in it".to_owned(),
        ),
        Ok(found) if found.permissions().readonly() => fail(
            StoreErrorKind::ReadOnly,
            "the file is read-only, and a store must be able to write: make it writable, or work \
             on a copy"
                .to_owned(),
        ),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = file
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            match parent {
                Some(parent) if !parent.is_dir() => fail(
                    StoreErrorKind::NotFound,
                    format!(
                        "the directory {} does not exist; create it first",
                        parent.display()
                    ),
                ),
                _ if !options.create => fail(
                    StoreErrorKind::NotFound,
                    "there is no such file, and it is not to be created".to_owned(),
                ),
                _ => Ok(()),
            }
        }
        Err(error) => {
            let kind = match error.kind() {
                std::io::ErrorKind::PermissionDenied => StoreErrorKind::ReadOnly,
                std::io::ErrorKind::NotADirectory => StoreErrorKind::NotFound,
                _ => StoreErrorKind::Unavailable,
            };
            Err(StoreError::new(kind, doing).caused_by(error))
        }
    }
}

/// A connection to a file that is known to be a store of today's schema.
async fn prepared(connector: &Connector) -> Result<(SqliteConnection, Migrated), StoreError> {
    let mut conn = patiently(connector.busy_timeout, || async {
        // Several processes that open a new file at once get in each other's way here.
        connector
            .options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .connect()
            .await
    })
    .await
    .map_err(failed_on_own("connect"))?;
    check_release(&mut conn).await?;
    begin(&mut conn, connector.busy_timeout)
        .await
        .map_err(failed("begin a transaction"))?;
    let migrated = match migrate::migrate(&mut conn).await {
        Ok(migrated) => migrated,
        Err(error) => {
            // Closing the connection undoes what the migrations have done so far.
            conn.close_hard().await.map_err(failed("close the file"))?;
            return Err(error);
        }
    };
    commit(&mut conn)
        .await
        .map_err(failed("commit migrations"))?;
    Ok((conn, migrated))
}

async fn check_release(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    const DOING: &str = "check the release of SQLite";
    let row = sqlx::query("SELECT sqlite_version()")
        .fetch_one(conn)
        .await
        .map_err(failed(DOING))?;
    let release: String = row.try_get(0).map_err(failed(DOING))?;
    if is_recent(&release) {
        return Ok(());
    }
    let [major, minor, patch] = OLDEST_SQLITE;
    Err(StoreError::new(StoreErrorKind::Invalid, DOING).caused_by(format!(
        "the program is linked with SQLite {release}, which can corrupt a store; {major}.{minor}.{patch} \
         or later is needed: build with `libsqlite3-sys` 0.37 or later and its feature `bundled`"
    )))
}

fn is_recent(release: &str) -> bool {
    let numbers: Option<Vec<u32>> = release.split('.').map(|part| part.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.as_slice() >= OLDEST_SQLITE.as_slice())
}

/// Says which file it was, and for the commonest failures what to do.
fn with_advice(error: StoreError, file: &Path, doing: &str) -> StoreError {
    let kind = match error.kind() {
        // What SQLite could not do is create this file, or those it needs beside it.
        StoreErrorKind::NotFound if !file.exists() || File::open(file).is_ok() => {
            StoreErrorKind::ReadOnly
        }
        // What the file says of its own format, and not its rights, forbids to write it.
        StoreErrorKind::ReadOnly if !has_known_format(file) => StoreErrorKind::Corrupt,
        kind => kind,
    };
    let advice = match kind {
        StoreErrorKind::ReadOnly => {
            "the file or its directory can't be written, and a store must be able to write both: \
             make them writable, or work on a copy"
        }
        StoreErrorKind::NotFound => {
            "the file can't be opened: check that it may be read and written"
        }
        StoreErrorKind::Corrupt => {
            "the file is not an SQLite database, or is damaged: check the path, or restore a backup"
        }
        StoreErrorKind::Busy => {
            "another process holds the file locked: stop it, or try again later"
        }
        StoreErrorKind::StorageFull => "the disk is full: free some space",
        _ => "",
    };
    let source = std::error::Error::source(&error).map(ToString::to_string);
    let cause = source.unwrap_or_else(|| error.to_string());
    let cause = match advice {
        "" => cause,
        advice => format!("{advice} ({cause})"),
    };
    StoreError::new(kind, doing).caused_by(cause)
}

/// Whether the header's format numbers are those of a database with or without a write-ahead log;
/// SQLite doesn't write to a file of a later format. <https://www.sqlite.org/fileformat.html>
fn has_known_format(file: &Path) -> bool {
    const FORMAT_NUMBERS: std::ops::Range<usize> = 18..20;
    let mut header = [0; 20];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut header));
    // What can't be read says nothing about damage.
    read.is_err()
        || header[FORMAT_NUMBERS]
            .iter()
            .all(|number| (1..=2).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_by_number() {
        assert!(is_recent("3.51.3"));
        assert!(is_recent("3.100.0"));
        assert!(is_recent("4.0.0"));
        assert!(!is_recent("3.51.2"));
        assert!(!is_recent("3.9.9"));
        assert!(!is_recent("unknown"));
    }
}
