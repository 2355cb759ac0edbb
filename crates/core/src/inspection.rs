//! What operators can ask of a store about its own tables.

use serde::Serialize;

use crate::order::Position;

/// How much one of a store's tables takes on disk, its indexes included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableSize {
    /// The table.
    pub table: String,
    /// So many bytes.
    pub bytes: u64,
}

/// A tag on which an event and the index of tags disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagMismatch {
    /// The event's position.
    pub position: Position,
    /// The tag, as it is stored.
    pub tag: String,
    /// Whether the event has it and the index does not; otherwise it is the other way round.
    pub missing: bool,
}
