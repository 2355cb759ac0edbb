//! What the bank consists of.

use annals::{Annals, Builder, OpenError};

use super::error::BankError;
use crate::domain::{Account, Transfer, UserBalance};

/// An account is snapshotted after so many events, so that old ones load as fast as new ones.
const SNAPSHOT_EVERY: u64 = 1_000;

/// The bank on the store at a URL, made if it is not there, ready to start.
pub(super) async fn bank(url: &str) -> Result<Builder, BankError> {
    wired(Annals::open(url).await)
}

/// The bank on a store that is there.
pub(super) async fn existing_bank(url: &str) -> Result<Builder, BankError> {
    wired(Annals::open_existing(url).await)
}

fn wired(opened: Result<Builder, OpenError>) -> Result<Builder, BankError> {
    let builder = opened.map_err(|error| match error {
        // It says which store it is, so there is nothing to add.
        OpenError::Store(error) => BankError::Store(error),
        error => BankError::Open(error),
    })?;
    Ok(builder
        .projection::<UserBalance>()
        .saga::<Transfer>()
        .snapshots::<Account>(SNAPSHOT_EVERY, 1))
}
