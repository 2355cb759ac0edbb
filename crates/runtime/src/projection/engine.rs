//! Runs all projections of an application in this process.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use annals_core::{
    Clock, FoldError, Position, ProjectionState, ProjectorFactory, Store, StoreError,
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    backoff::Backoff,
    batch::Folder,
    caught_up::{CaughtUpError, caught_up},
    inline::InlineInstaller,
    options::ProjectionOptions,
    runner::Runner,
    shared_log::SharedLog,
    status::{ProjectionHealth, StatusBoard},
};

/// The projections that run in this process.
///
/// Several processes may run the same projections on one store: each event still counts once,
/// and when one process ends another goes on.
#[derive(Debug)]
pub struct Projections {
    store: Arc<dyn Store>,
    options: ProjectionOptions,
    health: Vec<watch::Receiver<ProjectionHealth>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

/// Why the projections were not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartProjectionsError {
    /// Two projections have one name.
    #[error("two projections are called `{projection}`; give one of them another table or name")]
    Duplicate {
        /// The name.
        projection: String,
    },
    /// The store can't take in a projection.
    #[error("failed to register projection `{projection}`")]
    Register {
        /// The projection.
        projection: String,
        /// Why.
        source: StoreError,
    },
    /// An inline projection can't take in what it has missed.
    #[error("failed to install inline projection `{projection}`")]
    Inline {
        /// The projection.
        projection: String,
        /// Why.
        source: FoldError,
    },
}

impl Projections {
    /// Registers projections, and has them follow the log from now on.
    ///
    /// `owner` names this process in what is stored; no two may have the same.
    ///
    /// # Errors
    /// When two have one name, or the store can't take one in.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        owner: String,
        factories: Vec<Arc<dyn ProjectorFactory>>,
        options: ProjectionOptions,
    ) -> Result<Self, StartProjectionsError> {
        let states = register(&*store, &*clock, &factories).await?;
        let log = Arc::new(SharedLog::new(Arc::clone(&store), options.page_size));
        let (stop, stopped) = watch::channel(false);
        let mut health = Vec::new();
        let mut inline = Vec::new();
        let mut runners = Vec::new();
        for (factory, state) in factories.into_iter().zip(states) {
            let spec = factory.spec();
            let (status, receiver) = StatusBoard::new(&spec.name);
            health.push(receiver);
            if spec.inline {
                let installer = InlineInstaller {
                    store: Arc::clone(&store),
                    poll: options.poll,
                    status,
                    stop: stopped.clone(),
                    factory,
                    installed: false,
                };
                inline.push((installer, state));
                continue;
            }
            runners.push(Runner {
                store: Arc::clone(&store),
                log: Arc::clone(&log),
                folder: Folder {
                    projection: spec.name.clone(),
                    owner: owner.clone(),
                    clock: Arc::clone(&clock),
                    on_failure: factory.on_failure(),
                },
                options: options.clone(),
                status,
                stop: stopped.clone(),
                backoff: Backoff::new((&owner, &spec.name)),
                factory,
            });
        }
        let mut tasks = Vec::new();
        for (mut installer, state) in inline {
            if state == ProjectionState::Running {
                installer.install().await?;
            }
            tasks.push(tokio::spawn(installer.run()));
        }
        tasks.extend(runners.into_iter().map(|runner| tokio::spawn(runner.run())));
        Ok(Self {
            store,
            options,
            health,
            tasks: Mutex::new(tasks),
            stop,
        })
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

    /// How the projections of this process are doing.
    #[must_use]
    pub fn health(&self) -> Vec<ProjectionHealth> {
        let health = self.health.iter();
        health.map(|health| health.borrow().clone()).collect()
    }

    /// Lets every projection commit what it has folded, and stops them.
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

async fn register(
    store: &dyn Store,
    clock: &dyn Clock,
    factories: &[Arc<dyn ProjectorFactory>],
) -> Result<Vec<ProjectionState>, StartProjectionsError> {
    let mut names = HashSet::new();
    for factory in factories {
        let projection = factory.spec().name.clone();
        if !names.insert(projection.clone()) {
            return Err(StartProjectionsError::Duplicate { projection });
        }
    }
    let mut states = Vec::new();
    for factory in factories {
        let spec = factory.spec();
        let record = store.register(spec, clock.now()).await.map_err(|source| {
            StartProjectionsError::Register {
                projection: spec.name.clone(),
                source,
            }
        })?;
        states.push(record.state);
    }
    Ok(states)
}
