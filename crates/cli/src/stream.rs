//! `stream`: list, show, tail.

mod list;
mod show;
mod tail;

use annals_core::{EventType, Position, StreamName};
use annals_runtime::App;
use clap::{Args, Subcommand};

use crate::{error::CliError, output::Output};

/// What an operator can do with streams.
#[derive(Clone, Debug, Subcommand)]
pub enum StreamCommand {
    /// List streams, the most recently written first.
    ///
    /// Streams are found by reading the log from its end backwards, so the first page comes at
    /// once, and a rarely written stream takes long to find. The last line says how to get the
    /// next page.
    List(ListArgs),
    /// Show a stream's events.
    Show(ShowArgs),
    /// Show the end of the log, and with --follow what comes from now on.
    ///
    /// With --json each event is a JSON object on a line of its own.
    Tail(TailArgs),
}

/// Which streams to list.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// At most so many streams
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Only streams whose last event stands before this position
    #[arg(long, value_name = "POSITION")]
    pub before: Option<u64>,
    /// Only streams of this category, such as `account`
    #[arg(long)]
    pub category: Option<annals_core::Category>,
}

/// Which events of which stream to show.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The stream, such as `account-7f3a`
    pub stream: StreamName,
    /// The newest events first
    #[arg(long)]
    pub backwards: bool,
    /// At most so many events; all of them otherwise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// Which part of the log to show.
#[derive(Args, Clone, Debug)]
pub struct TailArgs {
    /// Wait for more events, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Begin at this position instead of showing the last 20 events
    #[arg(long, value_name = "POSITION")]
    pub from: Option<u64>,
    /// Only events of this type, such as `account.deposited`
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<EventType>,
}

impl StreamCommand {
    pub(crate) async fn run(self, app: &App, output: Output) -> Result<(), CliError> {
        let store = &**app.store();
        match self {
            Self::List(args) => list::run(store, args, output).await,
            Self::Show(args) => show::run(store, args, output).await,
            Self::Tail(args) => tail::run(store, args, output).await,
        }
    }
}

/// The place right before `position`, from where a read begins with that event.
fn just_before(position: u64) -> Position {
    Position::new(position).minus(1)
}
