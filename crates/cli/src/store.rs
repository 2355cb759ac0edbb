//! `store`: verify, stats, migrate.

mod log;
mod migrate;
mod stats;
mod verify;

use annals_runtime::App;
use clap::Subcommand;

use crate::{check::LogCheck, error::CliError, options::OperatorOptions, output::Output};

/// What an operator can do with the store as a whole.
#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand {
    /// Read the whole log and check that it is sound.
    ///
    /// Positions and versions are without holes, every event can be read, and what the
    /// application says must always hold does hold. Keeps the version of each stream in memory.
    /// Exits with 1 when something is wrong.
    Verify,
    /// Count what the store holds.
    Stats,
    /// Bring the store's tables up to date.
    ///
    /// Every command does that when it opens a store; this one does nothing else. It makes a new
    /// store where there is none.
    Migrate,
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
            Self::Migrate => migrate::run(&**app.store(), options, output).await,
        }
    }
}
