//! An account: opened by a user, filled and emptied, closed when it is empty.

mod command;
mod error;
mod event;

use annals::Aggregate;
use serde::{Deserialize, Serialize};

use super::{
    ids::{AccountId, Currency, TransferId, UserId},
    money::{Amount, Money},
};

pub use command::AccountCommand;
pub use error::AccountError;
pub use event::AccountEvent;

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
    /// In use, but it neither gives nor takes money for the time being.
    Frozen,
    /// Closed for good, unless money comes back to it.
    Closed,
}

impl Account {
    /// The owner, if there is or was an account.
    fn known_owner(&self) -> Result<UserId, AccountError> {
        self.owner.clone().ok_or(AccountError::NotFound)
    }

    /// The owner, if the account gives and takes money.
    fn owner_if_open(&self) -> Result<UserId, AccountError> {
        match self.status {
            Status::Absent => Err(AccountError::NotFound),
            Status::Open => self.known_owner(),
            Status::Frozen => Err(AccountError::Frozen),
            Status::Closed => Err(AccountError::Closed),
        }
    }

    /// The owner, if the account takes in this much.
    fn takes(&self, amount: Amount) -> Result<UserId, AccountError> {
        let owner = self.owner_if_open()?;
        self.balance.plus(amount)?;
        Ok(owner)
    }

    /// The owner, if the account gives out this much.
    fn gives(&self, amount: Amount) -> Result<UserId, AccountError> {
        let owner = self.owner_if_open()?;
        if self.balance < amount.into() {
            return Err(AccountError::InsufficientFunds {
                balance: self.balance,
                amount,
            });
        }
        Ok(owner)
    }

    /// Refuses money of another currency than the account is kept in.
    fn keeps(&self, currency: Currency) -> Result<(), AccountError> {
        self.known_owner()?;
        if self.currency == currency {
            return Ok(());
        }
        Err(AccountError::OtherCurrency {
            held: self.currency,
            wanted: currency,
        })
    }

    fn open(&self, owner: UserId, currency: Currency) -> Result<AccountEvent, AccountError> {
        match self.status {
            Status::Absent => Ok(AccountEvent::Opened { owner, currency }),
            Status::Open | Status::Frozen | Status::Closed => Err(AccountError::AlreadyOpen),
        }
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

    fn freeze(&self) -> Result<Vec<AccountEvent>, AccountError> {
        match self.owner_if_open() {
            Ok(owner) => Ok(vec![AccountEvent::Frozen { owner }]),
            Err(AccountError::Frozen) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn unfreeze(&self) -> Result<Vec<AccountEvent>, AccountError> {
        match self.owner_if_open() {
            Ok(_) => Ok(Vec::new()),
            Err(AccountError::Frozen) => Ok(vec![AccountEvent::Unfrozen {
                owner: self.known_owner()?,
            }]),
            Err(error) => Err(error),
        }
    }

    /// Takes money back whatever has become of the account, unless it can't be counted.
    fn take_back(
        &self,
        transfer: TransferId,
        amount: Amount,
    ) -> Result<Vec<AccountEvent>, AccountError> {
        let owner = self.known_owner()?;
        self.balance.plus(amount)?;
        let reopened = (self.status == Status::Closed).then(|| AccountEvent::Reopened {
            owner: owner.clone(),
        });
        let returned = AccountEvent::TransferReturned {
            owner,
            transfer,
            amount,
        };
        Ok(reopened.into_iter().chain([returned]).collect())
    }
}

impl Aggregate for Account {
    type Id = AccountId;
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        let event = match command {
            AccountCommand::Open { owner, currency } => self.open(owner, currency)?,
            AccountCommand::Deposit { amount } => AccountEvent::Deposited {
                owner: self.takes(amount)?,
                amount,
            },
            AccountCommand::Withdraw { amount } => AccountEvent::Withdrawn {
                owner: self.gives(amount)?,
                amount,
            },
            AccountCommand::SendTransfer {
                transfer,
                to,
                amount,
                currency,
            } => AccountEvent::TransferSent {
                owner: self.keeps(currency).and_then(|()| self.gives(amount))?,
                transfer,
                to,
                amount,
            },
            AccountCommand::ReceiveTransfer {
                transfer,
                from,
                amount,
                currency,
            } => AccountEvent::TransferReceived {
                owner: self.keeps(currency).and_then(|()| self.takes(amount))?,
                transfer,
                from,
                amount,
            },
            AccountCommand::ReturnTransfer { transfer, amount } => {
                return self.take_back(transfer, amount);
            }
            AccountCommand::Freeze => return self.freeze(),
            AccountCommand::Unfreeze => return self.unfreeze(),
            AccountCommand::Close => self.close()?,
        };
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
            AccountEvent::Deposited { amount, .. }
            | AccountEvent::TransferReceived { amount, .. }
            | AccountEvent::TransferReturned { amount, .. } => {
                self.balance = self.balance.plus(*amount).unwrap_or(self.balance);
            }
            AccountEvent::Withdrawn { amount, .. } | AccountEvent::TransferSent { amount, .. } => {
                self.balance = self.balance.minus(*amount).unwrap_or(self.balance);
            }
            AccountEvent::Frozen { .. } => self.status = Status::Frozen,
            AccountEvent::Unfrozen { .. } | AccountEvent::Reopened { .. } => {
                self.status = Status::Open;
            }
            AccountEvent::Closed { .. } => self.status = Status::Closed,
        }
    }
}
