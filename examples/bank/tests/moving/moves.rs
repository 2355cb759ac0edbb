//! There and back again.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use annals_testing::postgres::TestSchema;

use crate::bank::{Bank, fill_long, stderr};

/// Moves the log from one store to another, and checks that both ends are the same.
fn assert_moves(bank: &Bank, from: &str, to: &str) {
    let exported = bank.json(from, &["store", "export", "log.jsonl", "--force"]);
    let imported = bank.json(to, &["store", "import", "log.jsonl"]);
    assert_eq!(imported["imported_events"], exported["events"]);
    let ends = [from, to].map(|store| bank.json(store, &["store", "verify"]));
    for verified in &ends {
        assert_eq!(verified["sha256"], exported["sha256"], "{verified}");
        assert_eq!(verified["problem_count"], 0, "{verified}");
    }
    assert_eq!(bank.exported(from), bank.exported(to));
}

#[test]
fn a_log_moves_to_another_store_as_it_is() {
    let bank = Bank::new();
    let (from, to) = (bank.sqlite("from.db"), bank.sqlite("to.db"));
    bank.fill(&from);
    assert_moves(&bank, &from, &to);
}

#[tokio::test]
async fn a_log_moves_to_postgresql_and_back_as_it_is() {
    let schema = TestSchema::create().await;
    moves_and_comes_back(&schema.url());
}

#[tokio::test]
async fn a_log_moves_through_pgbouncer_and_back_as_it_is() {
    let schema = TestSchema::create().await;
    moves_and_comes_back(&schema.url_through_pgbouncer());
}

#[tokio::test]
async fn a_log_moves_by_one_connection_and_back_as_it_is() {
    let schema = TestSchema::create().await;
    moves_and_comes_back(&format!("{}&max_connections=1", schema.url()));
}

fn moves_and_comes_back(to: &str) {
    let bank = Bank::new();
    let (from, back) = (bank.sqlite("from.db"), bank.sqlite("back.db"));
    bank.fill(&from);
    assert_moves(&bank, &from, to);
    let again = bank.json(to, &["import", "rows.csv"]);
    assert_eq!(again["applied"], 0, "{again}");
    assert_moves(&bank, to, &back);
    assert_eq!(bank.exported(&from), bank.exported(&back));
    let again = bank.json(&back, &["import", "rows.csv"]);
    assert_eq!(again["applied"], 0, "{again}");
}

#[test]
fn commands_are_known_after_a_move() {
    let bank = Bank::new();
    let (from, to) = (bank.sqlite("from.db"), bank.sqlite("to.db"));
    bank.fill(&from);
    assert_moves(&bank, &from, &to);
    let head = bank.json(&to, &["store", "stats"])["head"].clone();
    let again = bank.json(&to, &["import", "rows.csv"]);
    assert_eq!(again["applied"], 0, "{again}");
    assert_eq!(bank.json(&to, &["store", "stats"])["head"], head);
}

#[tokio::test]
async fn payloads_that_are_no_text_move_as_well() {
    let bank = Bank::new();
    let (from, to) = (bank.sqlite("from.db"), bank.sqlite("to.db"));
    fill_long(&from, 3, 10).await;
    bank.json(&from, &["store", "export", "log.jsonl"]);
    bank.json(&to, &["store", "import", "log.jsonl"]);
    let log = bank.exported(&from);
    assert_eq!(log, bank.exported(&to));
    assert!(log.contains("\"payload_base64\":\"Iv9c\""), "{log}");
    assert!(log.contains(r#""payload":"\"\n\\""#), "{log}");
}

#[tokio::test]
async fn a_log_that_takes_a_while_to_move_comes_back_from_postgresql_as_it_was() {
    let bank = Bank::new();
    let schema = TestSchema::create().await;
    let (from, to, back) = (bank.sqlite("from.db"), schema.url(), bank.sqlite("back.db"));
    fill_long(&from, 200, 10).await;
    assert_moves(&bank, &from, &to);
    assert_moves(&bank, &to, &back);
    assert_eq!(bank.exported(&from), bank.exported(&back));
}

#[test]
fn a_store_without_events_moves() {
    let bank = Bank::new();
    let (from, to) = (bank.sqlite("from.db"), bank.sqlite("to.db"));
    bank.json(&from, &["store", "migrate"]);
    assert_moves(&bank, &from, &to);
}

#[test]
fn a_log_goes_through_a_pipe() {
    let bank = Bank::new();
    let (from, to) = (bank.sqlite("from.db"), bank.sqlite("to.db"));
    bank.fill(&from);
    let log = bank.exported(&from);
    let mut import: Command = bank.command(&to, &["store", "import", "-"]);
    let mut import = import.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = import.stdin.take().unwrap();
    stdin.write_all(log.as_bytes()).unwrap();
    drop(stdin);
    let output = import.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(bank.exported(&to), log);
}

#[test]
fn an_import_that_is_done_changes_nothing_when_repeated() {
    let bank = Bank::new();
    let (from, to) = (bank.sqlite("from.db"), bank.sqlite("to.db"));
    bank.fill(&from);
    assert_moves(&bank, &from, &to);
    let again = bank.json(&to, &["store", "import", "log.jsonl"]);
    assert_eq!(again["imported_events"], 0);
    assert_eq!(again["imported_appends"], 0);
}

#[test]
fn only_its_owner_reads_an_exported_log() {
    use std::os::unix::fs::PermissionsExt as _;

    let bank = Bank::new();
    let from = bank.sqlite("from.db");
    bank.fill(&from);
    bank.json(&from, &["store", "export", "log.jsonl"]);
    let mode = fs::metadata(bank.path("log.jsonl")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}
