//! A node's connection to the store, which fails, delays, lies about outcomes, and breaks for good.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use annals_core::{
    Append, AppendError, Appended, Commit, CommitError, Direction, EventStore as _, LogPage,
    LogRead, MemoryStore, Position, ProjectionStore as _, Store, StoreError, StoreErrorKind,
};
use annals_testing::{
    delegating::{Delegating, Hooks},
    seed::Seed,
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

/// What is broken on purpose, to see that the checks notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// The store forgets command ids, so that a command that is sent twice is carried out twice.
    ForgottenCommandIds,
    /// A command's rejection is recorded under no id, so that the command may still be carried out.
    UnconsumedRejections,
}

/// How a node's operations fail, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
    /// How often waiting for the log or reading it goes as it may and seldom does.
    pub(crate) odd: usize,
    /// The operation at which the node dies, and whether it is carried out before.
    pub(crate) death: Option<(u64, bool)>,
    pub(crate) planted: Planted,
}

/// The store as one node sees it.
#[derive(Debug)]
pub(crate) struct Node {
    store: Arc<MemoryStore>,
    state: Mutex<State>,
    dead: Notify,
}

#[derive(Debug)]
struct State {
    seed: Seed,
    faults: Faults,
    operations: u64,
    oddities: Oddities,
    is_dead: bool,
}

/// How often waiting for the log, and reading it, went in each of the odd ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Oddities {
    /// It was awake for nothing, as after being woken twice.
    pub(crate) for_nothing: u64,
    /// It was woken long after there was something to read.
    pub(crate) late: u64,
    /// A page was old when it arrived.
    pub(crate) old: u64,
    /// A page was cut short.
    pub(crate) short: u64,
}

impl Oddities {
    pub(crate) fn add(&mut self, others: Self) {
        self.for_nothing += others.for_nothing;
        self.late += others.late;
        self.old += others.old;
        self.short += others.short;
    }
}

/// What becomes of an operation.
enum Fate {
    Done,
    Refused,
    /// Done, but the answer is lost.
    Unknown,
    DeadBefore,
    DeadAfter,
}

fn unreachable_now() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "reach the store")
}

impl Node {
    pub(crate) fn new(store: Arc<MemoryStore>, seed: u64, faults: Faults) -> Arc<Delegating<Self>> {
        let state = State {
            seed: Seed::new(seed),
            faults,
            operations: 0,
            oddities: Oddities::default(),
            is_dead: false,
        };
        Arc::new(Delegating(Self {
            store,
            state: Mutex::new(state),
            dead: Notify::new(),
        }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing gets through.
    pub(crate) fn kill(&self) {
        self.state().is_dead = true;
        self.dead.notify_one();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Returns when the node has died.
    pub(crate) async fn died(&self) {
        while !self.is_dead() {
            self.dead.notified().await;
        }
    }

    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    pub(crate) fn oddities(&self) -> Oddities {
        self.state().oddities
    }

    /// One of two ways of going oddly, or none; with how long that takes.
    fn oddity(&self) -> Option<(bool, Duration)> {
        let mut state = self.state();
        let odd = state.faults.odd;
        if odd == 0 || !state.seed.chance(odd, 100) {
            return None;
        }
        let which = state.seed.chance(1, 2);
        let millis = u64::try_from(state.seed.below(5_000)).unwrap();
        Some((which, Duration::from_millis(millis)))
    }

    fn note(&self, which: impl Fn(&mut Oddities) -> &mut u64) {
        *which(&mut self.state().oddities) += 1;
    }

    fn fate(&self) -> (Fate, usize) {
        let mut state = self.state();
        if state.is_dead {
            return (Fate::DeadBefore, 0);
        }
        state.operations += 1;
        let delay = state.seed.below(4);
        let dice = state.seed.below(100);
        let Faults {
            refused,
            unknown,
            death,
            ..
        } = state.faults;
        let fate = match death {
            Some((at, after)) if at == state.operations => match after {
                true => Fate::DeadAfter,
                false => Fate::DeadBefore,
            },
            _ if dice < refused => Fate::Refused,
            _ if dice < refused + unknown => Fate::Unknown,
            _ => Fate::Done,
        };
        (fate, delay)
    }

    /// Carries an operation out, or not, as fate has it.
    async fn by_fate<T, E>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
        refused: impl Fn(StoreError) -> E,
        unknown: impl Fn(StoreError) -> E,
    ) -> Result<T, E> {
        let (fate, delay) = self.fate();
        for _ in 0..delay {
            tokio::task::yield_now().await;
        }
        let killed_meanwhile = self.is_dead() && !matches!(fate, Fate::DeadAfter);
        match fate {
            _ if killed_meanwhile => self.die().await,
            Fate::Done => operation.await,
            Fate::Refused => Err(refused(unreachable_now())),
            Fate::Unknown => {
                operation.await?;
                Err(unknown(unreachable_now()))
            }
            Fate::DeadBefore => self.die().await,
            Fate::DeadAfter => {
                let done = operation.await;
                drop(done);
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.kill();
        std::future::pending().await
    }

    fn plant(&self, mut append: Append) -> Append {
        let to_saga = append
            .writes
            .iter()
            .any(|write| write.stream.category() == "saga");
        match self.state().faults.planted {
            Planted::ForgottenCommandIds if !to_saga => append.id = None,
            Planted::UnconsumedRejections if to_saga => append.id = None,
            _ => {}
        }
        append
    }
}

#[async_trait]
impl Hooks for Node {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    async fn through<T: Send>(
        &self,
        operation: BoxFuture<'_, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.by_fate(operation, |error| error, |error| error).await
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let append = self.store.append(self.plant(append));
        self.by_fate(append, AppendError::Store, AppendError::Unknown)
            .await
    }

    /// Returns at once though there is nothing new, or long after there was.
    async fn wait_beyond(&self, position: Position) -> Result<Position, StoreError> {
        match self.oddity() {
            None => self.through(self.store.wait_beyond(position)).await,
            Some((true, _)) => {
                self.note(|oddities| &mut oddities.for_nothing);
                self.through(self.store.head()).await
            }
            Some((false, delay)) => {
                let head = self.through(self.store.wait_beyond(position)).await?;
                self.note(|oddities| &mut oddities.late);
                tokio::time::sleep(delay).await;
                Ok(head)
            }
        }
    }

    /// Answers what was there a while ago, or the beginning of it.
    async fn read_log(&self, read: LogRead) -> Result<LogPage, StoreError> {
        let forwards = read.direction == Direction::Forwards;
        let page = self.through(self.store.read_log(read)).await;
        let (mut page, oddity) = (page?, self.oddity());
        match oddity {
            Some((true, delay)) => {
                self.note(|oddities| &mut oddities.old);
                tokio::time::sleep(delay).await;
            }
            // A page that is cut short still has an event, or it would be the end of the log.
            Some((false, _)) if forwards && page.events.len() > 1 => {
                let left = 1 + self.state().seed.below(page.events.len() - 1);
                page.events.truncate(left);
                page.scanned_to = page.events[left - 1].position;
                page.at_end = false;
                self.note(|oddities| &mut oddities.short);
            }
            _ => {}
        }
        Ok(page)
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        let committed = self.store.commit(commit);
        self.by_fate(committed, CommitError::Store, CommitError::Store)
            .await
    }
}
