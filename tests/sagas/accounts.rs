//! Accounts, and transfers between them.

use std::time::Duration;

use annals::{
    Aggregate, App, Event,
    saga::{Instance, Linear, Plan, Retry, Saga},
};
use serde::{Deserialize, Serialize};

/// Longer than anything takes, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Event, Serialize, Deserialize, Clone, Debug)]
#[event(category = "account")]
pub(crate) enum AccountEvent {
    Changed { cents: i64 },
    Frozen { frozen: bool },
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) enum AccountCommand {
    Change(i64),
    Freeze,
    Unfreeze,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("{0} cents are missing")]
    Short(i64),
    #[error("the account is frozen")]
    Frozen,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) cents: i64,
    frozen: bool,
}

impl Aggregate for Account {
    type Id = String;
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        match command {
            AccountCommand::Freeze => Ok(vec![AccountEvent::Frozen { frozen: true }]),
            AccountCommand::Unfreeze => Ok(vec![AccountEvent::Frozen { frozen: false }]),
            AccountCommand::Change(_) if self.frozen => Err(AccountError::Frozen),
            AccountCommand::Change(cents) => match self.cents + cents {
                missing if missing < 0 => Err(AccountError::Short(-missing)),
                _ => Ok(vec![AccountEvent::Changed { cents }]),
            },
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Changed { cents } => self.cents += cents,
            AccountEvent::Frozen { frozen } => self.frozen = *frozen,
        }
    }
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cents: i64,
    /// How long it may take.
    pub(crate) within: Duration,
}

impl Saga for Transfer {
    const NAME: &'static str = "transfer";
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _: &String, plan: &mut Plan) {
        plan.deadline(self.within);
        plan.step("debit")
            .command::<Account>(&self.from, AccountCommand::Change(-self.cents))
            .undo(AccountCommand::Change(self.cents));
        plan.step("credit")
            .command::<Account>(&self.to, AccountCommand::Change(self.cents))
            .retry(Retry::until_deadline());
    }
}

/// A transfer that is in no hurry.
pub(crate) fn transfer(from: &str, to: &str, cents: i64) -> Transfer {
    Transfer {
        from: from.to_owned(),
        to: to.to_owned(),
        cents,
        within: Duration::from_secs(3_600),
    }
}

pub(crate) async fn tell(app: &App, account: &str, command: AccountCommand) {
    let done = app.execute::<Account>(&account.to_owned(), command).await;
    done.unwrap();
}

pub(crate) async fn cents(app: &App, account: &str) -> i64 {
    let account = app.load::<Account>(&account.to_owned()).await;
    account.unwrap().state.cents
}

pub(crate) async fn ended(app: &App, id: &str) -> Instance<Linear<Transfer>> {
    let ended = app.saga_ended::<Transfer>(&id.to_owned(), PATIENCE).await;
    ended.unwrap()
}
