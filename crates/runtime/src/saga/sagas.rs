//! An application's sagas: running them, and the operator's view.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use annals_core::{
    Clock, IdSource, ProjectionSpec, Store,
    saga::{Instance, Operation, ProcessManager, SagaStatus, saga_stream},
};
use dashmap::DashMap;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    error::{SagaError, WaitError},
    journal::{Journal, exists},
    kind::{Running, SagaKind, runner_name},
    listing::{self, SagaQuery},
    operate::Operate,
    options::SagaOptions,
    read_models::SagaOverview,
    status::{SagaBoard, SagaHealth},
    view::SagaView,
};
use crate::{builder::StartError, command::Commands, projection::SharedLog};

/// The sagas of an application, as far as this process runs and operates them.
#[derive(Debug)]
pub struct Sagas {
    kinds: Vec<Arc<dyn SagaKind>>,
    journal: Journal,
    options: SagaOptions,
    boards: Vec<SagaBoard>,
    endings: Arc<Endings>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

/// What all sagas work with.
pub(crate) struct SagaParts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) log: Arc<SharedLog>,
    /// Names this process in what is stored.
    pub(crate) owner: String,
}

impl Sagas {
    /// Registers the kinds of sagas, and runs them unless that is left to other processes.
    pub(crate) async fn start(
        kinds: Vec<Arc<dyn SagaKind>>,
        parts: SagaParts,
        options: SagaOptions,
        following: bool,
    ) -> Result<Self, StartError> {
        for kind in &kinds {
            let spec = ProjectionSpec {
                name: runner_name(kind.name()),
                fingerprint: "saga".to_owned(),
                table: None,
                inline: false,
            };
            parts.store.register(&spec, parts.clock.now()).await?;
        }
        let mut sagas = Self {
            kinds,
            journal: Journal {
                store: parts.store,
                clock: parts.clock,
                ids: parts.ids,
                commands: parts.commands,
                passes_over: false,
            },
            options,
            boards: Vec::new(),
            endings: Arc::default(),
            tasks: Mutex::default(),
            stop: watch::Sender::new(false),
        };
        if following {
            sagas.run(&parts.log, &parts.owner);
        }
        Ok(sagas)
    }

    fn run(&mut self, log: &Arc<SharedLog>, owner: &str) {
        let mut tasks = Vec::new();
        for kind in &self.kinds {
            let board = SagaBoard::new(kind.name());
            self.boards.push(board.clone());
            tasks.push(kind.run(Running {
                journal: self.journal.clone(),
                log: Arc::clone(log),
                owner: owner.to_owned(),
                options: self.options,
                board,
                endings: Arc::clone(&self.endings),
                stop: self.stop.subscribe(),
            }));
        }
        self.tasks = Mutex::new(tasks);
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn has(&self, saga: &str) -> bool {
        self.kinds.iter().any(|kind| kind.name() == saga)
    }

    /// What kinds of sagas the application has.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.iter().map(|kind| kind.name())
    }

    /// How the kinds of sagas that run in this process are doing.
    #[must_use]
    pub fn health(&self) -> Vec<SagaHealth> {
        self.boards.iter().map(SagaBoard::health).collect()
    }

    /// A saga as its stream tells it.
    pub(crate) async fn load<P: ProcessManager>(
        &self,
        id: &str,
    ) -> Result<Option<Instance<P>>, SagaError> {
        let stream = saga_stream(P::NAME, id)?;
        let instance = self.journal.load(&stream).await?;
        Ok(Some(instance).filter(exists))
    }

    /// Waits until a saga has ended or is stuck.
    pub(crate) async fn wait<P: ProcessManager>(
        &self,
        id: &str,
        timeout: Duration,
    ) -> Result<Instance<P>, WaitError> {
        // None where it lies beyond what an instant can say: then there is no end to the waiting.
        let deadline = Instant::now().checked_add(timeout);
        let ending = self.endings.of(P::NAME, id);
        loop {
            let notified = ending.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let instance = self.load::<P>(id).await?.ok_or(WaitError::NotFound)?;
            let status = instance.status();
            if status.is_final() || status == SagaStatus::Stuck {
                return Ok(instance);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let waited = timeout;
                return Err(WaitError::TimedOut { status, waited });
            }
            // A process that does not run the saga is not told.
            let soon = Instant::now() + self.options.poll * 2;
            let look_again = deadline.map_or(soon, |deadline| soon.min(deadline));
            tokio::select! {
                biased;
                () = notified => {}
                () = tokio::time::sleep_until(look_again) => {}
            }
        }
    }

    /// The sagas that a query is about, by kind and id.
    ///
    /// # Errors
    /// When the store fails, or a row does not fit.
    pub async fn list(&self, query: &SagaQuery) -> Result<Vec<SagaOverview>, SagaError> {
        listing::list(&*self.journal.store, query).await
    }

    /// One saga with all that happened to it, if it is there.
    ///
    /// # Errors
    /// When the application has no such kind, or the store fails.
    pub async fn show(&self, saga: &str, id: &str) -> Result<Option<SagaView>, SagaError> {
        self.kind(saga)?.view(&self.journal, id).await
    }

    /// Lets a stuck saga try again.
    ///
    /// It fails when the saga is not stuck, would be stuck again at once, as while this release can't
    /// replay it, or the store fails.
    pub fn retry(&self, saga: &str, id: &str) -> Operate<'_> {
        Operate::new(self, saga, id, Operation::Retry)
    }

    /// Gives a saga up as it is, for a reason. What it has sent is taken back where possible;
    /// what it has done stays done. That needs nothing of the saga's own code, so it also ends one
    /// that this release can't replay.
    ///
    /// It fails when the saga has ended, or the store fails.
    pub fn abandon(&self, saga: &str, id: &str, reason: &str) -> Operate<'_> {
        let operation = Operation::Abandon {
            reason: reason.to_owned(),
        };
        Operate::new(self, saga, id, operation)
    }

    pub(super) fn kind(&self, saga: &str) -> Result<&Arc<dyn SagaKind>, SagaError> {
        let kind = self.kinds.iter().find(|kind| kind.name() == saga);
        kind.ok_or_else(|| SagaError::UnknownKind {
            saga: saga.to_owned(),
            known: match self
                .kinds()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
            {
                names if names.is_empty() => "none".to_owned(),
                names => names.join(", "),
            },
        })
    }

    /// Lets what is under way finish, and stops. A second call does nothing.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a saga runner did not end by itself");
            }
        }
    }
}

impl Drop for Sagas {
    /// Without a shutdown nobody waits, but everything stops all the same.
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Wakes those who wait for the end of a saga.
#[derive(Debug, Default)]
pub(super) struct Endings(DashMap<(&'static str, String), Arc<Notify>>);

/// Somebody waits for the end of one saga.
pub(super) struct Ending<'a> {
    endings: &'a Endings,
    key: (&'static str, String),
    notify: Arc<Notify>,
}

impl Endings {
    fn of(&self, saga: &'static str, id: &str) -> Ending<'_> {
        let key = (saga, id.to_owned());
        let notify = Arc::clone(&self.0.entry(key.clone()).or_default());
        Ending {
            endings: self,
            key,
            notify,
        }
    }

    pub(super) fn notify(&self, saga: &'static str, id: &str) {
        if self.0.is_empty() {
            return;
        }
        if let Some(notify) = self.0.get(&(saga, id.to_owned())) {
            notify.notify_waiters();
        }
    }
}

impl Ending<'_> {
    fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        // Two references: this one, and the map's.
        let last = |_: &_, notify: &Arc<Notify>| Arc::strong_count(notify) <= 2;
        self.endings.0.remove_if(&self.key, last);
    }
}
