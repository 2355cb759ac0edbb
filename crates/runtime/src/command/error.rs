//! How loading an aggregate and executing a command fail.

use annals_core::{
    AppendError, CommandId, DecodeError, EncodeError, InvalidName, StoreError, StreamName, Version,
};

/// Why a command was not carried out. `E` is the aggregate's own error.
///
/// After any error but [`ExecuteError::Append`] holding [`AppendError::Unknown`], nothing has
/// been appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError<E: std::error::Error + 'static> {
    /// The aggregate said no, and this is what it said.
    #[error(transparent)]
    Rejected(E),
    /// The stream is not at the version that the caller asked for.
    #[error("stream `{stream}` is at version {actual}, not at {expected} as the command expects")]
    VersionMismatch {
        /// The stream.
        stream: StreamName,
        /// What the caller asked for.
        expected: Version,
        /// Where the stream is.
        actual: Version,
    },
    /// Others kept appending to the stream between load and append.
    #[error("stream `{stream}` changed during each of {attempts} attempts; try again")]
    Conflict {
        /// The stream.
        stream: StreamName,
        /// How often it was tried.
        attempts: u32,
    },
    /// The command id was used before, for another command.
    #[error(
        "command id {id} was used before for another command; give each command an id of its own"
    )]
    CommandIdReused {
        /// The id.
        id: CommandId,
    },
    /// The aggregate's id can't name a stream.
    #[error(transparent)]
    InvalidId(#[from] InvalidName),
    /// A decided event can't be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The aggregate's state could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The events could not be appended.
    #[error(transparent)]
    Append(AppendError),
}

impl<E: std::error::Error + 'static> ExecuteError<E> {
    /// The failure of the store behind this error, if that is what it is.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Load(LoadError::Store(error))
            | Self::Append(AppendError::Store(error) | AppendError::Unknown(error)) => Some(error),
            _ => None,
        }
    }
}

impl<E: std::error::Error + 'static> From<StoreError> for ExecuteError<E> {
    fn from(error: StoreError) -> Self {
        Self::Load(LoadError::Store(error))
    }
}

/// Why an aggregate's state could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The aggregate's id can't name a stream.
    #[error(transparent)]
    InvalidId(#[from] InvalidName),
    /// An event of the stream can't be read.
    #[error("failed to read version {version} of stream `{stream}`")]
    Unreadable {
        /// The stream.
        stream: StreamName,
        /// The event's version.
        version: Version,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
