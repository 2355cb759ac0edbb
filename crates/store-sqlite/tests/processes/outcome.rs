//! What the processes write down of the races that they ran.

use serde::{Deserialize, Serialize};
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

/// What became of a conditional append.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyTaken {
    pub(crate) tag: String,
    pub(crate) id: Uuid,
    pub(crate) won: bool,
    /// Where the winner stands.
    pub(crate) position: u64,
}
