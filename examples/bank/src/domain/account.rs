//! An account: opened by a user, filled and emptied, closed when it is empty.

use annals::{Aggregate, Event};
use serde::{Deserialize, Serialize};

use super::{
    ids::{AccountId, Currency, UserId},
    money::{Amount, Money, MoneyError},
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
    /// It is no more.
    Closed {
        /// Who owned it.
        owner: UserId,
    },
}

/// What an account can be asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Close it for good.
    Close,
}

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
    /// The balance would exceed what can be counted.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// The state of an account, as far as it matters for its decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Whether there is one.
    pub status: Status,
    /// Who owns it, once it is opened.
    pub owner: Option<UserId>,
    /// What it is kept in.
    pub currency: Currency,
    /// What it holds.
    pub balance: Money,
}

/// Where an account is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has opened it.
    #[default]
    Absent,
    /// In use.
    Open,
    /// Closed for good.
    Closed,
}

impl Account {
    /// The owner, if the account is in use.
    ///
    /// # Errors
    /// When it is not.
    pub fn owner_if_open(&self) -> Result<UserId, AccountError> {
        match (self.status, &self.owner) {
            (Status::Open, Some(owner)) => Ok(owner.clone()),
            (Status::Closed, _) => Err(AccountError::Closed),
            _ => Err(AccountError::NotFound),
        }
    }

    fn open(&self, owner: UserId, currency: Currency) -> Result<AccountEvent, AccountError> {
        match self.status {
            Status::Absent => Ok(AccountEvent::Opened { owner, currency }),
            Status::Open | Status::Closed => Err(AccountError::AlreadyOpen),
        }
    }

    fn deposit(&self, amount: Amount) -> Result<AccountEvent, AccountError> {
        let owner = self.owner_if_open()?;
        self.balance.plus(amount)?;
        Ok(AccountEvent::Deposited { owner, amount })
    }

    fn withdraw(&self, amount: Amount) -> Result<AccountEvent, AccountError> {
        let owner = self.owner_if_open()?;
        if self.balance < amount.into() {
            return Err(AccountError::InsufficientFunds {
                balance: self.balance,
                amount,
            });
        }
        Ok(AccountEvent::Withdrawn { owner, amount })
    }

    fn close(&self) -> Result<AccountEvent, AccountError> {
        let owner = self.owner_if_open()?;
        if self.balance != Money::ZERO {
            return Err(AccountError::NotEmpty {
                balance: self.balance,
            });
        }
        Ok(AccountEvent::Closed { owner })
    }
}

impl Aggregate for Account {
    type Id = AccountId;
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        let event = match command {
            AccountCommand::Open { owner, currency } => self.open(owner, currency),
            AccountCommand::Deposit { amount } => self.deposit(amount),
            AccountCommand::Withdraw { amount } => self.withdraw(amount),
            AccountCommand::Close => self.close(),
        }?;
        Ok(vec![event])
    }

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { owner, currency } => {
                *self = Self {
                    status: Status::Open,
                    owner: Some(owner.clone()),
                    currency: *currency,
                    balance: Money::ZERO,
                };
            }
            // The decision has checked the sums, so neither of them can overflow here.
            AccountEvent::Deposited { amount, .. } => {
                self.balance = self.balance.plus(*amount).unwrap_or(self.balance);
            }
            AccountEvent::Withdrawn { amount, .. } => {
                self.balance = self.balance.minus(*amount).unwrap_or(self.balance);
            }
            AccountEvent::Closed { .. } => self.status = Status::Closed,
        }
    }
}
