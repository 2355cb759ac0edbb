//! How a store presents itself to the suite.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use annals_core::Store;
use async_trait::async_trait;

/// A scenario that takes longer than this has hung.
const DEADLINE: Duration = Duration::from_secs(180);

/// Storage for one scenario, and how to open it.
#[async_trait]
pub trait Fixture: Send + Sync + Sized + 'static {
    /// Whether [`open`](Self::open) gives a second, independent handle, as another process
    /// would have; then what was written must also be there after all handles were closed. A
    /// store that lives in one handle says `false` and answers the same handle again.
    const REOPENS: bool = true;

    /// Fresh and empty storage that goes when the fixture is dropped.
    async fn create() -> Self;

    /// Opens the storage; also while another handle is open.
    async fn open(&self) -> Arc<dyn Store>;

    /// How hard the random scenarios try.
    fn effort() -> Effort {
        Effort::default()
    }
}

/// How hard the random scenarios try; fewer rounds for stores that sync to slow disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Cases of each property.
    pub cases: u32,
    /// The most operations of one case.
    pub operations: usize,
    /// Rounds of each race.
    pub rounds: usize,
    /// Events that each writer of the tailing scenario appends.
    pub tail_events: usize,
    /// Appends that are cancelled.
    pub cancelled: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            cases: 64,
            operations: 40,
            rounds: 40,
            tail_events: 100,
            cancelled: 300,
        }
    }
}

/// The store that a scenario tests.
pub struct Subject {
    /// A handle that is open from the start.
    pub store: Arc<dyn Store>,
    /// See [`Fixture::REOPENS`].
    pub reopens: bool,
    /// See [`Fixture::effort`].
    pub effort: Effort,
    storage: Box<dyn Open>,
}

#[async_trait]
trait Open: Send + Sync {
    async fn open(&self) -> Arc<dyn Store>;
}

struct Storage<F>(F);

#[async_trait]
impl<F: Fixture> Open for Storage<F> {
    async fn open(&self) -> Arc<dyn Store> {
        self.0.open().await
    }
}

impl Subject {
    /// Fresh storage, opened.
    pub async fn create<F: Fixture>() -> Self {
        let fixture = F::create().await;
        Self {
            store: fixture.open().await,
            reopens: F::REOPENS,
            effort: F::effort(),
            storage: Box::new(Storage(fixture)),
        }
    }

    /// Another handle on the same storage; the same one where the store has only one.
    pub async fn open_again(&self) -> Arc<dyn Store> {
        self.storage.open().await
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("store", &self.store)
            .field("reopens", &self.reopens)
            .finish_non_exhaustive()
    }
}

/// Runs one scenario on fresh storage, on several threads and with a deadline; what
/// [`conformance!`](crate::conformance!) calls.
///
/// # Panics
/// When the store fails the scenario.
pub fn run<F: Fixture, S: Future<Output = ()>>(scenario: impl FnOnce(Subject) -> S) {
    in_time(async { scenario(Subject::create::<F>().await).await });
}

/// Runs to the end, on several threads and with a deadline.
pub(super) fn in_time(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("the test's runtime starts");
    runtime.block_on(async {
        let finished = tokio::time::timeout(DEADLINE, scenario).await;
        finished.expect("the scenario ends before the deadline");
    });
}
