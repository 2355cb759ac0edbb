//! Kills and Ctrl-C on the way, and exports under load.

use std::{
    fs,
    process::{Child, Command},
};

use annals::{LogRead, Position};

use crate::bank::{Bank, fill_long, notes, open, stderr};

const APPENDS: usize = 200;
const EVENTS: usize = 60;

/// Runs each of these scenarios with a file, and with a schema of a server: directly, behind PgBouncer,
/// and by one connection.
macro_rules! on_each_store {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(None).await;
            })+
        }
        mod postgres {
            use annals_testing::postgres::TestSchema;

            $(#[tokio::test]
            async fn $scenario() {
                let schema = TestSchema::create().await;
                super::$scenario(Some(&schema.url())).await;
            })+
        }
        mod pgbouncer {
            use annals_testing::postgres::TestSchema;

            $(#[tokio::test]
            async fn $scenario() {
                let schema = TestSchema::create().await;
                super::$scenario(Some(&schema.url_through_pgbouncer())).await;
            })+
        }
        mod single_connection {
            use annals_testing::postgres::TestSchema;

            $(#[tokio::test]
            async fn $scenario() {
                let schema = TestSchema::create().await;
                let url = format!("{}&max_connections=1", schema.url());
                super::$scenario(Some(&url)).await;
            })+
        }
    };
}

on_each_store!(
    a_killed_import_goes_on_where_it_was,
    an_interrupted_import_says_how_to_go_on,
    an_import_that_somebody_appended_to_is_refused,
    a_killed_export_leaves_no_file_that_looks_whole,
    an_export_under_load_is_the_log_up_to_a_moment,
);

/// The store at a URL, or else in a file of this name.
fn store_in(url: Option<&str>, bank: &Bank, file: &str) -> String {
    url.map_or_else(|| bank.sqlite(file), str::to_owned)
}

/// A long log as a file, and a store to import it into.
async fn exported(url: Option<&str>) -> (Bank, String, String) {
    let bank = Bank::new();
    let from = bank.sqlite("from.db");
    fill_long(&from, APPENDS, EVENTS).await;
    bank.json(&from, &["store", "export", "log.jsonl"]);
    let log = fs::read_to_string(bank.path("log.jsonl")).unwrap();
    let to = store_in(url, &bank, "to.db");
    bank.json(&to, &["store", "migrate"]);
    (bank, to, log)
}

/// Starts an import, and waits until some more of the log has come in.
async fn start_and_wait(bank: &Bank, to: &str) -> (Child, Position) {
    let store = open(to).await;
    let before = store.head().await.unwrap();
    let import = bank.command(to, &["store", "import", "log.jsonl"]).spawn();
    let reached = store.wait_beyond(before).await.unwrap();
    store.close().await;
    (import.unwrap(), reached)
}

async fn a_killed_import_goes_on_where_it_was(url: Option<&str>) {
    let (bank, to, log) = exported(url).await;
    let end = Position::new((APPENDS * EVENTS) as u64);
    for _ in 0..3 {
        let (mut import, reached) = start_and_wait(&bank, &to).await;
        import.kill().unwrap();
        import.wait().unwrap();
        assert!(reached < end, "it was killed on its way");
    }
    let rest = bank.json(&to, &["store", "import", "log.jsonl"]);
    assert!(rest["imported_events"].as_u64() < Some(end.get()), "{rest}");
    assert_eq!(bank.exported(&to), log);
}

async fn an_interrupted_import_says_how_to_go_on(url: Option<&str>) {
    let (bank, to, log) = exported(url).await;
    let (import, _) = start_and_wait(&bank, &to).await;
    let pid = import.id().to_string();
    let mut kill = Command::new("sh");
    let sent = kill.args(["-c", &format!("kill -INT {pid}")]).status();
    assert!(sent.unwrap().success());
    let output = import.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("run the same command again"), "{told}");
    bank.json(&to, &["store", "import", "log.jsonl"]);
    assert_eq!(bank.exported(&to), log);
}

async fn an_import_that_somebody_appended_to_is_refused(url: Option<&str>) {
    let (bank, to, _) = exported(url).await;
    let (mut import, _) = start_and_wait(&bank, &to).await;
    import.kill().unwrap();
    import.wait().unwrap();
    let store = open(&to).await;
    let head = store.append(notes("note-1", 1)).await.unwrap().position;
    let told = bank.fails(&to, &["store", "import", "log.jsonl"]);
    let says = format!("another event at position {head}");
    assert!(told.contains(&says), "{told}");
    assert_eq!(store.head().await.unwrap(), head);
}

async fn a_killed_export_leaves_no_file_that_looks_whole(url: Option<&str>) {
    let bank = Bank::new();
    let from = store_in(url, &bank, "from.db");
    fill_long(&from, APPENDS, EVENTS).await;
    for _ in 0..3 {
        let mut export = bank.command(&from, &["store", "export", "log.jsonl"]);
        let mut export = export.spawn().unwrap();
        let unfinished = || {
            let entries = fs::read_dir(bank.path(".")).unwrap();
            let mut names = entries.map(|entry| entry.unwrap().file_name());
            names.any(|name| name.to_string_lossy().starts_with(".annals-export-"))
        };
        while !unfinished() {
            tokio::task::yield_now().await;
        }
        export.kill().unwrap();
        export.wait().unwrap();
        assert!(!bank.path("log.jsonl").exists());
    }
    bank.json(&from, &["store", "export", "log.jsonl"]);
    let to = bank.sqlite("to.db");
    bank.json(&to, &["store", "import", "log.jsonl"]);
    assert_eq!(bank.exported(&to), bank.exported(&from));
}

async fn an_export_under_load_is_the_log_up_to_a_moment(url: Option<&str>) {
    let bank = Bank::new();
    let (from, to) = (store_in(url, &bank, "from.db"), bank.sqlite("to.db"));
    fill_long(&from, 20, EVENTS).await;
    let store = open(&from).await;
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                store.append(notes("note-3", 2)).await.unwrap();
            }
        })
    };
    let at_start = store.head().await.unwrap();
    let mut export = bank.command(&from, &["store", "export", "log.jsonl"]);
    let mut export = export.spawn().unwrap();
    let status = tokio::task::spawn_blocking(move || export.wait().unwrap());
    assert!(status.await.unwrap().success());
    writer.abort();
    bank.json(&to, &["store", "import", "log.jsonl"]);
    let there = open(&to).await;
    let head = there.head().await.unwrap();
    assert!(head >= at_start && head < store.head().await.unwrap());
    let log = |position: Position| LogRead::after(position, 10_000);
    let mut at = Position::START;
    while at < head {
        let moved = there.read_log(log(at)).await.unwrap().events;
        let mut original = store.read_log(log(at)).await.unwrap().events;
        original.truncate(moved.len());
        assert_eq!(moved, original);
        at = moved.last().unwrap().position;
    }
}
