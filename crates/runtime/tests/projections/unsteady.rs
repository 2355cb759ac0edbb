//! A store whose commits fail now and then, also after they were done, and whose pages differ in
//! size.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use annals_core::{
    Commit, CommitError, EventStore as _, LogPage, LogRead, MemoryStore, ProjectionStore as _,
    Store, StoreError, StoreErrorKind,
};
use annals_runtime::{App, Builder, RebuildOptions};
use annals_testing::delegating::{Delegating, Hooks};
use async_trait::async_trait;

use crate::bank::{self, Balance, SOON};

/// Every third commit fails: by turns before and after it is done.
#[derive(Debug)]
struct Unsteady {
    store: Arc<MemoryStore>,
    commits: AtomicU64,
    reads: AtomicU64,
}

fn unreachable_now() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "reach the store")
}

#[async_trait]
impl Hooks for Unsteady {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    async fn read_log(&self, read: LogRead) -> Result<LogPage, StoreError> {
        match self.reads.fetch_add(1, Ordering::Relaxed) % 5 {
            4 => Err(unreachable_now()),
            // As a store answers whose events are large.
            1 | 2 => {
                let limit = read.limit.min(3);
                self.store.read_log(LogRead { limit, ..read }).await
            }
            _ => self.store.read_log(read).await,
        }
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        match self.commits.fetch_add(1, Ordering::Relaxed) % 6 {
            2 => Err(unreachable_now().into()),
            5 => {
                self.store.commit(commit).await?;
                Err(unreachable_now().into())
            }
            _ => self.store.commit(commit).await,
        }
    }
}

async fn running(store: &Arc<MemoryStore>) -> App {
    let unsteady = Unsteady {
        store: Arc::clone(store),
        commits: AtomicU64::new(0),
        reads: AtomicU64::new(0),
    };
    let builder = Builder::new(Arc::new(Delegating(unsteady))).projection::<Balance>();
    builder.start().await.unwrap()
}

#[tokio::test]
async fn a_projection_on_an_unsteady_store_counts_each_event_once() {
    let store = bank::store();
    let app = running(&store).await;
    for _ in 0..30 {
        let position = bank::deposit(&store, "alice", 1).await;
        let caught_up = app.caught_up_within::<Balance>(position, SOON);
        caught_up.await.unwrap();
    }
    assert_eq!(bank::balances(&app).await["alice"], (30, 30));
}

#[tokio::test]
async fn a_rebuild_on_an_unsteady_store_counts_each_event_once() {
    let store = bank::store();
    let app = running(&store).await;
    let entries: Vec<_> = (0..200).map(|_| ("alice", Some(1))).collect();
    let head = bank::append(&store, &entries).await;
    let caught_up = app.caught_up_within::<Balance>(head, SOON);
    caught_up.await.unwrap();
    let options = RebuildOptions {
        page_size: 10,
        flush_events: 10,
        parallel: 2,
        ..RebuildOptions::default()
    };
    let mut unseen = |_| {};
    let rebuild = app.projections().rebuild("balance", options, &mut unseen);
    assert_eq!(rebuild.await.unwrap().checkpoint, head);
    assert_eq!(bank::balances(&app).await["alice"], (200, 200));
}
