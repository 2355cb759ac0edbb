//! Sagas in trouble, beside others that are not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use annals_core::{
    Append, AppendError, Appended, EventStore as _, MemoryStore, Store, StoreError, StoreErrorKind,
    saga::SagaStatus,
};
use annals_runtime::{App, SagaOptions};
use annals_testing::{
    clock::ManualClock,
    delegating::{Delegating, Hooks},
};
use async_trait::async_trait;

use crate::{
    accounts::{Account, AccountCommand, Transfer, transfer},
    bank::{PATIENCE, builder},
};

/// A store in which nothing can be appended to the account `broken`, until it is mended.
#[derive(Debug, Default)]
struct Broken {
    store: MemoryStore,
    mended: AtomicBool,
}

#[async_trait]
impl Hooks for Broken {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let mut streams = append.writes.iter().map(|write| write.stream.as_str());
        if streams.any(|stream| stream == "account-broken") && !self.mended.load(Ordering::SeqCst) {
            let error = StoreError::new(StoreErrorKind::Unavailable, "write there");
            return Err(AppendError::Store(error));
        }
        self.store.append(append).await
    }
}

/// No more sagas than this may wait.
const WAITING: usize = 4;
/// So many are in trouble.
const TROUBLED: usize = 5 * WAITING;

struct Bank {
    app: App,
    store: Arc<Delegating<Broken>>,
    clock: Arc<ManualClock>,
}

impl Bank {
    async fn open() -> Self {
        let store = Arc::new(Delegating(Broken::default()));
        let clock = Arc::<ManualClock>::default();
        let quick = Duration::from_millis(10);
        let builder = builder(store.clone(), clock.clone()).saga_options(SagaOptions {
            waiting: WAITING,
            poll: quick,
            checkpoint: quick,
            ..SagaOptions::default()
        });
        let app = builder.saga::<Transfer>().start().await.unwrap();
        Self { app, store, clock }
    }

    async fn tell(&self, account: &str, command: AccountCommand) {
        let done = self.app.execute::<Account>(&account.to_owned(), command);
        done.await.unwrap();
    }

    async fn start(&self, id: &str, transfer: Transfer) {
        self.app.start_saga(&id.to_owned(), transfer).await.unwrap();
    }

    async fn ended(&self, id: &str) -> SagaStatus {
        let id = id.to_owned();
        let ended = self.app.saga_ended::<Transfer>(&id, PATIENCE).await;
        ended.unwrap().status()
    }

    /// Starts more transfers to the account `broken` than may wait, and waits until all of them
    /// have come to grief.
    async fn trouble(&self) {
        for number in 0..TROUBLED {
            let id = format!("troubled-{number}");
            self.start(&id, transfer("a", "broken", 1)).await;
        }
        for number in 0..TROUBLED {
            let id = format!("troubled-{number}");
            loop {
                let saga = self.app.saga::<Transfer>(&id).await.unwrap().unwrap();
                if saga.outstanding().contains_key("credit") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let head = self.store.head().await.unwrap();
        let reached = async {
            while self.app.sagas().health()[0].position < head {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.expect("the log is not read while sagas are in trouble");
    }
}

#[tokio::test(start_paused = true)]
async fn sagas_in_trouble_keep_no_other_from_its_deadline_or_its_end() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.tell("frozen", AccountCommand::Freeze).await;
    bank.start("late", transfer("a", "frozen", 30)).await;
    bank.trouble().await;

    bank.start("well", transfer("a", "b", 30)).await;
    assert_eq!(bank.ended("well").await, SagaStatus::Completed);
    bank.clock.advance(Duration::from_secs(31));
    assert_eq!(bank.ended("late").await, SagaStatus::Compensated);
}

#[tokio::test(start_paused = true)]
async fn sagas_in_trouble_go_on_when_it_is_over_however_many_there_are() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.trouble().await;
    let health = bank.app.sagas().health().remove(0);
    let problem = health.problem.unwrap();
    assert!(problem.starts_with("saga `troubled-"), "{problem}");

    bank.store.mended.store(true, Ordering::SeqCst);
    for number in 0..TROUBLED {
        let ended = bank.ended(&format!("troubled-{number}")).await;
        assert_eq!(ended, SagaStatus::Completed);
    }
    while bank.app.sagas().health()[0].problem.is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
