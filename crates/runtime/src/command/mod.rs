//! Command execution: load, decide, append, and again on a conflict.
//!
//! | file | subject |
//! |---|---|
//! | `execute` | one command with its options, as the caller writes it |
//! | `engine` | the loop: load, decide, append, retry |
//! | `settle` | finding out what became of an append |
//! | `load` | an aggregate's state from its stream |
//! | `cache` | the states in memory, and the queue before each stream |
//! | `snapshot` | states kept in the store |
//! | `error` | how it fails |

mod cache;
mod engine;
mod error;
mod execute;
mod load;
mod settle;
mod snapshot;

pub(crate) use engine::Commands;
pub use engine::{CommandOptions, Executed};
pub use error::{ExecuteError, LoadError};
pub use execute::Execute;
pub use load::Loaded;
pub(crate) use snapshot::SnapshotPolicies;
pub use snapshot::SnapshotPolicyError;
