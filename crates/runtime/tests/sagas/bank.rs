//! An application with accounts and transfers between them.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Clock, MemoryStore, Store,
    saga::{Instance, Linear},
};
use annals_runtime::{App, Builder, ProjectionOptions, SagaOptions};
use annals_testing::clock::ManualClock;

use crate::accounts::{Account, AccountCommand, Transfer};

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

/// Waits until something holds.
pub(crate) async fn until(holds: impl AsyncFn() -> bool) {
    let holds = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let holds = tokio::time::timeout(PATIENCE, holds);
    holds.await.expect("it never comes about");
}
