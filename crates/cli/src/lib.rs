//! Operator commands that an application embeds in its own binary.
//!
//! Projections are the application's code, so only its own binary can list, pause or rebuild
//! them. Flatten [`OperatorCommand`] and [`OperatorOptions`] into the application's clap types,
//! wire the application as for a server, and hand both to [`run`]:
//!
//! ```
//! use annals_cli::{OperatorCommand, OperatorOptions};
//! use clap::{Parser, Subcommand};
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     options: OperatorOptions,
//!     #[command(subcommand)]
//!     command: Command,
//! }
//!
//! #[derive(Subcommand)]
//! enum Command {
//!     /// Serves the application's own interface.
//!     Serve,
//!     #[command(flatten)]
//!     Operator(OperatorCommand),
//! }
//!
//! let cli = Cli::parse_from(["shop", "projection", "list", "--json"]);
//! assert!(cli.options.json && matches!(cli.command, Command::Operator(_)));
//! ```
//!
//! Every command works beside a running server. What it answers goes to standard output: a table
//! for people, or with `--json` one JSON document for scripts (`stream tail`: one per line).
//! Progress and errors go to standard error. Whoever closes the output early is no error.

mod check;
mod command;
mod error;
mod event_line;
mod meter;
mod options;
mod output;
mod projection;
mod saga;
mod shown;
mod signal;
mod store;
mod stream;
mod table;

pub use check::{LogCheck, Problem};
pub use command::{OperatorCommand, run, run_on};
pub use error::{CliError, advice, print_line, report};
pub use meter::Meter;
pub use options::{OperatorOptions, sqlite_path};
pub use output::Output;
pub use projection::{NameArgs, ProjectionCommand, RebuildArgs};
pub use saga::{AbandonArgs, SagaArgs, SagaCommand, SagaListArgs, SagaState};
pub use shown::{count, duration, per_second, things};
pub use signal::stop_requested;
pub use store::{ExportArgs, ImportArgs, StoreCommand};
pub use stream::{ListArgs, ShowArgs, StreamCommand, TailArgs};
pub use table::{Align, Table};
