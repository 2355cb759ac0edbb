//! How the bank's commands fail.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use annals::{
    CaughtUpError, ExecuteError, InvalidId, InvalidName, LoadError, OpenError, ReadError,
    StartError, StoreError, WaitError,
    cli::{self, CliError},
};

use super::import::{Malformed, RowError};
use crate::{
    domain::{AccountError, MoneyError},
    opening::OpeningError,
    transferring::TransferringError,
};

/// Why a command of the bank failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BankError {
    /// The URL is of no store.
    #[error("failed to open the store")]
    Open(#[source] OpenError),
    /// There is no store to look at.
    #[error(
        "failed to open the store `{}`: there is no such file; `bank demo`, `bank serve` or \
         `bank import` makes one",
        path.display()
    )]
    NoStore {
        /// Where it should be.
        path: PathBuf,
    },
    /// The bank can't be started on its store.
    #[error("failed to start the bank")]
    Start(#[from] StartError),
    /// The address can't be listened on.
    #[error("failed to listen on {listen}; choose another address with --listen")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The HTTP server broke down.
    #[error("failed to serve HTTP")]
    Serve(#[source] io::Error),
    /// The file to import can't be read.
    #[error("failed to read the transaction file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A row of the file to import is not what it should be.
    #[error("failed to import {0}")]
    Malformed(Malformed),
    /// A row's command was neither carried out nor rejected.
    #[error(
        "failed to import line {line}; run the same command again to go on from there: \
         no row is applied twice"
    )]
    Row {
        /// The line.
        line: u64,
        /// Why.
        source: Box<RowError>,
    },
    /// The operator stopped the import.
    #[error(
        "interrupted after line {line}; run the same command again to go on from there: \
         no row is applied twice"
    )]
    ImportInterrupted {
        /// The last line that was dealt with.
        line: u64,
    },
    /// A command that should have gone through did not.
    #[error("failed to run a command of the demo")]
    Execute(#[source] Box<ExecuteError<AccountError>>),
    /// An account that should have been opened was not.
    #[error("failed to open an account of the demo")]
    Opening(#[from] Box<OpeningError>),
    /// A transfer that should have been begun was not.
    #[error("failed to begin a transfer of the demo")]
    Transferring(#[from] Box<TransferringError>),
    /// A transfer's end was not seen.
    #[error("failed to see the end of a transfer")]
    TransferEnd(#[source] Box<WaitError>),
    /// The demo would mix its accounts with others.
    #[error(
        "failed to begin the demo: the store `{url}` holds other data already; choose a new \
         file with --store, or say --mix"
    )]
    NotADemoStore {
        /// The store.
        url: String,
    },
    /// An account's state can't be loaded.
    #[error("failed to load an account")]
    Load(#[from] LoadError),
    /// A generated id or name is none.
    #[error("failed to name an account")]
    Name(#[from] InvalidName),
    /// A generated id is none.
    #[error("failed to name an account")]
    Id(#[from] InvalidId),
    /// A generated amount is none.
    #[error("failed to generate an amount")]
    Amount(#[from] MoneyError),
    /// The read model does not get up to date.
    #[error("failed to wait for the read model")]
    CaughtUp(#[from] CaughtUpError),
    /// The read model can't be read.
    #[error("failed to read the read model")]
    ReadModel(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An operator command failed.
    #[error(transparent)]
    Operator(#[from] CliError),
}

impl From<ExecuteError<AccountError>> for BankError {
    fn from(error: ExecuteError<AccountError>) -> Self {
        Self::Execute(Box::new(error))
    }
}

impl BankError {
    /// What the process should end with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Operator(error) => error.exit_code(),
            Self::ImportInterrupted { .. } => ExitCode::from(130),
            _ => ExitCode::FAILURE,
        }
    }

    /// Prints the error, its causes and what to do next to standard error.
    pub fn report(&self) {
        match self {
            Self::Operator(error) => error.report(),
            // Not an error: what the operator asked for has happened.
            error @ Self::ImportInterrupted { .. } => cli::print_line(&error.to_string()),
            error => cli::report(error, error.advice()),
        }
    }

    /// What an operator can do about it, where the error itself does not say so.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some("check the path, and that this user may read the file"),
            error => error.store_error().and_then(cli::advice),
        }
    }

    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Start(StartError::Store(error))
            | Self::ReadModel(ReadError::Store(error))
            | Self::CaughtUp(CaughtUpError::Store(error))
            | Self::Load(LoadError::Store(error))
            | Self::Store(error) => Some(error),
            Self::Execute(error) => error.store_error(),
            Self::Opening(error) => error.store_error(),
            Self::Transferring(error) => error.store_error(),
            Self::Row { source, .. } => source.store_error(),
            _ => None,
        }
    }
}
