//! Files that are no store, or none that this release can work on.

use std::{fs, path::Path};

use sqlx::{Connection as _, SqliteConnection};

use crate::bank::{Bank, COMMANDS, MIGRATE};

/// Every command refuses the store with all of these words, and leaves the file as it is.
fn all_refuse(bank: &Bank, words: &[&str]) {
    let before = fs::read(bank.store()).ok();
    for args in COMMANDS.iter().chain([&MIGRATE]) {
        let message = bank.fails(args, 1);
        for word in words {
            assert!(message.contains(word), "{word:?} is missing: {message}");
        }
        assert_eq!(fs::read(bank.store()).ok(), before, "{args:?}");
    }
}

#[test]
fn a_missing_file_is_not_made_by_those_who_only_look() {
    let bank = Bank::new();
    for args in &COMMANDS[3..] {
        let message = bank.fails(args, 1);
        for word in ["`bank.db`", "there is no such file", "`bank demo`"] {
            assert!(message.contains(word), "{word:?} is missing: {message}");
        }
        assert!(!bank.store().exists(), "{args:?}");
    }
}

#[test]
fn a_missing_directory_is_named() {
    let bank = Bank::new();
    for args in COMMANDS.iter().chain([&MIGRATE]) {
        let args = [args, &["--store", "sqlite://nowhere/bank.db"][..]].concat();
        let message = bank.fails(&args, 1);
        assert!(message.contains("nowhere"), "{message}");
        assert!(!bank.path().join("nowhere").exists(), "{args:?}");
    }
}

#[test]
fn a_directory_is_no_store() {
    let bank = Bank::new();
    fs::create_dir(bank.store()).unwrap();
    all_refuse(&bank, &["bank.db", "it is a directory"]);
}

#[test]
fn a_text_is_no_store() {
    let bank = Bank::new();
    bank.write("bank.db", "this is no database\n".repeat(1_000));
    all_refuse(&bank, &["bank.db", "not an SQLite database", "what to do"]);
}

#[test]
fn a_database_of_somebody_else_is_no_store() {
    let bank = Bank::new();
    run_sql(
        &bank.store(),
        "CREATE TABLE events (name TEXT); INSERT INTO events VALUES ('party')",
    );
    for args in COMMANDS.iter().chain([&MIGRATE]) {
        bank.fails(args, 1);
    }
}

#[test]
fn a_store_of_a_newer_release_is_left_alone() {
    let bank = Bank::with_store();
    run_sql(
        &bank.store(),
        "INSERT INTO annals_migrations SELECT 9000, 'from_the_future', MAX(applied_at) FROM annals_migrations",
    );
    all_refuse(&bank, &["bank.db", "newer release", "what to do"]);
}

#[test]
fn a_store_whose_end_is_missing_is_damaged() {
    let bank = Bank::with_store();
    let bytes = fs::read(bank.store()).unwrap();
    bank.write("bank.db", &bytes[..bytes.len() / 2]);
    all_refuse(&bank, &["bank.db", "damaged", "what to do"]);
}

#[test]
fn a_store_of_garbled_pages_is_damaged() {
    let bank = Bank::with_store();
    let mut bytes = fs::read(bank.store()).unwrap();
    bytes[100..].fill(0xa5);
    bank.write("bank.db", bytes);
    all_refuse(&bank, &["bank.db", "damaged", "what to do"]);
}

#[test]
fn a_store_at_no_sound_url_is_refused() {
    let bank = Bank::new();
    let long = format!("sqlite://{}.db", "x".repeat(300));
    for url in [
        "",
        "bank.db",
        "mysql://me:secret@host/db",
        "sqlite:",
        "sqlite://",
        "sqlite://bank.db?mode=ro",
        "sqlite::memory:",
        "sqlite://a%00b.db",
        "sqlite://%ff.db",
        "memory:x",
        "'; DROP TABLE events; --",
        long.as_str(),
    ] {
        for args in [MIGRATE, COMMANDS[0], COMMANDS[2], COMMANDS[3]] {
            let message = bank.fails(&[args, &["--store", url]].concat(), 1);
            assert!(message.contains("store"), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
    // No stray file was made.
    assert_eq!(fs::read_dir(bank.path()).unwrap().count(), 1);
}

fn run_sql(file: &Path, sql: &'static str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let url = format!("sqlite://{}?mode=rwc", file.display());
        let mut conn = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut conn)
            .await
            .unwrap();
        conn.close().await.unwrap();
    });
}
