//! The commands, and running one.

use annals_runtime::{App, Builder};
use clap::Subcommand;

use crate::{
    check::LogCheck, error::CliError, options::OperatorOptions, output::Output,
    projection::ProjectionCommand, saga::SagaCommand, store::StoreCommand, stream::StreamCommand,
};

/// What an operator can do with any application.
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorCommand {
    /// List, rebuild, pause, resume or retry projections.
    #[command(subcommand)]
    Projection(ProjectionCommand),
    /// List, look at, retry or abandon sagas.
    #[command(subcommand)]
    Saga(SagaCommand),
    /// Look at streams and at the log.
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Verify, measure, migrate or move the store.
    #[command(subcommand)]
    Store(StoreCommand),
}

impl OperatorCommand {
    /// Whether the command makes sense on a store that does not exist yet.
    ///
    /// An application opens the store for the others by `Annals::open_existing`, rather than answer
    /// from one that a misspelt path or URL has just brought into being.
    #[must_use]
    pub fn may_create_store(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreCommand::Migrate | StoreCommand::Import(_))
        )
    }
}

/// Runs a command beside whatever other processes work on the store.
///
/// The projections of `builder` are known to the command, but it leaves following the log to
/// the server. `checks` are what `store verify` checks besides the log itself.
///
/// # Errors
/// See [`CliError`]; [`report`](crate::report) prints it, and [`CliError::exit_code`] is what
/// the process should end with.
pub async fn run(
    command: OperatorCommand,
    builder: Builder,
    options: &OperatorOptions,
    checks: Vec<Box<dyn LogCheck>>,
) -> Result<(), CliError> {
    let app = builder.connect().await?;
    let done = run_on(&app, command, options, checks).await;
    app.shutdown().await;
    done
}

/// As [`run`], within an application that is running already.
///
/// # Errors
/// See [`run`].
pub async fn run_on(
    app: &App,
    command: OperatorCommand,
    options: &OperatorOptions,
    checks: Vec<Box<dyn LogCheck>>,
) -> Result<(), CliError> {
    let output = Output::new(options.json);
    match command {
        OperatorCommand::Projection(command) => command.run(app, output).await,
        OperatorCommand::Saga(command) => command.run(app, output).await,
        OperatorCommand::Stream(command) => command.run(app, output).await,
        OperatorCommand::Store(command) => command.run(app, options, output, checks).await,
    }
}
