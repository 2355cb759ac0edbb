//! Linear sagas: a plan of steps, and the compensation that follows from it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    actions::Actions,
    plan::{Plan, PlanStep},
    process::{Correlation, Input, NoEvents, ProcessManager, ReactError},
    targets::SendsTo,
};
use crate::{event::Recorded, id::Id};

/// The name of the whole plan's deadline.
const PLAN: &str = "plan";

/// A process of steps, one after the other, each a command to an aggregate.
///
/// When a step is refused or its deadline passes, the steps that were done are undone in reverse
/// order, and the saga ends as compensated. A value of the type is what one saga is asked for.
///
/// ```
/// # use annals_core::{Aggregate, Event};
/// use annals_core::saga::{Plan, Retry, Saga};
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
/// # #[derive(Event, Serialize, Deserialize, Clone, Debug)]
/// # #[event(crate = annals_core, category = "account")]
/// # enum AccountEvent { Deposited, Withdrawn }
/// # #[derive(Serialize, Deserialize, Clone, Debug)]
/// # enum AccountCommand { Deposit { cents: i64 }, Withdraw { cents: i64 } }
/// # #[derive(Clone, Debug, Default)] struct Account;
/// # impl Aggregate for Account {
/// #     type Id = String; type Command = AccountCommand; type Event = AccountEvent; type Error = std::convert::Infallible;
/// #     fn decide(&self, _: AccountCommand) -> Result<Vec<AccountEvent>, Self::Error> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &AccountEvent) {}
/// # }
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct Transfer { from: String, to: String, cents: i64 }
///
/// impl Saga for Transfer {
///     const NAME: &'static str = "transfer";
///     type Id = String;
///     type SendsTo = (Account,);
///
///     fn plan(&self, _id: &String, plan: &mut Plan) {
///         let cents = self.cents;
///         plan.step("debit")
///             .command::<Account>(&self.from, AccountCommand::Withdraw { cents })
///             .undo(AccountCommand::Deposit { cents });
///         plan.step("credit")
///             .command::<Account>(&self.to, AccountCommand::Deposit { cents })
///             .retry(Retry::until_deadline())
///             .deadline(Duration::from_secs(30));
///     }
/// }
/// # let mut plan = Plan::default();
/// # Transfer { from: "a".into(), to: "b".into(), cents: 1 }.plan(&"1".into(), &mut plan);
/// # plan.check(&["account"])?;
/// # Ok::<_, annals_core::saga::PlanError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a saga",
    note = "implement `Saga` for it: `plan` names the steps, each with its command and what undoes it"
)]
pub trait Saga: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What this kind of saga is called, in streams and by operators: lower-case ASCII letters,
    /// digits and `_`. It must never change.
    const NAME: &'static str;

    /// Identifies one saga of this kind.
    type Id: Id;
    /// The aggregates it sends commands to, as a tuple: `(Account,)`.
    type SendsTo: SendsTo;

    /// Lays down the steps. It is called once, when the saga starts.
    fn plan(&self, id: &Self::Id, plan: &mut Plan);

    /// Whether to try a refused step again, where it has attempts left.
    ///
    /// `rejection` is the aggregate's own error, to be downcast. Always, unless implemented.
    fn retries(step: &str, rejection: &(dyn std::error::Error + 'static)) -> bool {
        let _ = (step, rejection);
        true
    }
}

/// What a linear saga starts with: what is asked for, and the plan made of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "S: Saga")]
pub struct LinearStart<S> {
    /// What is asked for.
    pub saga: S,
    /// The steps.
    pub plan: Plan,
}

impl<S: Saga> LinearStart<S> {
    /// Makes the plan.
    #[must_use]
    pub fn of(id: &S::Id, saga: S) -> Self {
        let mut plan = Plan::default();
        saga.plan(id, &mut plan);
        Self { saga, plan }
    }
}

/// The [`ProcessManager`] that carries out a [`Saga`]'s plan.
#[derive(Clone, Debug)]
pub struct Linear<S> {
    start: Option<Arc<LinearStart<S>>>,
    /// How each step stands.
    steps: Vec<Progress>,
    /// The stage whose steps were sent last; none once all are done.
    ///
    /// It stays as it is from when the rest is given up: what was done by then, though the saga
    /// hears of it only later, brings on no further stage.
    stage: Option<usize>,
    /// Why the rest is not done any more.
    failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Not sent yet, or without an outcome.
    Open,
    Done,
    Refused,
    Undone,
}

impl<S> Default for Linear<S> {
    fn default() -> Self {
        Self {
            start: None,
            steps: Vec::new(),
            stage: None,
            failure: None,
        }
    }
}

impl<S: Saga> ProcessManager for Linear<S> {
    const NAME: &'static str = S::NAME;
    type Id = S::Id;
    type Start = LinearStart<S>;
    type Event = NoEvents;
    type SendsTo = S::SendsTo;

    fn correlate(event: &Recorded<NoEvents>) -> Correlation<S::Id> {
        match event.event {}
    }

    fn evolve(&mut self, input: &Input<'_, LinearStart<S>, NoEvents>) {
        match input {
            Input::Started(start) => {
                self.steps = vec![Progress::Open; start.plan.steps().len()];
                self.start = Some(Arc::new((*start).clone()));
                self.stage = self.first_not_done();
            }
            Input::Succeeded { step } => match step.strip_prefix(UNDO) {
                Some(step) => self.set(step, Progress::Undone),
                None => {
                    self.set(step, Progress::Done);
                    if self.failure.is_none() {
                        self.stage = self.first_not_done();
                    }
                }
            },
            Input::Rejected { step, reason } => {
                self.set(step, Progress::Refused);
                self.blame(step, reason);
            }
            Input::Deadline { name } if *name == PLAN => {
                let within = self.start.as_ref().and_then(|start| start.plan.within());
                self.failure.get_or_insert_with(|| too_late(within));
            }
            Input::Deadline { .. } => {}
            Input::Event(event) => match event.event {},
        }
    }

    fn react(
        &self,
        input: &Input<'_, LinearStart<S>, NoEvents>,
        actions: &mut Actions,
    ) -> Result<(), ReactError> {
        let start = self.start.as_ref().ok_or("it has no plan")?;
        let plan = &start.plan;
        match input {
            Input::Started(_) => {
                if let Some(within) = plan.within() {
                    actions.schedule(PLAN, within);
                }
                send_stage(plan, 0, actions);
                return Ok(());
            }
            Input::Succeeded { step } | Input::Rejected { step, .. } => {
                actions.cancel(&deadline_of(step));
            }
            Input::Deadline { name } if *name != PLAN => {
                if let Some(step) = name.strip_prefix(STEP) {
                    let step = plan.steps().iter().find(|planned| planned.name == step);
                    let step = step.ok_or("the deadline is of no step")?;
                    actions.recall(&step.name, too_late(step.deadline));
                }
                return Ok(());
            }
            Input::Deadline { .. } => {}
            Input::Event(event) => match event.event {},
        }
        match &self.failure {
            // Also when it is too late: of what is all done nothing is left to be given up.
            _ if self.is_all_done() => actions.complete(),
            None => self.go_on(plan, actions),
            Some(reason) => self.go_back(plan, reason, actions),
        }
        Ok(())
    }

    fn retries(step: &str, rejection: &(dyn std::error::Error + 'static)) -> bool {
        S::retries(step, rejection)
    }
}

const UNDO: &str = "undo:";
const STEP: &str = "step:";

fn deadline_of(step: &str) -> String {
    format!("{STEP}{step}")
}

fn too_late(within: Option<Duration>) -> String {
    format!("not done within {:?}", within.unwrap_or_default())
}

fn send_stage(plan: &Plan, stage: usize, actions: &mut Actions) {
    for step in plan.steps().iter().filter(|step| step.stage == stage) {
        let sending = actions.send_command(&step.name, step.command.clone());
        if let Some(retry) = step.retry {
            sending.retry(retry);
        }
        if let Some(within) = step.deadline {
            actions.schedule(&deadline_of(&step.name), within);
        }
    }
}

impl<S> Linear<S> {
    /// What was asked for, once it has started.
    #[must_use]
    pub fn saga(&self) -> Option<&S> {
        self.start.as_ref().map(|start| &start.saga)
    }

    fn set(&mut self, name: &str, progress: Progress) {
        let Some(start) = &self.start else { return };
        let index = start.plan.steps().iter().position(|step| step.name == name);
        if let Some(step) = index.and_then(|index| self.steps.get_mut(index)) {
            *step = progress;
        }
    }

    /// Notes why the rest is not done any more, unless that is known already.
    fn blame(&mut self, step: &str, reason: &str) {
        let Some(failure) = &self.failure else {
            self.failure = Some(format!("{step}: {reason}"));
            return;
        };
        // A step that the plan's deadline took back tells what stood in its way until then.
        let within = self.start.as_ref().and_then(|start| start.plan.within());
        if *failure == too_late(within) && reason.starts_with(failure.as_str()) {
            self.failure = Some(reason.to_owned());
        }
    }

    fn with<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> impl DoubleEndedIterator<Item = (&'a PlanStep, Progress)> {
        plan.steps().iter().zip(self.steps.iter().copied())
    }

    fn is_all_done(&self) -> bool {
        self.steps.iter().all(|step| *step == Progress::Done)
    }

    /// The first stage that is not wholly done.
    fn first_not_done(&self) -> Option<usize> {
        let plan = &self.start.as_ref()?.plan;
        let mut open = self
            .with(plan)
            .filter(|(_, progress)| *progress != Progress::Done);
        open.next().map(|(step, _)| step.stage)
    }

    /// Takes the next stage's steps, once all of this one's are done.
    fn go_on(&self, plan: &Plan, actions: &mut Actions) {
        let Some(stage) = self.stage else { return };
        let begun = self
            .with(plan)
            .any(|(step, progress)| step.stage == stage && progress == Progress::Done);
        if !begun {
            send_stage(plan, stage, actions);
        }
    }

    /// Takes back what is under way, and then undoes what was done, the last first.
    fn go_back(&self, plan: &Plan, reason: &str, actions: &mut Actions) {
        actions.cancel(PLAN);
        let mut waiting = false;
        for (step, progress) in self.with(plan) {
            if Some(step.stage) == self.stage && progress == Progress::Open {
                actions.recall(&step.name, reason);
                waiting = true;
            }
        }
        if waiting {
            return;
        }
        let nothing_undone = self
            .with(plan)
            .all(|(_, progress)| progress != Progress::Undone);
        let next = self.with(plan).rev().find_map(|(step, progress)| {
            let undo = step.undo.as_ref().filter(|_| progress == Progress::Done)?;
            Some((step, undo))
        });
        let done = self
            .with(plan)
            .any(|(_, progress)| matches!(progress, Progress::Done | Progress::Undone));
        match next {
            Some((step, undo)) => {
                if nothing_undone {
                    actions.compensating(reason);
                }
                actions
                    .send_command(&format!("{UNDO}{}", step.name), undo.clone())
                    .retry(plan.undo_policy())
                    .insist();
            }
            None if done => actions.compensated(reason),
            None => actions.fail(reason),
        }
    }
}
