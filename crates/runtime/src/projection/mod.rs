//! The projection engine: follows the log, folds events, commits rows and checkpoints together.
//!
//! | part | does |
//! |---|---|
//! | [`Projections`] | runs an application's projections in this process |
//! | [`ReadModelFactory`] | makes a [`Projection`](annals_core::Projection) run on any store |
//! | [`Projections::rebuild`] | fills a new table beside the live one, and swaps it in |
//!
//! What must hold, however many processes run a projection and whenever they are killed:
//!
//! - a projection is run by the process that holds its lease; when that one ends or hangs another
//!   takes over;
//! - rows and checkpoint are committed together, fenced by the checkpoint they continue from and by
//!   the epoch, which rises with each takeover, so each event counts once;
//! - a projection that can't go on says so in its stored record, and takes up its work again by
//!   itself once that record says it is running;
//! - all projections of a process share one reader of the log, and one decode per event set.

mod backoff;
mod batch;
mod caught_up;
mod engine;
mod inline;
mod lease;
mod options;
mod progress;
mod read_model;
mod rebuild;
mod replay;
mod rows;
mod runner;
mod shared_log;
mod status;
mod tenure;

pub(crate) use backoff::Backoff;
pub use caught_up::CaughtUpError;
pub use engine::Projections;
pub use options::{ProjectionOptions, RebuildOptions};
pub use progress::{Progress, RebuildPhase, RebuildSummary};
pub use read_model::ReadModelFactory;
pub(crate) use rows::panic_message;
pub(crate) use runner::with_causes;
pub(crate) use shared_log::{Following, SharedLog};
pub use status::ProjectionHealth;
