//! The domain that all contestants work on: accounts, and what their owners have.

use annals::{
    Aggregate, Event, Id, Position, Projection, ProjectionError, ReadModel, Recorded, StreamName,
};
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// An account: what stands after the dash in `account-...`.
#[derive(Id, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AccountId(String);

impl AccountId {
    /// The account with this number.
    pub(crate) fn numbered(number: u64) -> Outcome<Self> {
        Ok(format!("{number:08}").parse()?)
    }

    pub(crate) fn stream(&self) -> Outcome<StreamName> {
        Ok(StreamName::parse(&format!("account-{self}"))?)
    }
}

/// How many accounts each owner has.
const ACCOUNTS_PER_OWNER: u64 = 2;

/// Who owns the account with this number.
pub(crate) fn owner(number: u64) -> String {
    format!("user-{:06}", number / ACCOUNTS_PER_OWNER)
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[event(category = "account")]
pub(crate) enum AccountEvent {
    Opened { owner: String, currency: String },
    Deposited { owner: String, amount: i64 },
    Withdrawn { owner: String, amount: i64 },
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) enum AccountCommand {
    Deposit { amount: i64 },
    Withdraw { amount: i64 },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("there is no such account")]
    NotFound,
    #[error("the amount or the balance is out of range")]
    OutOfRange,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    owner: Option<String>,
    pub(crate) balance: i64,
}

impl Aggregate for Account {
    type Id = AccountId;
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        let owner = self.owner.clone().ok_or(AccountError::NotFound)?;
        match command {
            AccountCommand::Deposit { amount }
                if amount > 0 && self.balance.checked_add(amount).is_some() =>
            {
                Ok(vec![AccountEvent::Deposited { owner, amount }])
            }
            AccountCommand::Withdraw { amount } if (1..=self.balance).contains(&amount) => {
                Ok(vec![AccountEvent::Withdrawn { owner, amount }])
            }
            _ => Err(AccountError::OutOfRange),
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { owner, .. } => self.owner = Some(owner.clone()),
            AccountEvent::Deposited { amount, .. } => self.balance += amount,
            AccountEvent::Withdrawn { amount, .. } => self.balance -= amount,
        }
    }
}

/// What a user has, over all accounts.
#[derive(ReadModel, Clone, Debug)]
pub(crate) struct UserBalance {
    #[key]
    owner: String,
    balance: i64,
    accounts: i64,
    position: Position,
}

impl Projection for UserBalance {
    type Event = AccountEvent;

    fn keys(event: &Recorded<AccountEvent>) -> impl IntoIterator<Item = String> {
        let (AccountEvent::Opened { owner, .. }
        | AccountEvent::Deposited { owner, .. }
        | AccountEvent::Withdrawn { owner, .. }) = &event.event;
        [owner.clone()]
    }

    fn fold(
        owner: &String,
        row: Option<Self>,
        event: &Recorded<AccountEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        let mut row = row.unwrap_or_else(|| Self {
            owner: owner.clone(),
            balance: 0,
            accounts: 0,
            position: Position::START,
        });
        row.position = event.position;
        match &event.event {
            AccountEvent::Opened { .. } => row.accounts += 1,
            AccountEvent::Deposited { amount, .. } => row.balance += amount,
            AccountEvent::Withdrawn { amount, .. } => row.balance -= amount,
        }
        Ok(Some(row))
    }
}

/// Reads an event the way a hand-written application does: by its wire name.
pub(crate) fn decode(event_type: &str, payload: &[u8]) -> Outcome<AccountEvent> {
    #[derive(Deserialize)]
    struct Opened {
        owner: String,
        currency: String,
    }
    #[derive(Deserialize)]
    struct Moved {
        owner: String,
        amount: i64,
    }
    Ok(match event_type {
        "account.opened" => {
            let Opened { owner, currency } = serde_json::from_slice(payload)?;
            AccountEvent::Opened { owner, currency }
        }
        "account.deposited" => {
            let Moved { owner, amount } = serde_json::from_slice(payload)?;
            AccountEvent::Deposited { owner, amount }
        }
        "account.withdrawn" => {
            let Moved { owner, amount } = serde_json::from_slice(payload)?;
            AccountEvent::Withdrawn { owner, amount }
        }
        other => return Err(format!("there is no event type `{other}`").into()),
    })
}
