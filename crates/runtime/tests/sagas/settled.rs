//! Appends whose answers are lost: they are settled, and whoever was first is told so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use annals_core::{
    Append, AppendError, Appended, CommandId, EventStore as _, MemoryStore, Store, StoreError,
    StoreErrorKind,
};
use annals_runtime::{App, Executed};
use annals_testing::{
    clock::ManualClock,
    delegating::{Delegating, Hooks},
};
use async_trait::async_trait;

use crate::{
    accounts::{Account, AccountCommand, Transfer, transfer},
    bank::builder,
};

/// Carries every append out; the answer is lost when that is wanted, once.
#[derive(Debug, Default)]
struct Forgetful {
    store: MemoryStore,
    forgets: AtomicBool,
}

#[async_trait]
impl Hooks for Forgetful {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let appended = self.store.append(append).await?;
        match self.forgets.swap(false, Ordering::SeqCst) {
            false => Ok(appended),
            true => {
                let lost = StoreError::new(StoreErrorKind::Unavailable, "hear the answer");
                Err(AppendError::Unknown(lost))
            }
        }
    }
}

struct Bank {
    app: App,
    store: Arc<Delegating<Forgetful>>,
}

impl Bank {
    async fn open() -> Self {
        let store = Arc::new(Delegating(Forgetful::default()));
        let builder = builder(store.clone(), Arc::new(ManualClock::default()));
        // Nothing runs beside the test, so that what is lost is the answer that it waits for.
        let app = builder.saga::<Transfer>().connect().await.unwrap();
        Self { app, store }
    }

    fn forget(&self) {
        self.store.forgets.store(true, Ordering::SeqCst);
    }

    async fn deposit(&self, id: Option<CommandId>) -> Executed<Account> {
        let account = "a".to_owned();
        let deposit = AccountCommand::Deposit { cents: 1 };
        let command = self.app.execute::<Account>(&account, deposit);
        match id {
            Some(id) => command.command_id(id).await.unwrap(),
            None => command.await.unwrap(),
        }
    }

    async fn start(&self, id: &str, command_id: Option<CommandId>) -> bool {
        let id = id.to_owned();
        let starting = self.app.start_saga(&id, transfer("a", "b", 1));
        let started = match command_id {
            Some(id) => starting.command_id(id).await,
            None => starting.await,
        };
        started.unwrap().repeated
    }
}

fn id(text: &str) -> CommandId {
    CommandId::from_key("test", text)
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_answer_was_lost_is_no_repetition_of_itself() {
    let bank = Bank::open().await;
    for (command_id, cents) in [(None, 1), (Some(id("k")), 2)] {
        bank.forget();
        let done = bank.deposit(command_id).await;
        assert!(!done.repeated, "{command_id:?}");
        assert_eq!(done.state.cents, cents);
    }
    let head = bank.store.head().await.unwrap();
    assert_eq!(head.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_whose_answer_was_lost_is_one_all_the_same() {
    let bank = Bank::open().await;
    let first = bank.deposit(Some(id("k"))).await;
    bank.deposit(None).await;
    bank.forget();
    let again = bank.deposit(Some(id("k"))).await;
    assert!(again.repeated && !first.repeated);
    assert_eq!((again.version, again.state.cents), (first.version, 1));
}

#[tokio::test(start_paused = true)]
async fn a_saga_whose_start_was_answered_late_was_not_there_before() {
    let bank = Bank::open().await;
    for (number, command_id) in [("1", None), ("2", Some(id("k")))] {
        bank.forget();
        assert!(!bank.start(number, command_id).await, "{number}");
        bank.forget();
        assert!(bank.start(number, command_id).await, "{number}");
    }
}
