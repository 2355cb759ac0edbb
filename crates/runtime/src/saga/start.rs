//! Starting a saga.

use std::{future::IntoFuture, marker::PhantomData, pin::Pin};

use annals_core::{
    AppendError, Appended, CausationId, CommandId, CorrelationId, EventSet, Fingerprint, Id,
    Position, StreamName, StreamRead, TraceContext, Version,
    saga::{
        Cause, Instance, Linear, LinearStart, PlanError, ProcessManager, Saga, SagaEvent, SendsTo,
        saga_stream,
    },
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    error::{SagaError, StartSagaError},
    journal::{Journal, JournalError, Origin},
    sagas::Sagas,
};

/// A saga on its way: set options, then `.await` it.
///
/// It is there once this answers; carrying it out goes on without the caller. The same id and
/// request again, at whatever time, is the same saga, and answers as the first time.
#[must_use = "a saga does not start until it is awaited"]
pub struct StartSaga<'a, P: ProcessManager> {
    sagas: &'a Sagas,
    id: String,
    start: Result<Value, StartSagaError>,
    /// The part of the start that makes two of them the same request.
    request: fn(&Value) -> Option<&Value>,
    command_id: Option<CommandId>,
    fingerprint: Vec<u8>,
    origin: Origin,
    process: PhantomData<fn() -> P>,
}

/// A saga that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedSaga {
    /// Its stream.
    pub stream: StreamName,
    /// Where the log holds its first event: what a projection must reach to show it.
    pub position: Position,
    /// Whether it was there already.
    pub repeated: bool,
}

impl<'a, P: ProcessManager> StartSaga<'a, P> {
    pub(crate) fn process(sagas: &'a Sagas, id: &P::Id, start: &P::Start) -> Self {
        let start = serde_json::to_value(start);
        Self {
            sagas,
            id: id.to_text().into_owned(),
            start: start.map_err(|source| StartSagaError::Encode {
                saga: P::NAME,
                source,
            }),
            request: |start| Some(start),
            command_id: None,
            fingerprint: Vec::new(),
            origin: Origin::default(),
            process: PhantomData,
        }
    }

    /// Names the request, so that the same id again starts nothing new, whatever saga it asks for,
    /// and answers as this time. Commands and starts share one space of ids.
    pub fn command_id(mut self, id: CommandId) -> Self {
        self.command_id = Some(id);
        self
    }

    /// What the command id stands for, such as the bytes of the request: the same id with
    /// another fingerprint is [`StartSagaError::CommandIdReused`].
    pub fn fingerprint(mut self, request: impl AsRef<[u8]>) -> Self {
        self.fingerprint = request.as_ref().to_vec();
        self
    }

    /// Joins the saga, and all it brings about, to what an earlier request brought about.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.origin.correlation_id = Some(id);
        self
    }

    /// What made somebody start it, such as an event or a request's id.
    pub fn caused_by(mut self, id: impl Into<CausationId>) -> Self {
        self.origin.causation_id = Some(id.into());
        self
    }

    /// On whose behalf it and its commands are, in the application's own terms.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.origin.actor = Some(actor.into());
        self
    }

    /// The distributed trace that it and its commands belong to.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.origin.trace = Some(trace);
        self
    }

    /// An entry of the free metadata of its events, and of those that its commands lead to.
    pub fn extra(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.origin.extra.insert(key.into(), value.into());
        self
    }
}

impl<'a, S: Saga> StartSaga<'a, Linear<S>> {
    pub(crate) fn linear(sagas: &'a Sagas, id: &S::Id, saga: S) -> Self {
        let start = LinearStart::of(id, saga);
        let checked = start.plan.check(&S::SendsTo::categories());
        let mut starting = StartSaga::process(sagas, id, &start);
        // Another release may plan the same request otherwise.
        starting.request = |start| start.get("saga");
        if let Err(source) = checked {
            starting.start = Err(plan_error(S::NAME, source));
        }
        starting
    }
}

fn plan_error(saga: &'static str, source: PlanError) -> StartSagaError {
    StartSagaError::Plan { saga, source }
}

impl<P: ProcessManager> StartSaga<'_, P> {
    async fn start(self) -> Result<StartedSaga, StartSagaError> {
        if !self.sagas.has(P::NAME) {
            return Err(StartSagaError::NotRegistered { saga: P::NAME });
        }
        let start = self.start?;
        let stream = saga_stream(P::NAME, &self.id).map_err(SagaError::from)?;
        let journal = self.sagas.journal();
        let instance = Instance::<P>::new(stream.clone());
        let reaction = instance.react(Cause::Start(start.clone()), journal.clock.now());
        if let Some(SagaEvent::Stuck { reason, .. }) = reaction.events.first() {
            return Err(StartSagaError::Refused {
                saga: P::NAME,
                reason: reason.clone(),
            });
        }
        let once = self
            .command_id
            .map(|id| (id, request_fingerprint(&stream, &self.fingerprint)));
        let span = tracing::debug_span!("annals.saga.start", saga = P::NAME, id = %self.id);
        let beginning = journal.begin(&instance, reaction, &self.origin, once);
        let begun = tracing::Instrument::instrument(beginning, span).await;
        let begun = begun.map_err(|error| not_started(error, once))?;
        if let Some(appended) = begun.as_ref().filter(|appended| !appended.repeated) {
            return Ok(StartedSaga {
                stream,
                position: first_position(appended),
                repeated: false,
            });
        }
        let (position, then) = first(journal, &stream).await?;
        // Where the id stands for the saga already, that is what it was asked for.
        if begun.is_none() {
            if (self.request)(&then) != (self.request)(&start) {
                return Err(reused(&stream));
            }
            if let Some(once) = once {
                let noted = journal.note(&stream, once).await;
                noted.map_err(|error| not_started(error.into(), Some(once)))?;
            }
        }
        Ok(StartedSaga {
            stream,
            position,
            repeated: true,
        })
    }
}

fn not_started(error: JournalError, once: Option<(CommandId, Fingerprint)>) -> StartSagaError {
    match (error, once) {
        (JournalError::Append(AppendError::IdReused { kind: "append", .. }), Some((id, _))) => {
            StartSagaError::CommandIdReused { id }
        }
        (error, _) => error.into(),
    }
}

/// What a command id stands for, as it does for commands: the stream, and what the caller said.
fn request_fingerprint(stream: &StreamName, request: &[u8]) -> Fingerprint {
    let stream = Uuid::new_v5(&Uuid::NAMESPACE_OID, stream.as_str().as_bytes());
    Uuid::new_v5(&stream, request).into_bytes()
}

/// Where the first event of a new stream is.
fn first_position(appended: &Appended) -> Position {
    let version = appended.versions.first().copied().unwrap_or_default();
    let before = version.get().saturating_sub(1);
    Position::new(appended.position.get().saturating_sub(before))
}

/// Where the saga that is there already begins, and what it was asked for.
async fn first(
    journal: &Journal,
    stream: &StreamName,
) -> Result<(Position, Value), StartSagaError> {
    let read = StreamRead::after(stream.clone(), Version::NONE, 1);
    let events = journal.store.read_stream(read).await;
    let first = events.map_err(SagaError::from)?.into_iter().next();
    let Some(first) = first else {
        return Err(reused(stream));
    };
    let decoded = SagaEvent::decode(
        first.event_type.as_str(),
        first.schema_version,
        &first.payload,
    );
    let event = decoded.map_err(|source| SagaError::Unreadable {
        stream: stream.clone(),
        version: first.version,
        source,
    })?;
    match event {
        Some(SagaEvent::Started { start }) => Ok((first.position, start)),
        _ => Err(reused(stream)),
    }
}

fn reused(stream: &StreamName) -> StartSagaError {
    StartSagaError::IdReused {
        stream: stream.clone(),
    }
}

impl<'a, P: ProcessManager> IntoFuture for StartSaga<'a, P> {
    type Output = Result<StartedSaga, StartSagaError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl<P: ProcessManager> std::fmt::Debug for StartSaga<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartSaga")
            .field("saga", &P::NAME)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
