//! How long transfers may take.

use std::time::Duration;

use clap::Args;

use crate::transferring::TRANSFERRED_WITHIN;

/// The longest deadline: a year, in seconds.
const LONGEST: u64 = 365 * 24 * 60 * 60;

/// How long the transfers that a command begins may take.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct TransferDeadline {
    /// After how many seconds a transfer goes back that has not arrived, as when it is to a frozen
    /// account
    #[arg(
        long,
        value_name = "SECONDS",
        env = "BANK_TRANSFER_DEADLINE",
        default_value_t = TRANSFERRED_WITHIN.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=LONGEST)
    )]
    transfer_deadline: u64,
}

impl TransferDeadline {
    pub(super) fn within(self) -> Duration {
        Duration::from_secs(self.transfer_deadline)
    }
}
