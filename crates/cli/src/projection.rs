//! `projection`: list, rebuild, pause, resume, retry.

mod control;
mod list;
mod rebuild;

use annals_core::{ProjectionRecord, Store};
use annals_runtime::App;
use clap::{Args, Subcommand};

use crate::{error::CliError, output::Output};

/// What an operator can do with projections.
#[derive(Clone, Debug, Subcommand)]
pub enum ProjectionCommand {
    /// List the projections and how they are doing.
    ///
    /// A projection that should be running, but has made no progress for ten seconds although
    /// there are events to fold, is shown as `stalled`: probably no server is running.
    List,
    /// Build a projection's table anew from the log, and swap it in.
    ///
    /// Reads and live updates go on meanwhile. Ctrl-C keeps what has been built so far; the same
    /// command goes on from there. Exits with 0 only when the new table is in place.
    Rebuild(RebuildArgs),
    /// Stop a projection, wherever it runs, until it is resumed.
    Pause(NameArgs),
    /// Let a paused projection go on.
    Resume(NameArgs),
    /// Try a failed projection, or its parked events, again.
    Retry(NameArgs),
}

/// Which projection to rebuild, and how.
#[derive(Args, Clone, Debug)]
pub struct RebuildArgs {
    /// The projection, as `projection list` names it.
    pub name: String,
    /// Compare the new table with the live one before swapping, and report rows that differ.
    #[arg(long)]
    pub verify: bool,
    /// Begin anew even where an interrupted rebuild could be resumed.
    #[arg(long)]
    pub restart: bool,
    /// How long the next rebuild has to wait should this one be killed, instead of 6 seconds.
    ///
    /// It has to be longer than others may keep the store locked.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub lease: Option<u64>,
}

/// Which projection.
#[derive(Args, Clone, Debug)]
pub struct NameArgs {
    /// The projection, as `projection list` names it.
    pub name: String,
}

impl ProjectionCommand {
    pub(crate) async fn run(self, app: &App, output: Output) -> Result<(), CliError> {
        match self {
            Self::List => list::run(app, output).await,
            Self::Rebuild(args) => rebuild::run(app, args, output).await,
            Self::Pause(args) => control::pause(app, &args.name, output).await,
            Self::Resume(args) => control::resume(app, &args.name, output).await,
            Self::Retry(args) => control::retry(app, &args.name, output).await,
        }
    }
}

/// The record of a projection, or an error that names those there are.
async fn find(store: &dyn Store, name: &str) -> Result<ProjectionRecord, CliError> {
    match store.projection(name).await? {
        Some(record) => Ok(record),
        None => Err(unknown(store, name).await),
    }
}

async fn unknown(store: &dyn Store, name: &str) -> CliError {
    match store.projections().await {
        Ok(records) => CliError::NoSuchProjection {
            name: name.to_owned(),
            known: records.into_iter().map(|record| record.name).collect(),
        },
        Err(error) => error.into(),
    }
}
