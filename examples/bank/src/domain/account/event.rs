//! What can happen to an account.

use annals::Event;
use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{AccountId, Currency, TransferId, UserId},
    money::Amount,
};

/// What can happen to an account.
#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[event(category = "account")]
pub enum AccountEvent {
    /// A user opened it.
    Opened {
        /// Who owns it.
        #[event(tag)]
        owner: UserId,
        /// What it is kept in.
        currency: Currency,
    },
    /// Money came in.
    Deposited {
        /// Who owns it.
        owner: UserId,
        /// How much.
        amount: Amount,
    },
    /// Money went out.
    Withdrawn {
        /// Who owns it.
        owner: UserId,
        /// How much.
        amount: Amount,
    },
    /// Money left for another account, and is in flight until that one takes it, or this one
    /// takes it back.
    TransferSent {
        /// Who owns it.
        owner: UserId,
        /// Which transfer.
        transfer: TransferId,
        /// Where the money goes.
        to: AccountId,
        /// How much.
        amount: Amount,
    },
    /// Money arrived from another account.
    TransferReceived {
        /// Who owns it.
        owner: UserId,
        /// Which transfer.
        transfer: TransferId,
        /// Where the money comes from.
        from: AccountId,
        /// How much.
        amount: Amount,
    },
    /// Money that had left came back, as the other account did not take it.
    TransferReturned {
        /// Who owns it.
        owner: UserId,
        /// Which transfer.
        transfer: TransferId,
        /// How much.
        amount: Amount,
    },
    /// From now on it neither gives nor takes money.
    Frozen {
        /// Who owns it.
        owner: UserId,
    },
    /// It gives and takes money again.
    Unfrozen {
        /// Who owns it.
        owner: UserId,
    },
    /// It is no more.
    Closed {
        /// Who owned it.
        owner: UserId,
    },
    /// It was closed, and money came back to it.
    Reopened {
        /// Who owns it.
        owner: UserId,
    },
}

impl AccountEvent {
    /// Who owns the account that it happened to.
    pub fn owner(&self) -> &UserId {
        match self {
            Self::Opened { owner, .. }
            | Self::Deposited { owner, .. }
            | Self::Withdrawn { owner, .. }
            | Self::TransferSent { owner, .. }
            | Self::TransferReceived { owner, .. }
            | Self::TransferReturned { owner, .. }
            | Self::Frozen { owner }
            | Self::Unfrozen { owner }
            | Self::Closed { owner }
            | Self::Reopened { owner } => owner,
        }
    }
}
