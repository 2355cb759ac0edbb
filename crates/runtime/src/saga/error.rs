//! How starting, reading and operating sagas fails.

use std::time::Duration;

use annals_core::{
    AppendError, CommandId, DecodeError, EncodeError, InvalidName, RowError, StoreError,
    StreamName, Version,
    saga::{InstanceError, PlanError, Refused, SagaStatus},
};

/// Why a saga can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SagaError {
    /// Its id can't name a stream.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// An event of its stream can't be read.
    #[error("failed to read version {version} of stream `{stream}`")]
    Unreadable {
        /// The stream.
        stream: StreamName,
        /// The event's version.
        version: Version,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Its stream does not make sense to its code any more.
    #[error(transparent)]
    Replay(#[from] InstanceError),
    /// No saga of this kind is part of the application.
    #[error("the application has no saga `{saga}`; it has {known}")]
    UnknownKind {
        /// The kind.
        saga: String,
        /// Those it has.
        known: String,
    },
    /// A row of the sagas' tables does not fit.
    #[error("failed to read a row of `{table}`; rebuild the projection")]
    Row {
        /// The table.
        table: &'static str,
        /// What does not fit.
        source: RowError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SagaError {
    /// Whether this release can't make sense of the saga's stream, however often it tries.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Replay(_))
    }
}

/// Why a saga was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartSagaError {
    /// The application does not run this kind of saga.
    #[error("saga `{saga}` is not part of the application; add it when the application is built")]
    NotRegistered {
        /// The kind.
        saga: &'static str,
    },
    /// Its plan can't be carried out.
    #[error("saga `{saga}` can't be carried out")]
    Plan {
        /// The kind.
        saga: &'static str,
        /// What is wrong with the plan.
        source: PlanError,
    },
    /// Its code refused to start.
    #[error("saga `{saga}` does not start: {reason}")]
    Refused {
        /// The kind.
        saga: &'static str,
        /// Why.
        reason: String,
    },
    /// What it is asked for does not serialise to JSON.
    #[error("the start of saga `{saga}` does not serialise to JSON")]
    Encode {
        /// The kind.
        saga: &'static str,
        /// What serde says.
        source: serde_json::Error,
    },
    /// There is a saga with this id, which was asked for something else.
    #[error("stream `{stream}` holds a saga that was asked for something else")]
    IdReused {
        /// Its stream.
        stream: StreamName,
    },
    /// The command id was used before, for another command or saga.
    #[error(
        "command id {id} was used before for another request; give each request an id of its own"
    )]
    CommandIdReused {
        /// The id.
        id: CommandId,
    },
    /// The saga of this id can't be read, to see whether it is the same.
    #[error(transparent)]
    Saga(#[from] SagaError),
    /// Its first events can't be written.
    #[error(transparent)]
    Event(#[from] EncodeError),
    /// Its first events could not be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl StartSagaError {
    /// The failure of the store behind this error, if that is what it is.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Append(AppendError::Store(error) | AppendError::Unknown(error))
            | Self::Saga(SagaError::Store(error)) => Some(error),
            _ => None,
        }
    }
}

/// Why an operator's wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperateError {
    /// There is no such saga.
    #[error("there is no saga `{saga}` with the id `{id}`")]
    NotFound {
        /// The kind.
        saga: String,
        /// The id.
        id: String,
    },
    /// It makes no sense for this saga.
    #[error("saga `{id}` can't be {wish}: {source}")]
    Refused {
        /// The id.
        id: String,
        /// `retried` or `abandoned`.
        wish: &'static str,
        /// Why.
        source: Refused,
    },
    /// The saga kept moving on meanwhile.
    #[error("saga `{id}` changed during each attempt; try again")]
    Busy {
        /// The id.
        id: String,
    },
    /// The saga can't be read.
    #[error(transparent)]
    Saga(#[from] SagaError),
    /// The wish can't be written.
    #[error(transparent)]
    Event(#[from] EncodeError),
    /// The wish could not be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Why a saga's end was not seen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It did not end in time.
    #[error("the saga is {status} after {waited:?}")]
    TimedOut {
        /// How it stands.
        status: SagaStatus,
        /// How long it was waited for.
        waited: Duration,
    },
    /// There is no such saga.
    #[error("there is no such saga")]
    NotFound,
    /// It can't be read.
    #[error(transparent)]
    Saga(#[from] SagaError),
}
