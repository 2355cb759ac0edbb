//! One saga's work: react, append, send, again, until there is nothing to do now.

use std::{
    collections::{HashSet, VecDeque},
    marker::PhantomData,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use annals_core::{
    CausationId, StreamName, Version,
    saga::{Cause, Instance, ProcessManager, Reaction, ReceivedEvent, SagaEvent, saga_stream},
};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::{
    bare::Bare,
    delivery::{Delivery, Receivers},
    error::SagaError,
    inbox::Inbox,
    journal::{Journal, JournalError, Written, exists},
    sending::{Sending, Sent},
};
use crate::projection::{panic_message, with_causes};

/// How often a reaction is put together anew because somebody else wrote first.
const MAX_RACES: u32 = 50;

/// How often a saga can't be replayed before it is stuck: for some seconds, in which another node
/// may take over that runs another release.
const PATIENCE: u32 = 8;

/// Works on sagas of one kind, any number at the same time.
#[derive(Debug)]
pub(super) struct Worker<P> {
    journal: Journal,
    receivers: Receivers,
    /// Set when no more commands are to be sent.
    halt: watch::Receiver<bool>,
    /// How often the clock is looked at while commands are on their way.
    poll: Duration,
    process: PhantomData<fn() -> P>,
}

/// An event that a saga is to take in.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) event: Box<ReceivedEvent>,
    /// Whether the saga begins with it, if it is not there.
    pub(super) starts: bool,
}

/// A saga to work on.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) orders: VecDeque<Order>,
    /// What comes in meanwhile.
    pub(super) inbox: Arc<Inbox>,
    /// How often it could not be worked on in a row until now.
    pub(super) failures: u32,
}

/// How a saga was left.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) id: String,
    pub(super) version: Version,
    /// What it did not get to.
    pub(super) left: VecDeque<Order>,
    /// When it next has something to do by itself.
    pub(super) next: Option<DateTime<Utc>>,
    /// What was in the way, if something was: it is to be worked on again.
    pub(super) problem: Option<String>,
}

impl<P: ProcessManager> Worker<P> {
    pub(super) fn new(
        journal: Journal,
        receivers: Receivers,
        halt: watch::Receiver<bool>,
        poll: Duration,
    ) -> Self {
        Self {
            journal,
            receivers,
            halt,
            poll,
            process: PhantomData,
        }
    }

    /// Works on one saga for as long as there is something to do.
    pub(super) async fn work(&self, mut job: Job) -> Done {
        let span = tracing::debug_span!("annals.saga", saga = P::NAME, id = %job.id);
        let mut seen = (Version::NONE, None);
        let working = self.try_work(&mut job, &mut seen).instrument(span);
        let problem = match AssertUnwindSafe(working).catch_unwind().await {
            Ok(worked) => worked.err().map(|error| with_causes(&error)),
            Err(panic) => Some(panic_message(panic.as_ref())),
        };
        let Job {
            id,
            orders: mut left,
            inbox,
            ..
        } = job;
        left.append(&mut inbox.close());
        if let Some(problem) = &problem {
            tracing::warn!(saga = P::NAME, id = %id, %problem, "saga can't go on just now");
        }
        let (version, next) = seen;
        Done {
            id,
            version,
            left,
            next,
            problem,
        }
    }

    async fn try_work(
        &self,
        job: &mut Job,
        seen: &mut (Version, Option<DateTime<Utc>>),
    ) -> Result<(), WorkError> {
        let stream = saga_stream(P::NAME, &job.id).map_err(SagaError::from)?;
        let mut instance = match self.journal.load(&stream).await {
            Ok(instance) => instance,
            Err(error) if error.is_replay() => {
                return self.keep(&stream, error, job, seen).await;
            }
            Err(error) => return Err(error.into()),
        };
        let worked = self.drive(&mut instance, job).await;
        *seen = (instance.version(), next_due(&instance));
        worked
    }

    /// Works on a saga that this release can't replay. When that is no passing matter it is stuck;
    /// what comes in is recorded then, for a release that can replay it.
    async fn keep(
        &self,
        stream: &StreamName,
        error: SagaError,
        job: &mut Job,
        seen: &mut (Version, Option<DateTime<Utc>>),
    ) -> Result<(), WorkError> {
        let keeper = Worker::<Bare> {
            journal: self.journal.passing_over(),
            receivers: self.receivers.clone(),
            halt: self.halt.clone(),
            poll: self.poll,
            process: PhantomData,
        };
        let mut instance = keeper.load(stream).await?;
        let has_ended = instance.status().is_final();
        if instance.halted().is_none() && !has_ended {
            let reason = with_causes(&error);
            if job.failures < PATIENCE || !keeper.record_halt(&mut instance, reason).await? {
                return Err(error.into());
            }
        }
        // What can't be read may be the outcome of a command, which must not come in twice.
        if !instance.is_whole() && !has_ended {
            return Err(error.into());
        }
        let worked = keeper.drive(&mut instance, job).await;
        *seen = (instance.version(), next_due(&instance));
        worked
    }

    /// Records that the saga's code can't go on, unless somebody else writes first.
    async fn record_halt(
        &self,
        instance: &mut Instance<P>,
        reason: String,
    ) -> Result<bool, WorkError> {
        let stuck = SagaEvent::Stuck {
            step: None,
            due: None,
            reason,
        };
        let reaction = Reaction {
            events: vec![stuck],
            consumes: None,
        };
        let written = self.journal.write(instance, reaction, None).await?;
        Ok(matches!(written, Written::Done))
    }

    async fn load(&self, stream: &StreamName) -> Result<Instance<P>, WorkError> {
        let loaded = self.journal.load(stream).await;
        loaded.map_err(|error| WorkError::Journal(error.into()))
    }

    /// Takes events in, fires what is due and sends what is to be sent, until nothing is left to do
    /// now. While commands are on their way, nothing else waits for them.
    async fn drive(&self, instance: &mut Instance<P>, job: &mut Job) -> Result<(), WorkError> {
        let mut sending = Sending::new(&self.receivers, &self.journal.commands);
        loop {
            self.take_orders(instance, job).await?;
            self.fire_due(instance).await?;
            self.take_back(instance).await?;
            // What has become of a command may stand in an event that can't be read.
            if !*self.halt.borrow() && instance.is_whole() {
                sending.send(instance, self.journal.clock.now());
            }
            if !sending.is_awaited(instance) {
                let trouble = sending.trouble(instance);
                return trouble.map_or(Ok(()), |(step, problem)| {
                    Err(WorkError::Trouble { step, problem })
                });
            }
            let next_due = sending.next_due(instance);
            tokio::select! {
                biased;
                Some(sent) = sending.next() => self.take_in(instance, sent, &mut sending).await?,
                () = job.inbox.changed() => self.look_up(instance, job).await?,
                () = self.until(next_due) => {}
            }
        }
    }

    async fn take_orders(
        &self,
        instance: &mut Instance<P>,
        job: &mut Job,
    ) -> Result<(), WorkError> {
        while let Some(order) = job.orders.front() {
            if order.starts || exists(instance) {
                let cause = CausationId::from(order.event.id);
                let event = Cause::Event(order.event.clone());
                self.settle(instance, event, Some(cause)).await?;
            }
            job.orders.pop_front();
            job.inbox.took_in();
        }
        Ok(())
    }

    /// Takes note of what came in: events, and what others wrote to the saga's stream.
    async fn look_up(&self, instance: &mut Instance<P>, job: &mut Job) -> Result<(), WorkError> {
        let (mut orders, seen) = job.inbox.take();
        job.orders.append(&mut orders);
        if seen > instance.version() {
            *instance = self.load(&instance.stream().clone()).await?;
        }
        Ok(())
    }

    /// Returns when it may be that time by the clock, which can be set at any moment.
    async fn until(&self, due: Option<DateTime<Utc>>) {
        let Some(due) = due else {
            return std::future::pending().await;
        };
        let left = (due - self.journal.clock.now()).to_std();
        // What should have been done by now, but could not be, is looked at from time to time.
        let left = left.ok().filter(|left| !left.is_zero());
        tokio::time::sleep(left.map_or(self.poll, |left| left.min(self.poll))).await;
    }

    async fn fire_due(&self, instance: &mut Instance<P>) -> Result<(), WorkError> {
        while let Some(name) = instance.due_deadline(self.journal.clock.now()) {
            let name = name.to_owned();
            self.settle(instance, Cause::Due { name }, None).await?;
        }
        Ok(())
    }

    async fn take_back(&self, instance: &mut Instance<P>) -> Result<(), WorkError> {
        // One whose rejection can't be read stays.
        let mut done = HashSet::new();
        loop {
            let mut outstanding = instance.outstanding().iter();
            let recalled = outstanding.find(|(_, command)| {
                command.recalled.is_some() && !done.contains(&command.command_id)
            });
            let Some((step, command)) = recalled else {
                return Ok(());
            };
            let (step, command_id) = (step.clone(), command.command_id);
            done.insert(command_id);
            let taken_back = Cause::TakenBack { step, command_id };
            self.settle(instance, taken_back, Some(command_id.into()))
                .await?;
        }
    }

    /// Records what came of a command.
    async fn take_in(
        &self,
        instance: &mut Instance<P>,
        sent: Sent,
        sending: &mut Sending<'_>,
    ) -> Result<(), WorkError> {
        let Sent {
            step,
            command_id,
            delivery,
        } = sent;
        let outcome = match delivery {
            Delivery::Done(position) => Cause::Succeeded {
                step,
                command_id,
                position,
            },
            Delivery::Refused { reason, again } => Cause::Refused {
                step,
                command_id,
                reason,
                again,
            },
            Delivery::Unsendable(reason) => Cause::Unsendable {
                step,
                command_id,
                reason,
            },
            Delivery::Trouble(problem) => {
                let stream = instance.stream();
                tracing::warn!(%stream, %step, %problem, "a command can't be sent just now");
                sending.rest(command_id, problem);
                return Ok(());
            }
            Delivery::Recalled => {
                // Whoever took it back has written so, and then there is nothing to do about it.
                *instance = self.load(&instance.stream().clone()).await?;
                Cause::Unsendable {
                    step,
                    command_id,
                    reason: "its command id was used for another command".to_owned(),
                }
            }
        };
        self.settle(instance, outcome, Some(command_id.into()))
            .await
    }

    /// Lets the saga react to a cause and appends what follows, until it is dealt with.
    async fn settle(
        &self,
        instance: &mut Instance<P>,
        mut cause: Cause,
        causation: Option<CausationId>,
    ) -> Result<(), WorkError> {
        for _ in 0..MAX_RACES {
            let reaction = instance.react(cause.clone(), self.journal.clock.now());
            if reaction.events.is_empty() {
                return Ok(());
            }
            let takes_back = reaction.consumes.is_some();
            match self.journal.write(instance, reaction, causation).await? {
                Written::Done => return Ok(()),
                Written::Lost => {
                    let version = instance.version();
                    *instance = self.load(&instance.stream().clone()).await?;
                    // Nobody wrote first: it is dealt with by an event that can't be read.
                    if takes_back && instance.version() == version && !instance.is_whole() {
                        return Ok(());
                    }
                }
                Written::CarriedOut(position) => {
                    if let Cause::Refused {
                        step, command_id, ..
                    }
                    | Cause::TakenBack { step, command_id } = cause
                    {
                        cause = Cause::Succeeded {
                            step,
                            command_id,
                            position,
                        };
                    }
                }
            }
        }
        Err(WorkError::Races)
    }
}

/// When a saga next has something to do by itself.
fn next_due<P: ProcessManager>(instance: &Instance<P>) -> Option<DateTime<Utc>> {
    if instance.status().is_final() {
        return None;
    }
    let waiting = instance.outstanding().values();
    let waiting = waiting.filter(|command| !command.parked);
    let commands = waiting.map(|command| command.due);
    commands.chain(instance.deadlines().values().copied()).min()
}

/// Why a saga can't be worked on just now.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Saga(#[from] SagaError),
    #[error("failed to send `{step}`: {problem}")]
    Trouble { step: String, problem: String },
    #[error("others kept writing to its stream during {MAX_RACES} attempts")]
    Races,
}
