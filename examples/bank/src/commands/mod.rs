//! The bank at the command line.

pub mod checks;
mod deadline;
mod demo;
mod error;
mod import;
mod serve;
mod wiring;

use annals::cli::{self, OperatorCommand, OperatorOptions, sqlite_path};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use demo::DEMO_STORE;
pub use error::BankError;
pub use import::{Malformed, RowError};

/// The store that every command but `demo` works on unless told otherwise.
const DEFAULT_STORE: &str = "sqlite://bank.db";

const EXAMPLES: &str = "\
Examples:
  bank demo                                    the whole story, in under a minute
  bank serve --store sqlite://bank.db          the HTTP API on 127.0.0.1:8080
  bank import transactions.csv                 run the commands of a file
  bank projection list                         is the read model up to date?
  bank projection rebuild user_balance --verify
  bank stream show account-alice               what happened to an account
  bank stream tail --follow --type account.withdrawn
  bank saga list --state stuck                 does a transfer need an operator?
  bank saga show rent-2026-03                  what happened to a transfer, and when
  bank store verify                            is the log sound, and no money lost?

Every command works while a server runs on the same store. Exit codes: 0 done, 1 failed,
2 wrong usage, 130 interrupted. Set RUST_LOG=info (or debug) to see what goes on inside.";

/// A bank on Annals: accounts, deposits, withdrawals, transfers and balances.
///
/// All that happens is appended to a log of events; the table `user_balance` is folded from it
/// and can be rebuilt at any time.
#[derive(Debug, Parser)]
#[command(name = "bank", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    options: OperatorOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell the whole story on a real SQLite file, in under a minute.
    ///
    /// Opens accounts, makes deposits, withdrawals and transfers, some of which come back, reads
    /// balances from the read model, verifies the log, and rebuilds the read model, all on `demo-bank.db` in the current
    /// directory unless --store names another place. Run again, it adds more accounts to the
    /// same file. It is for people: --json changes nothing.
    Demo(demo::DemoArgs),
    /// Serve the HTTP API, keep the read models up to date, and carry transfers out.
    Serve(serve::ServeArgs),
    /// Run the commands of a transaction file.
    Import(import::ImportArgs),
    #[command(flatten)]
    Operator(OperatorCommand),
}

impl Cli {
    /// Reads the command line; prints help or what is wrong with it, and ends the process, when
    /// it is not a command.
    pub fn from_command_line() -> Self {
        let command = Self::command().mut_arg("store", |store| {
            store.help(format!(
                "Where the events are: sqlite://PATH, postgres://... or memory: [default: {DEFAULT_STORE}; \
                 for the demo {DEMO_STORE}]"
            ))
        });
        let parsed = Self::from_arg_matches(&command.get_matches());
        parsed.unwrap_or_else(|error| error.exit())
    }

    /// Runs the command.
    ///
    /// # Errors
    /// When it fails or is interrupted.
    pub async fn run(self) -> Result<(), BankError> {
        let mut options = self.options;
        match self.command {
            Command::Demo(args) => demo::run(args, options).await,
            Command::Serve(args) => serve::run(args, options.store_or(DEFAULT_STORE)).await,
            Command::Import(args) => {
                let url = options.store_or(DEFAULT_STORE).to_owned();
                import::run(args, &url, options.json).await
            }
            Command::Operator(command) => operate(command, options).await,
        }
    }
}

async fn operate(command: OperatorCommand, mut options: OperatorOptions) -> Result<(), BankError> {
    let url = options.store_or(DEFAULT_STORE);
    // A misspelt path should not answer from an empty store that it has just made.
    if let Some(path) = sqlite_path(url)
        && !command.may_create_store()
        && !path.exists()
    {
        return Err(BankError::NoStore { path });
    }
    let builder = match command.may_create_store() {
        true => wiring::bank(url).await?,
        false => wiring::existing_bank(url).await?,
    };
    cli::run(command, builder, &options, checks::all()).await?;
    Ok(())
}
