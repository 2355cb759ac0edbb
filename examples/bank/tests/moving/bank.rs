//! The commands, and logs to move.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use annals::{
    Annals, Append, AppendId, CausationId, CorrelationId, EventId, EventType, Expected, Metadata,
    NewEvent, Store, StreamName,
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

const ROWS: &str = "\
time,type,account,owner,counterparty,amount
2026-03-01T09:00:00Z,open,a,alice,,
2026-03-01T09:01:00Z,deposit,a,,,1000
2026-03-01T09:02:00Z,withdraw,a,,,5000
2026-03-01T09:03:00Z,deposit,a,,,9000
2026-03-01T09:04:00Z,open,b,bob,,
2026-03-01T09:05:00Z,deposit,b,,,70
2026-03-01T09:06:00Z,withdraw,a,,,10
";

/// A directory to run the bank in.
pub(crate) struct Bank {
    directory: TempDir,
}

impl Bank {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The URL of a SQLite store in the directory.
    pub(crate) fn sqlite(&self, name: &str) -> String {
        format!("sqlite://{}", self.path(name).display())
    }

    pub(crate) fn command(&self, store: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
        command
            .args(args)
            .args(["--store", store])
            .current_dir(self.directory.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, store: &str, args: &[&str]) -> Output {
        self.command(store, args).output().unwrap()
    }

    /// Runs a command that succeeds, and answers its JSON.
    pub(crate) fn json(&self, store: &str, args: &[&str]) -> Value {
        let output = self.run(store, &[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that fails, and answers its standard error.
    pub(crate) fn fails(&self, store: &str, args: &[&str]) -> String {
        let output = self.run(store, args);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        told
    }

    /// Carries out a few commands; one of them is rejected.
    pub(crate) fn fill(&self, store: &str) {
        fs::write(self.path("rows.csv"), ROWS).unwrap();
        let answer = self.json(store, &["import", "rows.csv"]);
        assert_eq!(answer["applied"], 6, "{answer}");
    }

    /// The log of a store as `store export` writes it.
    pub(crate) fn exported(&self, store: &str) -> String {
        let output = self.run(store, &["store", "export", "-"]);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) async fn open(url: &str) -> Arc<dyn Store> {
    let app = Annals::open(url).await.unwrap().connect().await.unwrap();
    Arc::clone(app.store())
}

/// An append of `count` events to a stream, as other applications may write them too.
pub(crate) fn notes(stream: &str, count: usize) -> Append {
    let note = |number| {
        let id = Uuid::new_v4();
        NewEvent {
            id: EventId::new(id),
            event_type: EventType::new("note.taken").unwrap(),
            schema_version: 1,
            // Every other payload is no text.
            payload: vec![b'"', if number % 2 == 0 { 0xff } else { b'\n' }, b'\\'],
            tags: Vec::new(),
            metadata: Metadata::caused_by(CausationId::new(id), CorrelationId::new(id)),
        }
    };
    let stream = StreamName::parse(stream).unwrap();
    let at = DateTime::<Utc>::from_timestamp_micros(1_704_067_200_123_456).unwrap();
    let append = Append::to(stream, Expected::Any, (0..count).map(note).collect(), at);
    append.once(AppendId::new(Uuid::new_v4()), [7; 16])
}

/// Makes a store whose log takes a while to move.
pub(crate) async fn fill_long(url: &str, appends: usize, events: usize) {
    let store = open(url).await;
    for number in 0..appends {
        let append = notes(&format!("note-{}", number % 7), events);
        store.append(append).await.unwrap();
    }
    store.close().await;
}
