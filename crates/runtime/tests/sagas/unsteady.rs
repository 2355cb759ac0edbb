//! An application on a store that fails for one account, and takes its time for another.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Append, AppendError, Appended, EventStore as _, MemoryStore, Store, StoreError, StoreErrorKind,
    saga::{Instance, Linear, Saga},
};
use annals_runtime::{App, Builder, SagaOptions};
use annals_testing::{
    clock::ManualClock,
    delegating::{Delegating, Hooks},
};
use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    accounts::{Account, AccountCommand},
    bank::{PATIENCE, builder},
};

/// A store that can't append to the account `broken` until it is mended, and that appends to the
/// account `slow` only once it is hurried.
#[derive(Debug, Default)]
pub(crate) struct Unsteady {
    store: Arc<MemoryStore>,
    mended: watch::Sender<bool>,
    hurried: watch::Sender<bool>,
    /// How many appends to `slow` have begun.
    slow: watch::Sender<usize>,
    /// How many of them have been decided, one way or the other.
    decided: watch::Sender<usize>,
}

#[async_trait]
impl Hooks for Unsteady {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let to = |account: &str| {
            let mut streams = append.writes.iter().map(|write| write.stream.as_str());
            streams.any(|stream| stream == account)
        };
        if to("account-broken") && !*self.mended.borrow() {
            let error = StoreError::new(StoreErrorKind::Unavailable, "write there");
            return Err(AppendError::Store(error));
        }
        if to("account-slow") {
            self.slow.send_modify(|begun| *begun += 1);
            let mut hurried = self.hurried.subscribe();
            let (store, decided) = (Arc::clone(&self.store), self.decided.clone());
            // A server goes on though nobody waits for its answer any more.
            let appending = tokio::spawn(async move {
                hurried.wait_for(|hurried| *hurried).await.unwrap();
                let appended = store.append(append).await;
                decided.send_modify(|decided| *decided += 1);
                appended
            });
            return appending.await.unwrap();
        }
        self.store.append(append).await
    }
}

pub(crate) struct Bank {
    pub(crate) app: App,
    pub(crate) store: Arc<Delegating<Unsteady>>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Bank {
    /// An application in which no more than so many sagas may wait.
    pub(crate) async fn open(waiting: usize, with: impl FnOnce(Builder) -> Builder) -> Self {
        let store = Arc::new(Delegating(Unsteady::default()));
        let clock = Arc::<ManualClock>::default();
        let quick = Duration::from_millis(10);
        let builder = builder(store.clone(), clock.clone()).saga_options(SagaOptions {
            waiting,
            poll: quick,
            checkpoint: quick,
            ..SagaOptions::default()
        });
        let app = with(builder).start().await.unwrap();
        Self { app, store, clock }
    }

    pub(crate) async fn tell(&self, account: &str, command: AccountCommand) {
        let account = account.to_owned();
        let told = self.app.execute::<Account>(&account, command);
        told.await.unwrap();
    }

    pub(crate) async fn cents(&self, account: &str) -> i64 {
        let loaded = self.app.load::<Account>(&account.to_owned()).await.unwrap();
        loaded.state.cents
    }

    pub(crate) async fn start<S: Saga<Id = String>>(&self, id: &str, saga: S) {
        self.app.start_saga(&id.to_owned(), saga).await.unwrap();
    }

    pub(crate) async fn ended<S: Saga<Id = String>>(&self, id: &str) -> Instance<Linear<S>> {
        let id = id.to_owned();
        self.app.saga_ended::<S>(&id, PATIENCE).await.unwrap()
    }

    pub(crate) async fn saga<S: Saga<Id = String>>(&self, id: &str) -> Instance<Linear<S>> {
        let found = self.app.saga::<S>(&id.to_owned()).await.unwrap();
        found.unwrap()
    }

    /// Waits until a saga stands in a certain way.
    pub(crate) async fn until<S: Saga<Id = String> + std::fmt::Debug>(
        &self,
        id: &str,
        stands: impl Fn(&Instance<Linear<S>>) -> bool,
    ) {
        let stood = async {
            while !stands(&self.saga::<S>(id).await) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, stood).await.is_err() {
            panic!("it stands otherwise: {:?}", self.saga::<S>(id).await);
        }
    }

    /// Waits until the whole log has been taken in.
    pub(crate) async fn until_read(&self) {
        let head = self.store.head().await.unwrap();
        let read = async {
            while self.app.sagas().health()[0].position < head {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.expect("the log is not read");
    }

    pub(crate) fn mend(&self) {
        self.store.mended.send_replace(true);
    }

    /// Waits until somebody waits for the account `slow`.
    pub(crate) async fn until_slow(&self) {
        let mut slow = self.store.slow.subscribe();
        let begun = slow.wait_for(|begun| *begun > 0);
        let begun = tokio::time::timeout(PATIENCE, begun).await;
        begun.expect("nothing is slow").unwrap();
    }

    pub(crate) fn hurry(&self) {
        self.store.hurried.send_replace(true);
    }

    /// Waits until the store has decided about the one append that it was slow with.
    pub(crate) async fn until_decided(&self) {
        let mut decided = self.store.decided.subscribe();
        let one = decided.wait_for(|decided| *decided == 1);
        let one = tokio::time::timeout(PATIENCE, one).await;
        one.expect("nothing was decided").unwrap();
    }
}
