//! What happens to accounts.

use annals_core::Event;
use serde::{Deserialize, Serialize};

/// An event that a projection written in SQL takes in.
#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[event(crate = annals_core, category = "account")]
pub enum AccountEvent {
    /// Somebody has more than before.
    Deposited {
        /// Who.
        owner: String,
        /// How much more.
        amount: i64,
    },
    /// What can't be projected.
    Cursed {
        /// Whose.
        owner: String,
    },
}

/// A deposit.
#[must_use]
pub fn deposited(owner: &str, amount: i64) -> AccountEvent {
    AccountEvent::Deposited {
        owner: owner.to_owned(),
        amount,
    }
}

/// An event that can't be projected.
#[must_use]
pub fn cursed(owner: &str) -> AccountEvent {
    AccountEvent::Cursed {
        owner: owner.to_owned(),
    }
}
