//! What an account can be asked to do.

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{AccountId, Currency, TransferId, UserId},
    money::Amount,
};

/// What an account can be asked to do.
///
/// Those about a transfer are sent by its saga, each under a command id of its own that the store
/// remembers for ever: that is what makes a second one do nothing. The account itself does not
/// remember the transfers that it has seen; its state would grow with each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountCommand {
    /// Open it for a user.
    Open {
        /// Who will own it.
        owner: UserId,
        /// What to keep it in.
        currency: Currency,
    },
    /// Take money in.
    Deposit {
        /// How much.
        amount: Amount,
    },
    /// Give money out.
    Withdraw {
        /// How much.
        amount: Amount,
    },
    /// Give money for another account.
    SendTransfer {
        /// Which transfer.
        transfer: TransferId,
        /// Where the money goes.
        to: AccountId,
        /// How much.
        amount: Amount,
        /// In what; the account must be kept in the same.
        currency: Currency,
    },
    /// Take money from another account.
    ReceiveTransfer {
        /// Which transfer.
        transfer: TransferId,
        /// Where the money comes from.
        from: AccountId,
        /// How much.
        amount: Amount,
        /// In what; the account must be kept in the same.
        currency: Currency,
    },
    /// Take back what was sent, also when it is frozen by now, and even when it is closed: money
    /// must not be stuck on its way.
    ReturnTransfer {
        /// Which transfer.
        transfer: TransferId,
        /// How much.
        amount: Amount,
    },
    /// Neither give nor take money any more. A frozen account has nothing to do.
    Freeze,
    /// Give and take money again. An account that is not frozen has nothing to do.
    Unfreeze,
    /// Close it for good.
    Close,
}
