//! Accounts and transfers between them.

use std::{error::Error, time::Duration};

use annals_core::{
    Aggregate, Event,
    saga::{Plan, Retry, Saga},
};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "account")]
pub(crate) enum AccountEvent {
    Deposited { cents: i64 },
    Withdrawn { cents: i64 },
    Frozen,
    Unfrozen,
    Closed,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum AccountCommand {
    Deposit { cents: i64 },
    Withdraw { cents: i64 },
    Freeze,
    Unfreeze,
    Close,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("{0} cents are missing")]
    Short(i64),
    #[error("the account is frozen")]
    Frozen,
    #[error("the account is closed")]
    Closed,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) cents: i64,
    frozen: bool,
    closed: bool,
}

impl Aggregate for Account {
    type Id = String;
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        let event = match command {
            AccountCommand::Unfreeze => AccountEvent::Unfrozen,
            AccountCommand::Close => AccountEvent::Closed,
            AccountCommand::Freeze => AccountEvent::Frozen,
            _ if self.closed => return Err(AccountError::Closed),
            _ if self.frozen => return Err(AccountError::Frozen),
            AccountCommand::Withdraw { cents } if cents > self.cents => {
                return Err(AccountError::Short(cents - self.cents));
            }
            AccountCommand::Deposit { cents } => AccountEvent::Deposited { cents },
            AccountCommand::Withdraw { cents } => AccountEvent::Withdrawn { cents },
        };
        Ok(vec![event])
    }

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { cents } => self.cents += cents,
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
            AccountEvent::Frozen => self.frozen = true,
            AccountEvent::Unfrozen => self.frozen = false,
            AccountEvent::Closed => self.closed = true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cents: i64,
    /// How long all of it may take, if there is a limit.
    pub(crate) within: Option<Duration>,
}

impl Saga for Transfer {
    const NAME: &'static str = "transfer";
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _id: &String, plan: &mut Plan) {
        let cents = self.cents;
        if let Some(within) = self.within {
            plan.deadline(within);
        }
        plan.undo_retry(Retry::times(2).waiting(Duration::from_secs(1), Duration::from_secs(1)));
        plan.step("debit")
            .command::<Account>(&self.from, AccountCommand::Withdraw { cents })
            .undo(AccountCommand::Deposit { cents });
        plan.step("credit")
            .command::<Account>(&self.to, AccountCommand::Deposit { cents })
            .retry(Retry::until_deadline().waiting(Duration::from_secs(1), Duration::from_secs(8)))
            .deadline(Duration::from_secs(30));
    }

    fn retries(_step: &str, rejection: &(dyn Error + 'static)) -> bool {
        matches!(rejection.downcast_ref(), Some(AccountError::Frozen))
    }
}

pub(crate) fn transfer(from: &str, to: &str, cents: i64) -> Transfer {
    Transfer {
        from: from.to_owned(),
        to: to.to_owned(),
        cents,
        within: None,
    }
}
