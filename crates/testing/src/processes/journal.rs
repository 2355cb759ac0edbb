//! What the processes write down: one line of JSON for each answer of the store, in files that
//! outlive a kill.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use annals_core::{Appended, StoredEvent};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// An append that was acknowledged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acked {
    /// Who appended.
    pub writer: u64,
    /// Which of the writer's appends.
    pub index: u64,
    /// Where its last event stands.
    pub position: u64,
    /// The version that each stream reached.
    pub versions: Vec<u64>,
    /// Whether it had been committed before.
    pub repeated: bool,
}

impl Acked {
    /// What the store has answered to an append.
    #[must_use]
    pub fn new(writer: u64, index: u64, appended: &Appended) -> Self {
        let versions = appended.versions.iter();
        Self {
            writer,
            index,
            position: appended.position.get(),
            versions: versions.map(|version| version.get()).collect(),
            repeated: appended.repeated,
        }
    }
}

/// An event that a reader has seen, or that is in the log: its place and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen(pub u64, pub Uuid);

impl From<&StoredEvent> for Seen {
    fn from(event: &StoredEvent) -> Self {
        Self(event.position.get(), event.id.uuid())
    }
}

/// One process's journal of one kind.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens a journal, to go on where it ends.
    ///
    /// # Panics
    /// When it can't be opened.
    #[must_use]
    pub fn open(directory: &Path, name: &str, process: usize) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path(directory, name, process));
        Self(file.expect("a journal opens"))
    }

    /// Adds lines with a single write, which a kill does not cut in two.
    ///
    /// # Panics
    /// When they can't be written.
    pub fn add<T: Serialize>(&self, entries: &[T]) {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry).expect("an entry is JSON");
            lines.push(b'\n');
        }
        let written = (&self.0).write_all(&lines);
        written.expect("a journal can be written");
    }
}

/// What a process has journalled so far; nothing when it never came to it.
///
/// # Panics
/// When it is another kind of journal.
#[must_use]
pub fn read<T: DeserializeOwned>(directory: &Path, name: &str, process: usize) -> Vec<T> {
    let Ok(lines) = std::fs::read_to_string(path(directory, name, process)) else {
        return Vec::new();
    };
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry of this kind"))
        .collect()
}

/// How many entries there are so far.
#[must_use]
pub fn count(directory: &Path, name: &str, process: usize) -> usize {
    let bytes = std::fs::read(path(directory, name, process)).unwrap_or_default();
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn path(directory: &Path, name: &str, process: usize) -> PathBuf {
    directory.join(format!("{name}-{process}.journal"))
}
