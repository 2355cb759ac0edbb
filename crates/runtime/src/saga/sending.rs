//! The commands of one saga that are on their way.

use std::{
    collections::{BTreeMap, HashSet},
    panic::resume_unwind,
    sync::Arc,
};

use annals_core::{
    CommandId,
    saga::{Instance, ProcessManager},
};
use chrono::{DateTime, Utc};
use tokio::{task::JoinSet, time::Instant};
use tracing::Instrument as _;

use super::delivery::{Delivery, Receivers};
use crate::{command::Commands, projection::Backoff};

/// Sends a saga's commands, any number at the same time.
pub(super) struct Sending<'a> {
    receivers: &'a Receivers,
    commands: &'a Arc<Commands>,
    /// Tasks of their own: were one left unpolled while its outcome's neighbour is recorded, a lock
    /// or connection of the store that it has its turn for would be kept from the record for ever.
    on_the_way: JoinSet<Sent>,
    ids: HashSet<CommandId>,
    /// Those that could not be sent just now.
    resting: BTreeMap<CommandId, Rest>,
}

/// A command that was sent, and what came of it.
pub(super) struct Sent {
    pub(super) step: String,
    pub(super) command_id: CommandId,
    pub(super) delivery: Delivery,
}

struct Rest {
    backoff: Backoff,
    until: Instant,
    problem: String,
}

impl<'a> Sending<'a> {
    pub(super) fn new(receivers: &'a Receivers, commands: &'a Arc<Commands>) -> Self {
        Self {
            receivers,
            commands,
            on_the_way: JoinSet::new(),
            ids: HashSet::new(),
            resting: BTreeMap::new(),
        }
    }

    /// Sends what is due and not on its way yet.
    pub(super) fn send<P: ProcessManager>(&mut self, instance: &Instance<P>, now: DateTime<Utc>) {
        for (step, command) in instance.due_commands(now) {
            let id = command.command_id;
            let rest = self.resting.get(&id);
            let rests = rest.is_some_and(|rest| rest.until > Instant::now());
            if rests || !self.ids.insert(id) {
                continue;
            }
            let (receivers, commands) = (self.receivers.clone(), Arc::clone(self.commands));
            let (step, command) = (step.to_owned(), command.clone());
            let origin = instance.origin().cloned();
            let sending = async move {
                let sent = receivers.deliver(&commands, &step, &command, origin.as_ref());
                Sent {
                    delivery: sent.await,
                    step,
                    command_id: id,
                }
            };
            self.on_the_way.spawn(sending.in_current_span());
        }
    }

    /// The next command of which something has come, if any is on its way.
    pub(super) async fn next(&mut self) -> Option<Sent> {
        let sent = match self.on_the_way.join_next().await? {
            Ok(sent) => sent,
            // Not the aggregate's panic, which is an outcome. Nobody but the worker's end cancels.
            Err(error) => resume_unwind(error.try_into_panic().ok()?),
        };
        self.ids.remove(&sent.command_id);
        if !matches!(sent.delivery, Delivery::Trouble(_)) {
            self.resting.remove(&sent.command_id);
        }
        Some(sent)
    }

    /// A command could not be sent just now: it is left alone for a while.
    pub(super) fn rest(&mut self, command_id: CommandId, problem: String) {
        let rest = self.resting.entry(command_id).or_insert_with(|| Rest {
            backoff: Backoff::new(command_id),
            until: Instant::now(),
            problem: String::new(),
        });
        rest.problem = problem;
        rest.until = Instant::now() + rest.backoff.failed();
    }

    /// Whether the saga still waits for one of the commands on their way. It does not for those that
    /// were taken back meanwhile: whatever comes of them is known.
    pub(super) fn is_awaited<P: ProcessManager>(&self, instance: &Instance<P>) -> bool {
        let mut outstanding = instance.outstanding().values();
        outstanding.any(|command| self.ids.contains(&command.command_id))
    }

    /// A command that the saga still waits for and that could not be sent, with what was in the way.
    pub(super) fn trouble<P: ProcessManager>(
        &self,
        instance: &Instance<P>,
    ) -> Option<(String, String)> {
        let mut outstanding = instance.outstanding().iter();
        outstanding.find_map(|(step, command)| {
            let rest = self.resting.get(&command.command_id)?;
            Some((step.clone(), rest.problem.clone()))
        })
    }

    /// When the saga next has something to do, apart from the commands on their way.
    pub(super) fn next_due<P: ProcessManager>(
        &self,
        instance: &Instance<P>,
    ) -> Option<DateTime<Utc>> {
        let waiting = instance.outstanding().values().filter(|command| {
            let parked = command.parked && command.recalled.is_none();
            !parked && !self.ids.contains(&command.command_id)
        });
        let commands = waiting.map(|command| command.due);
        let deadlines = instance.deadlines().values().copied();
        commands.chain(deadlines).min()
    }
}
