//! What can stand in the way of opening a store, and what it says then.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a test does not expect fails it"
)]

use std::{error::Error, path::Path, time::Duration};

use annals_core::{EventStore, Migrated, Position, Store, StoreError, StoreErrorKind};
use annals_sqlite::{SqliteOptions, SqliteStore};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

async fn open(file: &Path) -> Result<SqliteStore, StoreError> {
    let options = SqliteOptions {
        busy_timeout: Duration::from_secs(5),
        ..SqliteOptions::default()
    };
    SqliteStore::open(&file.to_string_lossy(), options).await
}

async fn refused(file: &Path) -> (StoreErrorKind, String) {
    let error = open(file).await.expect_err("the store must not open");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    (error.kind(), format!("{error}: {cause}"))
}

async fn plain(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file);
    options.connect().await.expect("a connection")
}

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

#[tokio::test]
async fn a_missing_file_is_created_and_found_again() {
    let directory = directory();
    let file = directory.path().join("a b?.db");
    let url = format!("sqlite://{}", file.to_string_lossy().replace('?', "%3F"));
    let store = SqliteStore::open(&url, SqliteOptions::default())
        .await
        .unwrap();
    assert_eq!(store.head().await.unwrap(), Position::START);
    store.close().await;
    assert!(file.exists());
    open(&file).await.unwrap().close().await;
}

#[tokio::test]
async fn a_missing_file_is_reported_when_it_is_not_to_be_created() {
    let directory = directory();
    let file = directory.path().join("store.db");
    let options = SqliteOptions {
        create: false,
        ..SqliteOptions::default()
    };
    let error = SqliteStore::open(&file.to_string_lossy(), options)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotFound);
    assert!(!file.exists());
}

#[tokio::test]
async fn a_directory_that_is_missing_is_named() {
    let directory = directory();
    let (kind, message) = refused(&directory.path().join("missing/store.db")).await;
    assert_eq!(kind, StoreErrorKind::NotFound);
    assert!(
        message.contains("missing does not exist; create it first"),
        "{message}"
    );
}

#[tokio::test]
async fn a_directory_is_no_store() {
    let directory = directory();
    let (kind, message) = refused(directory.path()).await;
    assert_eq!(kind, StoreErrorKind::NotFound);
    assert!(message.contains("it is a directory"), "{message}");
}

#[tokio::test]
async fn a_read_only_file_is_refused_and_left_alone() {
    let directory = directory();
    let file = directory.path().join("store.db");
    open(&file).await.unwrap().close().await;
    let mut permissions = std::fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&file, permissions).unwrap();
    let (kind, message) = refused(&file).await;
    assert_eq!(kind, StoreErrorKind::ReadOnly);
    assert!(message.contains("make it writable"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = directory();
    let file = directory.path().join("store.db");
    let text = "account,amount\n".repeat(1000);
    std::fs::write(&file, &text).unwrap();
    let (kind, message) = refused(&file).await;
    assert_eq!(kind, StoreErrorKind::Corrupt);
    assert!(
        message.contains("not an SQLite database, or is damaged"),
        "{message}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn another_application_s_file_is_refused_and_left_alone() {
    let directory = directory();
    let file = directory.path().join("store.db");
    std::fs::File::create(&file).unwrap();
    let mut conn = plain(&file).await;
    sqlx::query("CREATE TABLE events (party TEXT)")
        .execute(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
    let (kind, message) = refused(&file).await;
    assert_eq!(kind, StoreErrorKind::Invalid);
    assert!(
        message.contains("belongs to another application: it already has table events"),
        "{message}"
    );
    let mut conn = plain(&file).await;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = directory();
    let file = directory.path().join("store.db");
    open(&file).await.unwrap().close().await;
    let mut conn = plain(&file).await;
    sqlx::query("INSERT INTO annals_migrations VALUES (9999, 'from_the_future', '2100-01-01')")
        .execute(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
    let (kind, message) = refused(&file).await;
    assert_eq!(kind, StoreErrorKind::NewerSchema);
    assert!(
        message.contains("a newer release wrote it, so run that one"),
        "{message}"
    );
}

#[tokio::test]
async fn an_older_file_is_brought_up_to_date_and_says_from_where() {
    let directory = directory();
    let file = directory.path().join("store.db");
    std::fs::write(&file, "").unwrap();
    let mut conn = plain(&file).await;
    for statement in [
        include_str!("../sql/create_migrations.sql"),
        include_str!("../migrations/0001_log.sql"),
        "INSERT INTO annals_migrations VALUES (1, '0001_log', '2026-01-01T00:00:00Z')",
    ] {
        sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
    let store = open(&file).await.unwrap();
    let Migrated { from, to } = store.migrated().unwrap();
    assert_eq!(from, 1);
    assert!(to > from, "today's tables are newer");
    store.close().await;
    let again = open(&file).await.unwrap();
    assert_eq!(again.migrated(), Some(Migrated { from: to, to }));
    let new = open(&directory.path().join("new.db")).await.unwrap();
    assert_eq!(new.migrated(), Some(Migrated { from: 0, to }));
}

#[tokio::test]
async fn a_lock_that_is_never_released_ends_in_busy() {
    let directory = directory();
    let file = directory.path().join("store.db");
    open(&file).await.unwrap().close().await;
    let mut conn = plain(&file).await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut conn)
        .await
        .unwrap();
    let options = SqliteOptions {
        busy_timeout: Duration::from_millis(50),
        ..SqliteOptions::default()
    };
    let error = SqliteStore::open(&file.to_string_lossy(), options)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Busy);
    assert!(error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_openers_of_a_new_file_all_get_in() {
    let directory = directory();
    let file = directory.path().join("store.db");
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let file = file.clone();
            tokio::spawn(async move { open(&file).await.map(|_| ()) })
        })
        .collect();
    for opener in openers {
        opener.await.unwrap().unwrap();
    }
}
