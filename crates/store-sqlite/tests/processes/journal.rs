//! What the processes write down: one line of JSON for each answer of the store, in files that
//! outlive a kill.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// An append that expected a version and got it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Won {
    pub(crate) process: usize,
    pub(crate) stream: String,
    pub(crate) version: u64,
    pub(crate) id: Uuid,
}

/// An append that expected a version and was told another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Conflicted {
    pub(crate) expected: u64,
    pub(crate) actual: u64,
}

/// An append that was acknowledged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Acked {
    pub(crate) writer: u64,
    pub(crate) index: u64,
    pub(crate) position: u64,
    pub(crate) versions: Vec<u64>,
    pub(crate) repeated: bool,
}

/// What became of a conditional append.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyTaken {
    pub(crate) tag: String,
    pub(crate) id: Uuid,
    pub(crate) won: bool,
    /// Where the winner stands.
    pub(crate) position: u64,
}

/// An event that a reader has seen, or that is in the log: its place and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Seen(pub(crate) u64, pub(crate) Uuid);

/// One process's journal of one kind.
pub(crate) struct Journal(File);

impl Journal {
    pub(crate) fn open(directory: &Path, name: &str, process: usize) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path(directory, name, process));
        Self(file.expect("a journal opens"))
    }

    /// Adds lines with a single write, which a kill does not cut in two.
    pub(crate) fn add<T: Serialize>(&self, entries: &[T]) {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry).expect("an entry is JSON");
            lines.push(b'\n');
        }
        (&self.0)
            .write_all(&lines)
            .expect("a journal can be written");
    }
}

/// What a process has journalled so far; nothing when it never came to it.
pub(crate) fn read<T: DeserializeOwned>(directory: &Path, name: &str, process: usize) -> Vec<T> {
    let Ok(lines) = std::fs::read_to_string(path(directory, name, process)) else {
        return Vec::new();
    };
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry of this kind"))
        .collect()
}

/// How many entries there are so far.
pub(crate) fn count(directory: &Path, name: &str, process: usize) -> usize {
    let bytes = std::fs::read(path(directory, name, process)).unwrap_or_default();
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn path(directory: &Path, name: &str, process: usize) -> PathBuf {
    directory.join(format!("{name}-{process}.journal"))
}
