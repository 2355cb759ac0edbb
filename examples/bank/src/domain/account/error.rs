//! Why an account says no.

use crate::domain::{
    ids::Currency,
    money::{Amount, Money, MoneyError},
};

/// Why an account says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// It was opened before.
    #[error("the account exists already")]
    AlreadyOpen,
    /// Nobody has opened it.
    #[error("there is no such account")]
    NotFound,
    /// It was closed.
    #[error("the account is closed")]
    Closed,
    /// It neither gives nor takes money for the time being.
    #[error("the account is frozen")]
    Frozen,
    /// It holds less than is wanted.
    #[error("the account holds {balance}, which is less than {amount}")]
    InsufficientFunds {
        /// What it holds.
        balance: Money,
        /// What is wanted.
        amount: Amount,
    },
    /// It holds money, so it can't be closed.
    #[error("the account still holds {balance}; withdraw it first")]
    NotEmpty {
        /// What it holds.
        balance: Money,
    },
    /// The money of a transfer is in another currency.
    #[error("the account is kept in {held}, so it has nothing to do with {wanted}")]
    OtherCurrency {
        /// What it is kept in.
        held: Currency,
        /// What the transfer is in.
        wanted: Currency,
    },
    /// The balance would exceed what can be counted.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
