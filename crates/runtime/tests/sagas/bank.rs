//! Accounts and transfers between them.

use std::{error::Error, sync::Arc, time::Duration};

use annals_core::{
    Aggregate, Clock, Event, MemoryStore, Store,
    saga::{Instance, Linear, Plan, Retry, Saga},
};
use annals_runtime::{App, Builder, ProjectionOptions, SagaOptions};
use annals_testing::clock::ManualClock;
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
}

impl Saga for Transfer {
    const NAME: &'static str = "transfer";
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _id: &String, plan: &mut Plan) {
        let cents = self.cents;
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
    }
}

/// An application on a store, with a clock of its own.
pub(crate) struct Bank {
    pub(crate) app: App,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

impl Bank {
    pub(crate) async fn open() -> Self {
        Self::on(Arc::new(MemoryStore::new()), Arc::default()).await
    }

    pub(crate) async fn on(store: Arc<MemoryStore>, clock: Arc<ManualClock>) -> Self {
        let app = builder(store.clone(), clock.clone())
            .saga::<Transfer>()
            .start()
            .await
            .unwrap();
        Self { app, store, clock }
    }

    pub(crate) async fn tell(&self, account: &str, command: AccountCommand) {
        self.app
            .execute::<Account>(&account.to_owned(), command)
            .await
            .unwrap();
    }

    pub(crate) async fn cents(&self, account: &str) -> i64 {
        let loaded = self.app.load::<Account>(&account.to_owned()).await.unwrap();
        loaded.state.cents
    }

    pub(crate) async fn start(&self, id: &str, transfer: Transfer) {
        self.app.start_saga(&id.to_owned(), transfer).await.unwrap();
    }

    pub(crate) async fn ended(&self, id: &str) -> Instance<Linear<Transfer>> {
        self.app
            .saga_ended::<Transfer>(&id.to_owned(), PATIENCE)
            .await
            .unwrap()
    }

    pub(crate) async fn saga(&self, id: &str) -> Instance<Linear<Transfer>> {
        let found = self.app.saga::<Transfer>(&id.to_owned()).await.unwrap();
        found.unwrap()
    }

    /// Moves the clock on in steps until the saga has ended or is stuck.
    pub(crate) async fn ended_in_time(
        &self,
        id: &str,
        step: Duration,
    ) -> Instance<Linear<Transfer>> {
        for _ in 0..200 {
            let short = Duration::from_millis(40);
            if let Ok(ended) = self.app.saga_ended::<Transfer>(&id.to_owned(), short).await {
                return ended;
            }
            self.clock.advance(step);
        }
        panic!("saga {id} does not end: {:?}", self.saga(id).await);
    }
}

pub(crate) fn builder(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Builder {
    let quick = Duration::from_millis(10);
    Builder::new(store)
        .clock(clock)
        .projection_options(ProjectionOptions {
            poll: quick,
            ..ProjectionOptions::default()
        })
        .saga_options(SagaOptions {
            poll: quick,
            checkpoint: quick,
            ..SagaOptions::default()
        })
}
