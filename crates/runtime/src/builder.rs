//! Wiring: which projections and snapshots an application has, on which store.

use std::{collections::HashSet, fmt, sync::Arc};

use annals_core::{
    Aggregate, Clock, FoldError, IdSource, Projection, ProjectorFactory, Store, StoreError,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    app::App,
    command::{CommandOptions, Commands, SnapshotPolicies, SnapshotPolicyError},
    projection::{ProjectionOptions, Projections, ReadModelFactory},
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
    snapshots: SnapshotPolicies,
    commands: CommandOptions,
    projecting: ProjectionOptions,
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
            snapshots: SnapshotPolicies::default(),
            commands: CommandOptions::default(),
            projecting: ProjectionOptions::default(),
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

    /// Sets commands and projections going.
    ///
    /// # Errors
    /// When two projections have one name, a projection is written for another kind of store, an
    /// inline projection can't fold what it has missed, or the store fails.
    pub async fn start(self) -> Result<App, StartError> {
        self.run(true).await
    }

    /// As [`start`](Self::start), but leaves the projections to other processes: for tools that
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
        let commands = Commands::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            Arc::clone(&self.ids),
            self.snapshots,
            self.commands,
        );
        let projections = Projections::start(
            Arc::clone(&self.store),
            self.clock,
            self.projections,
            self.projecting,
            following,
        )
        .await?;
        Ok(App::new(self.store, commands, projections))
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
