//! Wiring: which projections and snapshots an application has, on which store.

use std::{collections::HashSet, fmt, sync::Arc};

use annals_core::{
    Aggregate, Clock, FoldError, IdSource, InvalidName, Projection, ProjectorFactory, Store,
    StoreError,
    saga::{Linear, ProcessManager, Saga},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    app::App,
    command::{CommandOptions, Commands, SnapshotPolicies, SnapshotPolicyError},
    projection::{ProjectionOptions, Projections, ReadModelFactory},
    saga::{Kind, SagaDeadline, SagaKind, SagaOptions, SagaOverview, SagaParts, Sagas},
    system::{RandomIds, SystemClock},
};

/// Wires an application; [`start`](Self::start) sets it going.
///
/// Errors of the wiring, such as two projections with one name, are kept until then.
#[must_use = "nothing happens until it is started"]
pub struct Builder {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    projections: Vec<Arc<dyn ProjectorFactory>>,
    sagas: Vec<Arc<dyn SagaKind>>,
    snapshots: SnapshotPolicies,
    commands: CommandOptions,
    projecting: ProjectionOptions,
    saga_options: SagaOptions,
    snapshot_error: Option<SnapshotPolicyError>,
}

impl Builder {
    /// An application on this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds::default()),
            projections: Vec::new(),
            sagas: Vec::new(),
            snapshots: SnapshotPolicies::default(),
            commands: CommandOptions::default(),
            projecting: ProjectionOptions::default(),
            saga_options: SagaOptions::default(),
            snapshot_error: None,
        }
    }

    /// Adds a read model that follows the log.
    pub fn projection<P: Projection>(self) -> Self {
        self.projector(ReadModelFactory::<P>::following())
    }

    /// Adds a read model that is committed with each append, so that it never lags.
    ///
    /// Every append then pays for it, and an event it can't fold refuses the append.
    pub fn inline_projection<P: Projection>(self) -> Self {
        self.projector(ReadModelFactory::<P>::inline())
    }

    /// Adds a projection of any other kind, such as a store's SQL projection.
    pub fn projector(mut self, factory: impl ProjectorFactory) -> Self {
        self.projections.push(Arc::new(factory));
        self
    }

    /// Adds a saga: a plan of steps across aggregates, each with what undoes it.
    ///
    /// The first one also adds the read models [`SagaOverview`] and [`SagaDeadline`].
    pub fn saga<S: Saga>(self) -> Self {
        self.process_manager::<Linear<S>>()
    }

    /// Adds a saga that is not a line of steps.
    pub fn process_manager<P: ProcessManager>(mut self) -> Self {
        if self.sagas.is_empty() {
            self = self
                .projection::<SagaOverview>()
                .projection::<SagaDeadline>();
        }
        self.sagas.push(Arc::new(Kind::<P>::new()));
        self
    }

    /// Keeps a snapshot of every `A` each time it has had another `every` events.
    ///
    /// Snapshots only save time: a missing, unreadable or outdated one means that the stream is
    /// read from its beginning. Fields that are added to, removed from or renamed in the state's
    /// default value are noticed. Raise `version` for every other change: of meaning, and of types
    /// that the default value does not show, as those within an `Option` or a collection.
    pub fn snapshots<A>(mut self, every: u64, version: u32) -> Self
    where
        A: Aggregate + Serialize + DeserializeOwned,
    {
        self.snapshot_error = self
            .snapshots
            .add::<A>(every, version)
            .err()
            .or(self.snapshot_error);
        self
    }

    /// Takes the time from elsewhere.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes ids from elsewhere.
    pub fn ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = ids;
        self
    }

    /// Sets how commands are executed.
    pub fn command_options(mut self, options: CommandOptions) -> Self {
        self.commands = options;
        self
    }

    /// Sets how projections are run.
    pub fn projection_options(mut self, options: ProjectionOptions) -> Self {
        self.projecting = options;
        self
    }

    /// Sets how sagas are run.
    pub fn saga_options(mut self, options: SagaOptions) -> Self {
        self.saga_options = options;
        self
    }

    /// Sets commands, projections and sagas going.
    ///
    /// # Errors
    /// When two projections or two sagas have one name, a projection is written for another kind of store, an
    /// inline projection can't fold what it has missed, or the store fails.
    pub async fn start(self) -> Result<App, StartError> {
        self.run(true).await
    }

    /// As [`start`](Self::start), but leaves projections and sagas to other processes: for tools that
    /// work beside a running server. Inline projections are part of every append all the same.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub async fn connect(self) -> Result<App, StartError> {
        self.run(false).await
    }

    async fn run(self, following: bool) -> Result<App, StartError> {
        if let Some(error) = self.snapshot_error {
            return Err(error.into());
        }
        refuse_doubles(&self.projections)?;
        refuse_double_sagas(&self.sagas)?;
        let commands = Commands::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            Arc::clone(&self.ids),
            self.snapshots,
            self.commands,
        );
        let commands = Arc::new(commands);
        let projections = Projections::start(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.ids.next(self.clock.now()),
            self.projections,
            self.projecting,
            following,
        )
        .await?;
        let parts = SagaParts {
            store: Arc::clone(&self.store),
            clock: self.clock,
            ids: self.ids,
            commands: Arc::clone(&commands),
            log: Arc::clone(projections.log()),
            owner: projections.owner().to_owned(),
        };
        let sagas = Sagas::start(self.sagas, parts, self.saga_options, following).await?;
        Ok(App::new(self.store, commands, projections, sagas))
    }
}

fn refuse_doubles(projections: &[Arc<dyn ProjectorFactory>]) -> Result<(), StartError> {
    let mut names = HashSet::new();
    match projections
        .iter()
        .find(|projection| !names.insert(&projection.spec().name))
    {
        Some(double) => Err(StartError::TwoProjections {
            name: double.spec().name.clone(),
        }),
        None => Ok(()),
    }
}

fn refuse_double_sagas(sagas: &[Arc<dyn SagaKind>]) -> Result<(), StartError> {
    let mut names = HashSet::new();
    for saga in sagas {
        saga.check()?;
        if !names.insert(saga.name()) {
            let name = saga.name();
            return Err(StartError::TwoSagas { name });
        }
    }
    Ok(())
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let projections = self
            .projections
            .iter()
            .map(|p| &p.spec().name)
            .collect::<Vec<_>>();
        f.debug_struct("Builder")
            .field("store", &self.store)
            .field("projections", &projections)
            .field("sagas", &self.sagas)
            .finish_non_exhaustive()
    }
}

/// Why an application does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two projections have one name.
    #[error("two projections are called `{name}`; give one of them another name")]
    TwoProjections {
        /// The name.
        name: String,
    },
    /// Two sagas have one name.
    #[error("two sagas are called `{name}`; give one of them another name")]
    TwoSagas {
        /// The name.
        name: &'static str,
    },
    /// A saga's name is not allowed.
    #[error(transparent)]
    SagaName {
        /// What is wrong with it.
        source: InvalidName,
    },
    /// A saga can't tell two aggregates apart.
    #[error(
        "saga `{saga}` sends to two aggregates whose streams have the category `{category}`; \
         an aggregate may be named once, and each needs a category of its own"
    )]
    TwoTargets {
        /// The saga.
        saga: &'static str,
        /// The category.
        category: &'static str,
    },
    /// An aggregate can't be snapshotted.
    #[error(transparent)]
    Snapshots(#[from] SnapshotPolicyError),
    /// An inline projection can't fold what it has missed.
    #[error(transparent)]
    Inline(#[from] FoldError),
    /// The store failed, or is of a kind that a projection is not written for.
    #[error(transparent)]
    Store(#[from] StoreError),
}
