//! What the bank consists of.

use annals::{Annals, Builder};

use super::error::BankError;
use crate::domain::{Account, UserBalance};

/// An account is snapshotted after so many events, so that old ones load as fast as new ones.
const SNAPSHOT_EVERY: u64 = 1_000;

/// The bank on the store at a URL, ready to start.
pub(super) async fn bank(url: &str) -> Result<Builder, BankError> {
    let builder = Annals::open(url).await.map_err(BankError::Open)?;
    Ok(builder
        .projection::<UserBalance>()
        .snapshots::<Account>(SNAPSHOT_EVERY, 1))
}
