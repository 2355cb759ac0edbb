//! `store`: verify, stats, migrate, export, import.

mod export;
mod import;
mod log;
mod log_file;
mod migrate;
mod stats;
mod verify;

use annals_runtime::App;
use clap::Subcommand;

pub use export::ExportArgs;
pub use import::ImportArgs;

use crate::{check::LogCheck, error::CliError, options::OperatorOptions, output::Output};

/// What an operator can do with the store as a whole.
#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand {
    /// Read the whole log and check that it is sound.
    ///
    /// Positions and versions are without holes, every event can be read, no id comes twice,
    /// checkpoints stand in the log, events can be found by their tags, and what the application
    /// says must always hold does hold. The digest is the same for the same log in every store.
    /// Keeps the version of each stream and the id of each event in memory. Exits with 1 when
    /// something is wrong.
    Verify,
    /// Count what the store holds.
    Stats,
    /// Bring the store's tables up to date.
    ///
    /// Every command does that when it opens a store; this one says from which migration to
    /// which, and does nothing else. It makes a new store where there is none.
    Migrate,
    /// Write the log to a file, to move it to another store or to keep it.
    ///
    /// Writes every event up to the head at the start, and what repeated appends are answered
    /// with, one JSON document a line, with a digest at the end. The file gets its name when it
    /// is whole. Works while the server runs.
    Export(ExportArgs),
    /// Take in a log that was exported.
    ///
    /// Positions, ids, times and metadata are kept. The store must be without events, or have
    /// the beginning of this file from an import that was interrupted, which is then gone on
    /// with. A file is checked to its end before anything comes in; standard input can be checked
    /// only while it comes. Let no server append to the store until the import is done.
    Import(ImportArgs),
}

impl StoreCommand {
    pub(crate) async fn run(
        self,
        app: &App,
        options: &OperatorOptions,
        output: Output,
        checks: Vec<Box<dyn LogCheck>>,
    ) -> Result<(), CliError> {
        match self {
            Self::Verify => verify::run(app, checks, output).await,
            Self::Stats => stats::run(&**app.store(), options, output).await,
            Self::Export(args) => export::run(&**app.store(), &args, output).await,
            Self::Import(args) => import::run(&**app.store(), &args, output).await,
            Self::Migrate => migrate::run(&**app.store(), output).await,
        }
    }
}
