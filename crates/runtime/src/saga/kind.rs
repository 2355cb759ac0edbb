//! One kind of saga, whatever its type.

use std::{fmt, marker::PhantomData, sync::Arc};

use annals_core::{
    AppendError, StreamName,
    saga::{Instance, Operation, ProcessManager, Reaction, Refused, SagaName, saga_stream},
};
use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    bare::Bare,
    delivery::Receivers,
    error::{OperateError, SagaError},
    journal::{Journal, JournalError, Origin, Written, exists},
    options::SagaOptions,
    runner::Runner,
    sagas::Endings,
    status::SagaBoard,
    view::SagaView,
};
use crate::{
    builder::StartError,
    projection::{Backoff, SharedLog, with_causes},
};

/// How often an operator's wish is tried while the saga moves on.
const MAX_RACES: u32 = 50;

/// A kind of saga, as the engine and operators see it.
#[async_trait]
pub(crate) trait SagaKind: fmt::Debug + Send + Sync + 'static {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Refuses what can't run.
    fn check(&self) -> Result<(), StartError>;

    /// Starts the task that runs it.
    fn run(&self, running: Running) -> tokio::task::JoinHandle<()>;

    /// One saga, if it is there.
    async fn view(&self, journal: &Journal, id: &str) -> Result<Option<SagaView>, SagaError>;

    /// Does what an operator wants; answers how the saga stands then.
    async fn operate(
        &self,
        journal: &Journal,
        id: &str,
        operation: Operation,
        actor: Option<String>,
    ) -> Result<SagaView, OperateError>;
}

/// What a runner needs.
pub(crate) struct Running {
    pub(super) journal: Journal,
    pub(super) log: Arc<SharedLog>,
    pub(super) owner: String,
    pub(super) options: SagaOptions,
    pub(super) board: SagaBoard,
    pub(super) endings: Arc<Endings>,
    pub(super) stop: watch::Receiver<bool>,
}

/// The kind of saga that a process manager is.
pub(crate) struct Kind<P>(PhantomData<fn() -> P>);

impl<P> Kind<P> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<P: ProcessManager> fmt::Debug for Kind<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(P::NAME)
    }
}

/// The name of a kind's runner among the projections.
pub(super) fn runner_name(saga: &str) -> String {
    format!("saga:{saga}")
}

#[async_trait]
impl<P: ProcessManager> SagaKind for Kind<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn check(&self) -> Result<(), StartError> {
        saga_stream(P::NAME, "id").map_err(|source| StartError::SagaName { source })?;
        match Receivers::of::<P>().double() {
            Some(category) => Err(StartError::TwoTargets {
                saga: P::NAME,
                category,
            }),
            None => Ok(()),
        }
    }

    fn run(&self, running: Running) -> tokio::task::JoinHandle<()> {
        let runner = Runner::<P> {
            receivers: Receivers::of::<P>(),
            name: runner_name(P::NAME),
            backoff: Backoff::of(&running.owner, P::NAME),
            journal: running.journal,
            log: running.log,
            owner: running.owner,
            options: running.options,
            board: running.board,
            endings: running.endings,
            stop: running.stop,
            process: PhantomData,
        };
        tokio::spawn(runner.run())
    }

    async fn view(&self, journal: &Journal, id: &str) -> Result<Option<SagaView>, SagaError> {
        let stream = saga_stream(P::NAME, id)?;
        let instance: Instance<Bare> = journal.passing_over().load(&stream).await?;
        if !exists(&instance) {
            return Ok(None);
        }
        let mut view = SagaView::of(journal, &instance).await?;
        if !view.status.is_final() {
            view.problem = match journal.load::<P>(&stream).await {
                Ok(_) => None,
                Err(error) if error.is_replay() => Some(with_causes(&error)),
                Err(error) => return Err(error),
            };
        }
        Ok(Some(view))
    }

    async fn operate(
        &self,
        journal: &Journal,
        id: &str,
        operation: Operation,
        actor: Option<String>,
    ) -> Result<SagaView, OperateError> {
        let stream = saga_stream(P::NAME, id).map_err(SagaError::from)?;
        let wish = match operation {
            Operation::Retry => "retried",
            Operation::Abandon { .. } => "abandoned",
        };
        let refused = |source: Refused| OperateError::Refused {
            id: id.to_owned(),
            wish,
            source,
        };
        let wanted = Wanted { operation, actor };
        let operated = match wanted.operation {
            Operation::Retry => operate::<P>(journal, &stream, wanted, refused).await,
            // Its own code is not asked, as it may be what stands in the way.
            Operation::Abandon { .. } => {
                operate::<Bare>(&journal.passing_over(), &stream, wanted, refused).await
            }
        };
        match operated {
            Ok(None) => Err(OperateError::NotFound {
                saga: P::NAME.to_owned(),
                id: id.to_owned(),
            }),
            Ok(Some(view)) => Ok(view),
            Err(OperateError::Saga(error)) if error.is_replay() => {
                Err(refused(Refused::FailsAgain(with_causes(&error))))
            }
            Err(error) => Err(error),
        }
    }
}

/// What somebody wants of a saga.
struct Wanted {
    operation: Operation,
    actor: Option<String>,
}

/// Does what an operator wants, as far as one kind of code knows the saga, if it is there.
async fn operate<P: ProcessManager>(
    journal: &Journal,
    stream: &StreamName,
    wanted: Wanted,
    refused: impl Fn(Refused) -> OperateError,
) -> Result<Option<SagaView>, OperateError> {
    for _ in 0..MAX_RACES {
        let mut instance: Instance<P> = journal.load(stream).await?;
        if !exists(&instance) {
            return Ok(None);
        }
        let now = journal.clock.now();
        let events = instance.operate(wanted.operation.clone(), now);
        let events = events.map_err(&refused)?;
        let reaction = Reaction {
            events,
            consumes: None,
        };
        // It belongs to the saga's story, but is not done on behalf of whoever asked for it.
        let origin = Origin {
            correlation_id: instance.origin().map(|origin| origin.correlation_id),
            actor: wanted.actor.clone(),
            ..Origin::default()
        };
        match journal.write_for(&mut instance, reaction, &origin).await {
            Ok(Written::Done) => return Ok(Some(SagaView::of(journal, &instance).await?)),
            Ok(Written::Lost | Written::CarriedOut(_)) => {}
            Err(JournalError::Append(error)) => return Err(error.into()),
            Err(JournalError::Encode(error)) => return Err(error.into()),
            Err(JournalError::Saga(error)) => return Err(error.into()),
        }
    }
    let id = SagaName::of(stream).map_or("", |name| name.id);
    Err(OperateError::Busy { id: id.to_owned() })
}

impl From<JournalError> for super::error::StartSagaError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Append(error) => AppendError::into(error),
            JournalError::Encode(error) => error.into(),
            JournalError::Saga(error) => error.into(),
        }
    }
}
