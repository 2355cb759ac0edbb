//! From what a reaction decides to the events that say so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use chrono::{DateTime, SubsecRound as _, Utc};

use super::{
    actions::Action,
    event::SagaEvent,
    input::StoredInput,
    instance::Instance,
    process::{ProcessManager, ReactError},
    targets::SendsTo as _,
};
use crate::{
    id::CommandId,
    name::{MAX_NAME_BYTES, check},
};

/// What is outstanding and scheduled while a reaction is put together.
pub(super) struct Ledger {
    key: String,
    targets: Vec<&'static str>,
    /// The commands without an outcome, with when they are due.
    outstanding: BTreeMap<String, DateTime<Utc>>,
    recalled: BTreeSet<String>,
    deadlines: BTreeMap<String, DateTime<Utc>>,
    sends: HashMap<String, u32>,
    pub(super) ended: bool,
}

impl Ledger {
    pub(super) fn of<P: ProcessManager>(instance: &Instance<P>) -> Self {
        Self {
            key: format!("saga {}", instance.stream),
            targets: P::SendsTo::categories(),
            outstanding: instance
                .outstanding
                .iter()
                .map(|(step, command)| (step.clone(), command.due))
                .collect(),
            recalled: instance
                .outstanding
                .iter()
                .filter(|(_, command)| command.recalled.is_some())
                .map(|(step, _)| step.clone())
                .collect(),
            deadlines: instance.deadlines.clone(),
            sends: instance.sends.clone(),
            ended: instance.status().is_final(),
        }
    }

    /// The input says that something is not outstanding any more.
    pub(super) fn settle(&mut self, input: &StoredInput) {
        match input {
            StoredInput::Succeeded { step } | StoredInput::Rejected { step, .. } => {
                self.outstanding.remove(step);
                self.recalled.remove(step);
            }
            StoredInput::Deadline { name } => {
                self.deadlines.remove(name);
            }
            StoredInput::Started(_) | StoredInput::Event(_) => {}
        }
    }

    pub(super) fn carry_out(
        &mut self,
        decided: Vec<Action>,
        now: DateTime<Utc>,
    ) -> Result<Vec<SagaEvent>, ReactError> {
        let mut events = Vec::with_capacity(decided.len());
        for action in decided {
            if self.ended {
                return Err(ReactError::new("it went on after it had ended"));
            }
            self.carry_out_one(action, now, &mut events)?;
        }
        Ok(events)
    }

    fn carry_out_one(
        &mut self,
        action: Action,
        now: DateTime<Utc>,
        events: &mut Vec<SagaEvent>,
    ) -> Result<(), ReactError> {
        match action {
            Action::Send { .. } => events.push(self.send(action, now)?),
            Action::Recall { step, reason } => {
                if let Some(due) = self.outstanding.get_mut(&step)
                    && self.recalled.insert(step.clone())
                {
                    let due = std::mem::replace(due, now);
                    events.push(recalled(step, reason, due, now));
                }
            }
            Action::Schedule { name, due } => {
                events.extend(self.cancel(&name));
                let due = storable(due);
                self.deadlines.insert(name.clone(), due);
                events.push(SagaEvent::Scheduled { name, due });
            }
            Action::Cancel { name } => events.extend(self.cancel(&name)),
            Action::Turn(event) => {
                if event.ends() {
                    self.end(events)?;
                }
                events.push(event);
            }
        }
        Ok(())
    }

    fn send(&mut self, action: Action, now: DateTime<Utc>) -> Result<SagaEvent, ReactError> {
        let Action::Send {
            step,
            command,
            retry,
            insist,
        } = action
        else {
            return Err(ReactError::new("it is no command"));
        };
        check("step", &step, MAX_NAME_BYTES)?;
        if !self.targets.contains(&command.aggregate.as_str()) {
            let aggregate = &command.aggregate;
            return Err(ReactError::new(format!(
                "it sends `{step}` to `{aggregate}`, which is not one of the aggregates in its `SendsTo`"
            )));
        }
        if self.outstanding.contains_key(&step) {
            return Err(ReactError::new(format!(
                "it sends `{step}` while an earlier command of that name is outstanding"
            )));
        }
        self.outstanding.insert(step.clone(), now);
        let sends = self.sends.entry(step.clone()).or_default();
        let command_id = CommandId::from_key(&self.key, &format!("{step}#{sends}"));
        *sends += 1;
        Ok(SagaEvent::Sent {
            step,
            command,
            command_id,
            retry,
            insist,
            due: now,
        })
    }

    fn cancel(&mut self, name: &str) -> Option<SagaEvent> {
        let due = self.deadlines.remove(name)?;
        let name = name.to_owned();
        Some(SagaEvent::Cancelled { name, due })
    }

    pub(super) fn cancel_all(&mut self) -> impl Iterator<Item = SagaEvent> {
        let deadlines = std::mem::take(&mut self.deadlines).into_iter();
        deadlines.map(|(name, due)| SagaEvent::Cancelled { name, due })
    }

    fn end(&mut self, events: &mut Vec<SagaEvent>) -> Result<(), ReactError> {
        if let Some(step) = self.outstanding.keys().next() {
            return Err(ReactError::new(format!(
                "it ends while `{step}` is outstanding; recall the command first"
            )));
        }
        events.extend(self.cancel_all());
        self.ended = true;
        Ok(())
    }
}

/// A command that is due at a time is to be taken back now.
pub(super) fn recalled(
    step: String,
    reason: String,
    due: DateTime<Utc>,
    now: DateTime<Utc>,
) -> SagaEvent {
    SagaEvent::Recalled {
        step,
        reason,
        due: Some(due),
        now: Some(now),
    }
}

/// The time so long after `now`.
pub(super) fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    let wait = chrono::TimeDelta::from_std(wait).ok();
    let due = wait.and_then(|wait| now.checked_add_signed(wait));
    storable(due.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// A due time as every store can keep and sort it: whole microseconds, and a year of four digits.
fn storable(due: DateTime<Utc>) -> DateTime<Utc> {
    const LAST: i64 = 253_402_300_799; // 9999-12-31 23:59:59
    let last = DateTime::from_timestamp(LAST, 0).unwrap_or_default();
    due.clamp(DateTime::UNIX_EPOCH, last).trunc_subsecs(6)
}
