//! A running application: commands in, read models out.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Aggregate, Id as _, Position, ReadModel, RowError, Store, StoreError, Target, Value,
    saga::{Instance, Linear, ProcessManager, Saga},
};

use crate::{
    command::{Commands, Execute, LoadError, Loaded},
    projection::{CaughtUpError, Projections},
    saga::{SagaError, Sagas, StartSaga, WaitError},
};

/// How long [`App::caught_up`] waits.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(5);

/// A running application. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    commands: Arc<Commands>,
    projections: Projections,
    sagas: Sagas,
}

impl App {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        commands: Arc<Commands>,
        projections: Projections,
        sagas: Sagas,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                commands,
                projections,
                sagas,
            }),
        }
    }

    /// Executes a command: loads the aggregate, lets it decide, and appends what happened.
    ///
    /// Await the result as it is, or set options first, such as
    /// [`command_id`](Execute::command_id) or [`expect_version`](Execute::expect_version).
    ///
    /// # Errors
    /// See [`ExecuteError`](crate::command::ExecuteError).
    pub fn execute<A: Aggregate>(&self, id: &A::Id, command: A::Command) -> Execute<'_, A> {
        Execute::new(&self.inner.commands, id, command)
    }

    /// An aggregate's state as of now.
    ///
    /// # Errors
    /// When the id can't name a stream, an event is unreadable, or the store fails.
    pub async fn load<A: Aggregate>(&self, id: &A::Id) -> Result<Loaded<A>, LoadError> {
        self.inner.commands.load(id).await
    }

    /// Waits until a read model shows everything up to `position`, for at most 5 seconds.
    ///
    /// With the position of an [`Executed`](crate::command::Executed) command this reads one's
    /// own writes.
    ///
    /// # Errors
    /// When it takes longer, or the projection has stopped and so never will.
    pub async fn caught_up<R: ReadModel>(&self, position: Position) -> Result<(), CaughtUpError> {
        self.caught_up_within::<R>(position, CAUGHT_UP_WITHIN).await
    }

    /// As [`caught_up`](Self::caught_up), with a time-out of one's own.
    ///
    /// # Errors
    /// When it takes longer, or the projection has stopped and so never will.
    pub async fn caught_up_within<R: ReadModel>(
        &self,
        position: Position,
        timeout: Duration,
    ) -> Result<(), CaughtUpError> {
        self.inner
            .projections
            .caught_up(R::TABLE.name, position, timeout)
            .await
    }

    /// The row of a read model with this key.
    ///
    /// # Errors
    /// When the store fails, or the row does not fit the read model.
    pub async fn row<R: ReadModel>(&self, key: &R::Key) -> Result<Option<R>, ReadError> {
        let keys = [R::key_values(key)];
        let rows = self
            .inner
            .store
            .rows(&R::TABLE, Target::Live, &keys)
            .await?;
        rows.into_iter()
            .next()
            .map(R::from_row)
            .transpose()
            .map_err(ReadError::row::<R>)
    }

    /// Up to `limit` rows of a read model in the order of its key, after a key.
    ///
    /// # Errors
    /// When the store fails, or a row does not fit the read model.
    pub async fn rows<R: ReadModel>(
        &self,
        after: Option<&R::Key>,
        limit: usize,
    ) -> Result<Vec<R>, ReadError> {
        let after: Option<Vec<Value>> = after.map(R::key_values);
        let rows = self
            .inner
            .store
            .scan_rows(&R::TABLE, Target::Live, after.as_deref(), limit)
            .await?;
        rows.into_iter()
            .map(R::from_row)
            .collect::<Result<_, _>>()
            .map_err(ReadError::row::<R>)
    }

    /// Starts a saga; carrying it out goes on by itself, in whichever process runs it.
    ///
    /// Await the result as it is, or set options first, such as [`actor`](StartSaga::actor). The
    /// same id and request again is the same saga.
    ///
    /// # Errors
    /// See [`StartSagaError`](crate::StartSagaError).
    pub fn start_saga<S: Saga>(&self, id: &S::Id, saga: S) -> StartSaga<'_, Linear<S>> {
        StartSaga::linear(&self.inner.sagas, id, saga)
    }

    /// As [`start_saga`](Self::start_saga), for a process manager.
    ///
    /// # Errors
    /// See [`StartSagaError`](crate::StartSagaError).
    pub fn start_process<P: ProcessManager>(
        &self,
        id: &P::Id,
        start: &P::Start,
    ) -> StartSaga<'_, P> {
        StartSaga::process(&self.inner.sagas, id, start)
    }

    /// How a saga stands, if there is one of this id.
    ///
    /// # Errors
    /// When the id can't name a stream, the stream can't be read, or the store fails.
    pub async fn saga<S: Saga>(
        &self,
        id: &S::Id,
    ) -> Result<Option<Instance<Linear<S>>>, SagaError> {
        self.process::<Linear<S>>(id).await
    }

    /// As [`saga`](Self::saga), for a process manager.
    ///
    /// # Errors
    /// When the id can't name a stream, the stream can't be read, or the store fails.
    pub async fn process<P: ProcessManager>(
        &self,
        id: &P::Id,
    ) -> Result<Option<Instance<P>>, SagaError> {
        self.inner.sagas.load(&id.to_text()).await
    }

    /// Waits until a saga has ended or is stuck, and answers how it stands then.
    ///
    /// # Errors
    /// When it takes longer than `timeout`, or there is no such saga.
    pub async fn saga_ended<S: Saga>(
        &self,
        id: &S::Id,
        timeout: Duration,
    ) -> Result<Instance<Linear<S>>, WaitError> {
        self.process_ended::<Linear<S>>(id, timeout).await
    }

    /// As [`saga_ended`](Self::saga_ended), for a process manager.
    ///
    /// # Errors
    /// When it takes longer than `timeout`, or there is no such saga.
    pub async fn process_ended<P: ProcessManager>(
        &self,
        id: &P::Id,
        timeout: Duration,
    ) -> Result<Instance<P>, WaitError> {
        self.inner.sagas.wait(&id.to_text(), timeout).await
    }

    /// The store underneath, for reading streams and the log.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The projections, for operators: their state, and rebuilding them.
    #[must_use]
    pub fn projections(&self) -> &Projections {
        &self.inner.projections
    }

    /// The sagas, for operators: list, look at, retry and abandon them.
    #[must_use]
    pub fn sagas(&self) -> &Sagas {
        &self.inner.sagas
    }

    /// Finishes what was accepted, stops sagas and projections after their current batch, and closes
    /// the store. Commands that come later are refused.
    pub async fn shutdown(&self) {
        self.inner.sagas.shutdown().await;
        self.inner.projections.shutdown().await;
        self.inner.store.close().await;
    }
}

/// Why a read model can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A row on disk does not fit the read model.
    #[error(
        "failed to read a row of `{table}`; rebuild the projection if its columns have changed"
    )]
    Row {
        /// The table.
        table: &'static str,
        /// What does not fit.
        source: RowError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadError {
    fn row<R: ReadModel>(source: RowError) -> Self {
        Self::Row {
            table: R::TABLE.name,
            source,
        }
    }
}
