//! The plan of a linear saga: steps as data.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::{Deserialize, Serialize};

use super::{command::SagaCommand, retry::Retry};
use crate::{
    aggregate::Aggregate,
    name::{InvalidName, check},
};

/// The longest name of a step, in bytes.
const MAX_STEP_BYTES: usize = 64;
/// The most steps of one plan.
const MAX_STEPS: usize = 1_000;

/// Why a saga with this plan does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It has nothing to do.
    #[error("the plan has no steps")]
    Empty,
    /// It has too many steps.
    #[error("the plan has {0} steps; {MAX_STEPS} are allowed")]
    TooMany(usize),
    /// A step's name is not allowed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Two steps have one name.
    #[error("two steps of the plan are called `{0}`")]
    TwoSteps(String),
    /// A command can't be kept until it is sent.
    #[error("step `{step}` can't be planned: {problem}")]
    Command {
        /// The step.
        step: String,
        /// What is wrong with its command.
        problem: String,
    },
    /// It sends to an aggregate that the saga does not name.
    #[error(
        "step `{step}` sends to `{aggregate}`, which is not one of the aggregates in the saga's `SendsTo`"
    )]
    NotATarget {
        /// The step.
        step: String,
        /// The aggregate.
        aggregate: String,
    },
}

/// The steps of a linear saga, with what undoes them.
///
/// It is written into the saga's stream when the saga starts, so that a running saga follows it
/// whatever a new release of the application would plan. What the aggregates decide about its
/// commands, and [`Saga::retries`](super::Saga::retries), are the new release's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    steps: Vec<PlanStep>,
    deadline: Option<Duration>,
    undo_retry: Retry,
    /// The first thing that is wrong with it.
    #[serde(skip)]
    problem: Option<(String, String)>,
}

/// One step of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanStep {
    /// Its name.
    pub name: String,
    /// Steps with one number are taken at the same time, after those with lower ones.
    pub stage: usize,
    /// What is done.
    pub command: SagaCommand,
    /// What undoes it.
    pub undo: Option<SagaCommand>,
    /// How long it may take.
    pub deadline: Option<Duration>,
    /// Whether it is tried again when it is refused.
    pub retry: Option<Retry>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            deadline: None,
            undo_retry: Retry::times(10),
            problem: None,
        }
    }
}

impl Plan {
    /// Adds a step, taken when the ones before are done.
    pub fn step(&mut self, name: &str) -> Step<'_> {
        let stage = self.steps.last().map_or(0, |last| last.stage + 1);
        self.step_at(name, stage)
    }

    /// Adds a step that is taken at the same time as the one before it.
    pub fn also(&mut self, name: &str) -> Step<'_> {
        let stage = self.steps.last().map_or(0, |last| last.stage);
        self.step_at(name, stage)
    }

    fn step_at(&mut self, name: &str, stage: usize) -> Step<'_> {
        let name = name.to_owned();
        Step {
            plan: self,
            name,
            stage,
        }
    }

    /// How long all of it may take, until compensation begins.
    pub fn deadline(&mut self, within: Duration) {
        self.deadline = Some(within);
    }

    /// How often a refused compensation is tried before the saga is stuck; 10 times unless set.
    pub fn undo_retry(&mut self, retry: Retry) {
        self.undo_retry = retry;
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[PlanStep] {
        &self.steps
    }

    /// How long all of it may take.
    #[must_use]
    pub fn within(&self) -> Option<Duration> {
        self.deadline
    }

    /// How often a refused compensation is tried.
    #[must_use]
    pub fn undo_policy(&self) -> Retry {
        self.undo_retry
    }

    /// Checks what the engine relies on; `targets` are the aggregates it may send to.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn check(&self, targets: &[&str]) -> Result<(), PlanError> {
        if let Some((step, problem)) = self.problem.clone() {
            return Err(PlanError::Command { step, problem });
        }
        match self.steps.len() {
            0 => return Err(PlanError::Empty),
            steps if steps > MAX_STEPS => return Err(PlanError::TooMany(steps)),
            _ => {}
        }
        let mut names = std::collections::HashSet::new();
        for step in &self.steps {
            check("step", &step.name, MAX_STEP_BYTES)?;
            if step.name.contains(':') {
                return Err(InvalidName::new("step", &step.name, "has a colon").into());
            }
            if !names.insert(&step.name) {
                return Err(PlanError::TwoSteps(step.name.clone()));
            }
            for command in std::iter::once(&step.command).chain(&step.undo) {
                if !targets.contains(&command.aggregate.as_str()) {
                    return Err(PlanError::NotATarget {
                        step: step.name.clone(),
                        aggregate: command.aggregate.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn prepare<A>(&mut self, step: &str, id: &A::Id, command: &A::Command) -> Option<SagaCommand>
    where
        A: Aggregate,
        A::Command: Serialize,
    {
        match SagaCommand::to::<A>(id, command) {
            Ok(command) => Some(command),
            Err(problem) => {
                let problem = (step.to_owned(), problem.to_string());
                self.problem.get_or_insert(problem);
                None
            }
        }
    }
}

/// A step that has a name, and needs a command.
#[derive(Debug)]
#[must_use = "a step is part of the plan once it has a command"]
pub struct Step<'p> {
    plan: &'p mut Plan,
    name: String,
    stage: usize,
}

impl<'p> Step<'p> {
    /// What is done: a command to an aggregate.
    pub fn command<A>(self, id: &A::Id, command: A::Command) -> StepOf<'p, A>
    where
        A: Aggregate,
        A::Command: Serialize,
    {
        let Self { plan, name, stage } = self;
        let index = plan.prepare::<A>(&name, id, &command).map(|command| {
            plan.steps.push(PlanStep {
                name,
                stage,
                command,
                undo: None,
                deadline: None,
                retry: None,
            });
            plan.steps.len() - 1
        });
        StepOf {
            plan,
            index,
            id: id.clone(),
            aggregate: PhantomData,
        }
    }
}

/// A step with its command, for what else there is to say about it.
pub struct StepOf<'p, A: Aggregate> {
    plan: &'p mut Plan,
    index: Option<usize>,
    id: A::Id,
    aggregate: PhantomData<A>,
}

impl<A> StepOf<'_, A>
where
    A: Aggregate,
    A::Command: Serialize,
{
    /// What undoes it: a command to the same aggregate.
    pub fn undo(self, command: A::Command) -> Self {
        let id = self.id.clone();
        self.undo_by::<A>(&id, command)
    }

    /// What undoes it: a command to another aggregate.
    pub fn undo_by<B>(mut self, id: &B::Id, command: B::Command) -> Self
    where
        B: Aggregate,
        B::Command: Serialize,
    {
        let name = self
            .edit()
            .map(|step| step.name.clone())
            .unwrap_or_default();
        let undo = self.plan.prepare::<B>(&name, id, &command);
        if let Some(step) = self.edit() {
            step.undo = undo;
        }
        self
    }

    /// How long it may take, refusals and retries included. Then it is taken back, and what was
    /// done before is undone.
    pub fn deadline(mut self, within: Duration) -> Self {
        if let Some(step) = self.edit() {
            step.deadline = Some(within);
        }
        self
    }

    /// Tries it again when it is refused, rather than give up at once.
    pub fn retry(mut self, retry: Retry) -> Self {
        if let Some(step) = self.edit() {
            step.retry = Some(retry);
        }
        self
    }

    fn edit(&mut self) -> Option<&mut PlanStep> {
        self.plan.steps.get_mut(self.index?)
    }
}

impl<A: Aggregate> fmt::Debug for StepOf<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepOf")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
