//! How a command fails, and how that is told.

use std::{error::Error, io::Write as _, process::ExitCode};

use annals_core::{AppendError, InvalidName, RebuildError, StoreError, StoreErrorKind};
use annals_runtime::{OperateError, SagaError, StartError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The application could not be connected to its store.
    #[error("failed to connect the application to its store")]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no projection of that name.
    #[error("failed to find projection `{name}`; {}", known_projections(known))]
    NoSuchProjection {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A projection is in a state in which that makes no sense.
    #[error("failed to {doing} projection `{name}`: {problem}")]
    WrongState {
        /// What was asked: `pause`, `resume`, `retry`.
        doing: &'static str,
        /// The projection.
        name: String,
        /// Why not, and what to do instead.
        problem: String,
    },
    /// The rebuild did not come to its end.
    #[error("failed to rebuild projection `{name}`")]
    Rebuild {
        /// The projection.
        name: String,
        /// Why.
        source: Box<RebuildError>,
    },
    /// The operator stopped the command.
    #[error("interrupted: {next}")]
    Interrupted {
        /// How to go on.
        next: String,
    },
    /// There is no such saga.
    #[error("failed to find saga `{id}`; {}", looked_among(kinds))]
    NoSuchSaga {
        /// The id.
        id: String,
        /// The kinds of sagas that were looked through.
        kinds: Vec<String>,
    },
    /// Sagas of several kinds have that id.
    #[error("failed to tell which saga `{id}` is meant; add --saga with one of: {}", kinds.join(", "))]
    SeveralSagas {
        /// The id.
        id: String,
        /// The kinds.
        kinds: Vec<String>,
    },
    /// A saga can't be read.
    #[error("failed to read a saga")]
    Saga(#[source] Box<SagaError>),
    /// A saga is in a state in which that makes no sense, or can't be written.
    #[error("failed to change a saga")]
    Operate(#[source] Box<OperateError>),
    /// There is no such stream.
    #[error(
        "failed to find stream `{stream}`: it has no events; `stream list` shows those there are"
    )]
    NoSuchStream {
        /// Its name.
        stream: String,
    },
    /// The name can't be one of a stream or event type.
    #[error("failed to look it up")]
    Name(#[from] InvalidName),
    /// The log or a read model is not what it should be.
    #[error("failed to verify the store: {}", problems(*count))]
    Verify {
        /// How much was found.
        count: u64,
    },
    /// Whoever read the output has closed it; not a failure.
    #[error("the output was closed")]
    OutputClosed,
    /// The output can't be written.
    #[error("failed to write the output")]
    Output(#[source] std::io::Error),
    /// There is a file where the log should be exported to.
    #[error("failed to export to `{file}`: there is such a file; --force overwrites it")]
    FileExists {
        /// Its name.
        file: String,
    },
    /// The log can't be written to a file.
    #[error("failed to export to `{file}`")]
    Export {
        /// Its name.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file can't be imported.
    #[error("failed to import `{file}`")]
    ImportFile {
        /// Its name.
        file: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store has another log than the file.
    #[error(
        "failed to import `{file}`: {problem}; import into a store without events, or one where \
         an import of this file was interrupted"
    )]
    OtherLog {
        /// The file's name.
        file: String,
        /// How they differ.
        problem: String,
    },
    /// A check of the application could not do its work.
    #[error("failed to check that {check}")]
    Check {
        /// The check.
        check: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

fn known_projections(known: &[String]) -> String {
    if known.is_empty() {
        "the application has none".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    }
}

fn looked_among(kinds: &[String]) -> String {
    match kinds {
        [] => "the application has no sagas".to_owned(),
        kinds => format!("there is no such {}", kinds.join(" or ")),
    }
}

impl From<SagaError> for CliError {
    fn from(error: SagaError) -> Self {
        Self::Saga(Box::new(error))
    }
}

impl From<OperateError> for CliError {
    fn from(error: OperateError) -> Self {
        Self::Operate(Box::new(error))
    }
}

fn problems(count: u64) -> String {
    match count {
        1 => "1 problem was found".to_owned(),
        count => format!("{count} problems were found"),
    }
}

impl CliError {
    /// What the process should end with: 130 when it was interrupted, 1 after any other failure,
    /// 0 when the output was closed.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Interrupted { .. } => ExitCode::from(130),
            _ => ExitCode::FAILURE,
        }
    }

    /// The failure of the store behind this error, if that is what it is.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) | Self::Start(StartError::Store(error)) => Some(error),
            Self::Rebuild { source, .. } => match &**source {
                RebuildError::Store(error) => Some(error),
                _ => None,
            },
            Self::Saga(source) => saga_store_error(source),
            Self::Operate(source) => match &**source {
                OperateError::Saga(error) => saga_store_error(error),
                OperateError::Append(AppendError::Store(error) | AppendError::Unknown(error)) => {
                    Some(error)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Prints the error to standard error, unless it is [`CliError::OutputClosed`].
    pub fn report(&self) {
        match self {
            Self::OutputClosed => {}
            // Not an error: what the operator asked for has happened.
            Self::Interrupted { .. } => print_line(&self.to_string()),
            error => report(error, error.store_error().and_then(advice)),
        }
    }
}

fn saga_store_error(error: &SagaError) -> Option<&StoreError> {
    match error {
        SagaError::Store(error) => Some(error),
        _ => None,
    }
}

/// What an operator can do about a failure of the store.
#[must_use]
pub fn advice(error: &StoreError) -> Option<&'static str> {
    Some(match error.kind() {
        StoreErrorKind::Busy => "another process keeps the store locked; try again",
        StoreErrorKind::Unavailable => "check that the store can be reached, and try again",
        StoreErrorKind::StorageFull => "free some space where the store is, and try again",
        StoreErrorKind::ReadOnly => "give this user write access to the store and its directory",
        StoreErrorKind::NotFound => "check the path or URL in `--store` or ANNALS_STORE",
        StoreErrorKind::Corrupt => "keep a copy of the files as they are, then restore a backup",
        StoreErrorKind::NewerSchema => "run the release that wrote the store, or a newer one",
        StoreErrorKind::Invalid => "check the URL in `--store` or ANNALS_STORE",
        _ => return None,
    })
}

/// Prints an error with its causes, and what to do next, to standard error.
pub fn report(error: &(dyn Error + 'static), next: Option<&str>) {
    print_line(&in_full(error, next));
}

fn in_full(error: &(dyn Error + 'static), next: Option<&str>) -> String {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("\n  caused by: {cause}"));
        source = cause.source();
    }
    if let Some(next) = next {
        text.push_str(&format!("\n  what to do: {next}"));
    }
    text
}

/// Writes a line to standard error, where there is nobody left to tell about a failure to do so.
pub fn print_line(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_reported_with_its_causes_and_what_to_do() {
        let store = StoreError::new(StoreErrorKind::ReadOnly, "open `bank.db`")
            .caused_by("attempt to write a readonly database");
        let error = CliError::Start(StartError::Store(store));
        let next = error.store_error().and_then(advice);
        assert_eq!(
            in_full(&error, next),
            "error: failed to connect the application to its store\n  \
             caused by: failed to open `bank.db`\n  \
             caused by: attempt to write a readonly database\n  \
             what to do: give this user write access to the store and its directory"
        );
    }

    #[test]
    fn an_unknown_projection_is_answered_with_the_known_ones() {
        let known = vec!["account_list".to_owned(), "user_balance".to_owned()];
        let error = CliError::NoSuchProjection {
            name: "balance".to_owned(),
            known,
        };
        assert_eq!(
            error.to_string(),
            "failed to find projection `balance`; there are: account_list, user_balance"
        );
    }
}
