//! The loop: load, decide, append, and again when somebody else was faster.

use std::sync::Arc;

use annals_core::{
    Aggregate, Append, AppendError, Appended, Clock, CommandId, EventId, Expected, Fingerprint,
    IdSource, InvalidName, NewEvent, Position, Store, StreamName, Version,
};
use chrono::{DateTime, Utc};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    cache::StreamCache,
    error::{ExecuteError, LoadError},
    execute::Request,
    load::{Loaded, stream_of},
    settle,
    snapshot::SnapshotPolicies,
};

/// How commands are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandOptions {
    /// How often a command is decided before [`ExecuteError::Conflict`] gives up.
    pub max_attempts: u32,
    /// How many streams' states are kept in memory.
    pub cached_streams: usize,
}

impl Default for CommandOptions {
    fn default() -> Self {
        Self {
            max_attempts: 16,
            cached_streams: 10_000,
        }
    }
}

/// What a command brought about.
#[derive(Clone, Debug)]
pub struct Executed<A> {
    /// The aggregate's stream.
    pub stream: StreamName,
    /// The version that the stream reached with this command.
    pub version: Version,
    /// Up to where the log holds what the command brought about: what a projection must reach to
    /// show it.
    pub position: Position,
    /// The aggregate as of `version`.
    pub state: Arc<A>,
    /// Whether this is the answer to an earlier command with the same id.
    pub repeated: bool,
}

/// Executes commands on one store.
#[derive(Debug)]
pub(crate) struct Commands {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    streams: StreamCache,
    snapshots: SnapshotPolicies,
    max_attempts: u32,
}

/// One command's way through the loop.
struct Run<'a, A: Aggregate> {
    request: &'a Request<A>,
    stream: StreamName,
    command_id: CommandId,
    loaded: Loaded<A>,
    /// Whether `loaded` was read from the store since the command arrived: only then may the
    /// command be refused, or found to have nothing to do.
    fresh: bool,
}

/// What an attempt came to, when it did not end the command.
enum Attempt<T> {
    Done(T),
    /// The state was behind: decide again.
    Again,
}

impl Commands {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        snapshots: SnapshotPolicies,
        options: CommandOptions,
    ) -> Self {
        let streams = StreamCache::new(options.cached_streams);
        Self {
            store,
            clock,
            ids,
            streams,
            snapshots,
            max_attempts: options.max_attempts.max(1),
        }
    }

    /// The aggregate's state as of now, read from the store.
    pub(crate) async fn load<A: Aggregate>(&self, id: &A::Id) -> Result<Loaded<A>, LoadError> {
        self.load_stream(&stream_of::<A>(id)?).await
    }

    pub(super) async fn execute<A: Aggregate>(
        &self,
        stream: Result<StreamName, InvalidName>,
        request: Request<A>,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let stream = stream?;
        let span = tracing::debug_span!("annals.execute", %stream);
        self.execute_in_turn(stream, request).instrument(span).await
    }

    async fn execute_in_turn<A: Aggregate>(
        &self,
        stream: StreamName,
        request: Request<A>,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let mut slot = self.streams.queue(&stream).await;
        let cached = slot.take::<A>();
        let fresh = cached.is_none();
        let loaded = match cached {
            Some(loaded) => loaded,
            None => self.load_stream(&stream).await?,
        };
        let command_id = request
            .command_id
            .unwrap_or_else(|| self.ids.next(self.clock.now()).into());
        let mut run = Run {
            request: &request,
            stream,
            command_id,
            loaded,
            fresh,
        };
        let outcome = self.attempts(&mut run).await;
        slot.put(run.loaded);
        outcome
    }

    async fn attempts<A: Aggregate>(
        &self,
        run: &mut Run<'_, A>,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        for _ in 0..self.max_attempts {
            if let Attempt::Done(executed) = self.attempt(run).await? {
                return Ok(executed);
            }
        }
        Err(ExecuteError::Conflict {
            stream: run.stream.clone(),
            attempts: self.max_attempts,
        })
    }

    async fn attempt<A: Aggregate>(
        &self,
        run: &mut Run<'_, A>,
    ) -> Result<Attempt<Executed<A>>, ExecuteError<A::Error>> {
        let actual = run.loaded.version;
        if let Some(expected) = run.request.expected.filter(|expected| *expected != actual) {
            let stream = run.stream.clone();
            return self
                .refuse(
                    run,
                    ExecuteError::VersionMismatch {
                        stream,
                        expected,
                        actual,
                    },
                )
                .await;
        }
        let events = match run.loaded.state.decide(run.request.command.clone()) {
            Ok(events) => events,
            Err(rejection) => return self.refuse(run, ExecuteError::Rejected(rejection)).await,
        };
        if events.is_empty() {
            if self.refresh(run).await? {
                return Ok(Attempt::Again);
            }
            if run.request.command_id.is_none() {
                return Ok(Attempt::Done(run.executed(false)));
            }
        }
        self.append(run, events).await
    }

    /// Ends the command with `error`, unless the state was behind or an earlier command with the
    /// same id was carried out.
    async fn refuse<A: Aggregate>(
        &self,
        run: &mut Run<'_, A>,
        error: ExecuteError<A::Error>,
    ) -> Result<Attempt<Executed<A>>, ExecuteError<A::Error>> {
        if self.refresh(run).await? {
            return Ok(Attempt::Again);
        }
        let Some(id) = run.request.command_id else {
            return Err(error);
        };
        let Some((appended, fingerprint)) = self.store.find_append(id.into()).await? else {
            return Err(error);
        };
        if fingerprint != run.fingerprint() {
            return Err(ExecuteError::CommandIdReused { id });
        }
        self.first_outcome(run, &appended).await.map(Attempt::Done)
    }

    /// Reads what others have appended meanwhile, once; tells whether there was anything.
    async fn refresh<A: Aggregate>(&self, run: &mut Run<'_, A>) -> Result<bool, LoadError> {
        if run.fresh {
            return Ok(false);
        }
        run.fresh = true;
        run.loaded.catch_up(&*self.store, &run.stream, None).await
    }

    async fn append<A: Aggregate>(
        &self,
        run: &mut Run<'_, A>,
        events: Vec<A::Event>,
    ) -> Result<Attempt<Executed<A>>, ExecuteError<A::Error>> {
        let append = self.new_append(run, &events)?;
        match self.append_settled(append).await {
            Ok(appended) if appended.repeated && run.request.command_id.is_some() => {
                self.first_outcome(run, &appended).await.map(Attempt::Done)
            }
            Ok(appended) => {
                let before = run.loaded.version;
                let version = appended.versions.first().copied().unwrap_or(before);
                run.loaded
                    .evolve_decided(&events, version, appended.position);
                self.snapshots
                    .save_if_due(&self.store, &run.stream, before, &run.loaded);
                Ok(Attempt::Done(run.executed(false)))
            }
            Err(AppendError::Conflict { actual, .. }) => {
                if actual < run.loaded.version {
                    // The log was restored to an earlier state: what is remembered never was.
                    run.loaded = Loaded::empty();
                }
                run.loaded.catch_up(&*self.store, &run.stream, None).await?;
                run.fresh = true;
                Ok(Attempt::Again)
            }
            Err(AppendError::IdReused { kind: "append", .. }) => {
                Err(ExecuteError::CommandIdReused { id: run.command_id })
            }
            Err(error) => Err(ExecuteError::Append(error)),
        }
    }

    /// Appends; an unknown outcome is settled.
    pub(crate) async fn append_settled(&self, append: Append) -> Result<Appended, AppendError> {
        settle::append(&*self.store, append).await
    }

    fn new_append<A: Aggregate>(
        &self,
        run: &Run<'_, A>,
        events: &[A::Event],
    ) -> Result<Append, ExecuteError<A::Error>> {
        let now: DateTime<Utc> = self.clock.now();
        let metadata = run.request.metadata(run.command_id);
        let events = events
            .iter()
            .map(|event| {
                NewEvent::encode(event, EventId::new(self.ids.next(now)), metadata.clone())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let expected = Expected::Exact(run.loaded.version);
        let mut append = Append::to(run.stream.clone(), expected, events, now);
        append.condition.clone_from(&run.request.condition);
        Ok(match run.request.command_id {
            Some(id) => append.once(id.into(), run.fingerprint()),
            None => append,
        })
    }

    /// The answer that an earlier command with the same id was given, state included.
    async fn first_outcome<A: Aggregate>(
        &self,
        run: &Run<'_, A>,
        appended: &Appended,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let version = appended.versions.first().copied().unwrap_or(Version::NONE);
        let mut then = Loaded::<A>::empty();
        then.catch_up(&*self.store, &run.stream, Some(version))
            .await?;
        Ok(Executed {
            stream: run.stream.clone(),
            version,
            position: appended.position,
            state: then.state,
            repeated: true,
        })
    }

    async fn load_stream<A: Aggregate>(&self, stream: &StreamName) -> Result<Loaded<A>, LoadError> {
        let mut loaded = self.snapshots.load(&*self.store, stream).await;
        loaded.catch_up(&*self.store, stream, None).await?;
        Ok(loaded)
    }
}

impl<A: Aggregate> Run<'_, A> {
    fn executed(&self, repeated: bool) -> Executed<A> {
        Executed {
            stream: self.stream.clone(),
            version: self.loaded.version,
            position: self.loaded.position,
            state: Arc::clone(&self.loaded.state),
            repeated,
        }
    }

    /// What the command id stands for: the stream, and what the caller said of the request.
    fn fingerprint(&self) -> Fingerprint {
        let stream = Uuid::new_v5(&Uuid::NAMESPACE_OID, self.stream.as_str().as_bytes());
        Uuid::new_v5(&stream, &self.request.fingerprint).into_bytes()
    }
}
