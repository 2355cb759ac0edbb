//! Runs an application's projections in this process.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use annals_core::{
    Clock, Position, ProjectionSpec, ProjectorFactory, RebuildError, Store, StoreError,
    StoreErrorKind,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{
    backoff::Backoff,
    batch::Folder,
    caught_up::{CaughtUpError, caught_up},
    inline::InlineWatch,
    options::{ProjectionOptions, RebuildOptions},
    progress::{Progress, RebuildSummary},
    rebuild::Rebuild,
    runner::Runner,
    shared_log::SharedLog,
    status::{ProjectionHealth, StatusBoard},
    tenure::Tenure,
};
use crate::builder::StartError;

/// The projections of an application, as far as this process runs and operates them.
///
/// Several processes may have the same projections on one store: each is run by one of them at a
/// time, and when that one ends another goes on.
#[derive(Debug)]
pub struct Projections {
    store: Arc<dyn Store>,
    /// The one reader of the log's end for all that follow it in this process.
    log: Arc<SharedLog>,
    clock: Arc<dyn Clock>,
    /// Names this process in what is stored; no two have the same.
    owner: String,
    factories: Vec<Arc<dyn ProjectorFactory>>,
    options: ProjectionOptions,
    health: Vec<watch::Receiver<ProjectionHealth>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

impl Projections {
    /// Registers projections, and has them follow the log from now on.
    ///
    /// Unless `following`, that is left to other processes; inline projections are part of every
    /// append all the same. The number tells this engine from all others on the store.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        number: Uuid,
        factories: Vec<Arc<dyn ProjectorFactory>>,
        options: ProjectionOptions,
        following: bool,
    ) -> Result<Self, StartError> {
        for factory in &factories {
            // A tool of a newer release must not tell the running one that its rows are outdated.
            let known = !following && store.projection(&factory.spec().name).await?.is_some();
            if !known {
                store.register(factory.spec(), clock.now()).await?;
            }
        }
        for factory in factories.iter().filter(|factory| factory.spec().inline) {
            factory.install_inline(&store).await?;
        }
        // The end of it, since ids may begin with the time.
        let [.., a, b, c, d] = number.into_bytes();
        let unique = u32::from_be_bytes([a, b, c, d]);
        let log = SharedLog::new(Arc::clone(&store), options.page_size);
        let mut projections = Self {
            store,
            log: Arc::new(log),
            clock,
            owner: format!("process {} ({unique:08x})", std::process::id()),
            factories,
            options,
            health: Vec::new(),
            tasks: Mutex::default(),
            stop: watch::Sender::new(false),
        };
        if following {
            projections.follow();
        }
        Ok(projections)
    }

    fn follow(&mut self) {
        let mut tasks = Vec::new();
        for factory in &self.factories {
            let (status, health) = StatusBoard::new(factory.spec());
            self.health.push(health);
            tasks.push(match factory.spec().inline {
                true => tokio::spawn(self.inline_watch(factory, status).run()),
                false => tokio::spawn(self.runner(factory, status).run()),
            });
        }
        self.tasks = Mutex::new(tasks);
    }

    fn inline_watch(
        &self,
        factory: &Arc<dyn ProjectorFactory>,
        status: StatusBoard,
    ) -> InlineWatch {
        InlineWatch {
            store: Arc::clone(&self.store),
            factory: Arc::clone(factory),
            status,
            stop: self.stop.subscribe(),
            poll: self.options.poll,
        }
    }

    fn runner(&self, factory: &Arc<dyn ProjectorFactory>, status: StatusBoard) -> Runner {
        Runner {
            store: Arc::clone(&self.store),
            log: Arc::clone(&self.log),
            factory: Arc::clone(factory),
            folder: self.folder(factory),
            options: self.options,
            has_begun: false,
            tenure: Tenure::new(
                Arc::clone(&self.store),
                &factory.spec().name,
                &self.owner,
                self.options,
                status.clone(),
            ),
            status,
            stop: self.stop.subscribe(),
            backoff: Backoff::of(&self.owner, &factory.spec().name),
        }
    }

    fn folder(&self, factory: &Arc<dyn ProjectorFactory>) -> Folder {
        Folder {
            projection: factory.spec().name.clone(),
            owner: self.owner.clone(),
            clock: Arc::clone(&self.clock),
            on_failure: factory.on_failure(),
        }
    }

    /// The reader of the log's end, for whoever else follows it.
    pub(crate) fn log(&self) -> &Arc<SharedLog> {
        &self.log
    }

    /// What names this process in what is stored.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// What the application's projections are.
    pub fn specs(&self) -> impl Iterator<Item = &ProjectionSpec> {
        self.factories.iter().map(|factory| factory.spec())
    }

    /// Waits until the rows of a projection include everything up to `position`.
    ///
    /// It may run in this process or in any other one on the same store.
    ///
    /// # Errors
    /// [`CaughtUpError::TimedOut`] when that takes longer than `timeout`, and at once when the
    /// projection stands still.
    pub async fn caught_up(
        &self,
        projection: &str,
        position: Position,
        timeout: Duration,
    ) -> Result<(), CaughtUpError> {
        let health = self
            .health
            .iter()
            .find(|health| health.borrow().projection == projection)
            .cloned();
        let poll = self.options.poll;
        caught_up(&*self.store, projection, health, position, timeout, poll).await
    }

    /// How the projections that run in this process are doing.
    #[must_use]
    pub fn health(&self) -> Vec<ProjectionHealth> {
        let health = self.health.iter();
        health.map(|health| health.borrow().clone()).collect()
    }

    /// Builds a projection's table anew beside the live one, and swaps it in.
    ///
    /// Reads and live updates go on meanwhile. When this fails, is stopped or is killed, the live
    /// table is as it was, and the next rebuild goes on from the last commit. Dropping the
    /// future stops the rebuild, and so does [`shutdown`](Self::shutdown).
    ///
    /// # Errors
    /// [`RebuildError::AlreadyRunning`] while another one is at it, which takes up to a lease's
    /// length to tell from one that was killed; [`RebuildError::Interrupted`] after a shutdown;
    /// [`RebuildError::Fold`] when an event can't be folded.
    pub async fn rebuild(
        &self,
        projection: &str,
        options: RebuildOptions,
        report: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<RebuildSummary, RebuildError> {
        let mut factories = self.factories.iter();
        let Some(factory) = factories.find(|factory| factory.spec().name == projection) else {
            return Err(RebuildError::NoSuchProjection {
                projection: projection.to_owned(),
            });
        };
        let (progress, mut news) = watch::channel(None);
        let (answer, mut answered) = oneshot::channel();
        let rebuild = Rebuild {
            store: Arc::clone(&self.store),
            factory: Arc::clone(factory),
            folder: self.folder(factory),
            options,
            progress,
            stop: self.stop.subscribe(),
        };
        // In a task of its own, so that it ends in order when this future is dropped.
        self.keep(tokio::spawn(async move {
            if let Err(Err(error)) = answer.send(rebuild.run().await) {
                tracing::info!(%error, "a rebuild that nobody waits for has ended");
            }
        }));
        loop {
            tokio::select! {
                biased;
                Ok(()) = news.changed() => {
                    let progress = *news.borrow_and_update();
                    progress.into_iter().for_each(&mut *report);
                }
                answer = &mut answered => return answer.unwrap_or_else(|_| Err(panicked())),
            }
        }
    }

    /// Whether [`shutdown`](Self::shutdown) has been called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    fn keep(&self, task: JoinHandle<()>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// Lets every projection and rebuild commit what it has folded, and stops them.
    ///
    /// A second call waits for nothing and does nothing.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a projection's task did not end by itself");
            }
        }
    }
}

impl Drop for Projections {
    /// Without a shutdown nobody waits, but everything stops all the same.
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn panicked() -> RebuildError {
    let doing = "rebuild a projection: its code panicked";
    StoreError::new(StoreErrorKind::Other, doing).into()
}
