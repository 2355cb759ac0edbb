//! Random plans under random orders of what can happen: each ends, all done or all undone.
//!
//! What fails prints its seed; `ANNALS_SEED` runs it again.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)] // a test fails by panicking

use std::{collections::BTreeSet, convert::Infallible, fmt::Write as _, time::Duration};

use annals_core::{
    Aggregate, CausationId, CommandId, CorrelationId, Event, EventId, Metadata, Position,
    saga::{
        Cause, Instance, Linear, LinearStart, Operation, Plan, Retry, Saga, SagaCommand, SagaEvent,
        SagaStatus, saga_stream,
    },
};
use annals_testing::{
    clock::dawn,
    seed::{Seed, printed},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const PLANS: u64 = 2_000;
/// In so many moves every saga has ended, unless it hangs or goes round in circles.
const MOVES: usize = 5_000;

#[derive(Event, Serialize, Deserialize, Clone, Debug)]
#[event(crate = annals_core, category = "room")]
enum RoomEvent {
    Booked,
}

#[derive(Clone, Debug, Default)]
struct Room;

impl Aggregate for Room {
    type Id = String;
    type Command = ();
    type Event = RoomEvent;
    type Error = Infallible;

    fn decide(&self, (): ()) -> Result<Vec<RoomEvent>, Infallible> {
        Ok(vec![])
    }

    fn evolve(&mut self, _: &RoomEvent) {}
}

/// One of the steps.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Leg {
    stage: usize,
    undo: bool,
    deadline: Option<Duration>,
    retry: Option<Retry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Journey {
    legs: Vec<Leg>,
    deadline: Option<Duration>,
}

fn name(index: usize) -> String {
    format!("leg{index}")
}

impl Saga for Journey {
    const NAME: &'static str = "journey";
    type Id = String;
    type SendsTo = (Room,);

    fn plan(&self, id: &String, plan: &mut Plan) {
        if let Some(within) = self.deadline {
            plan.deadline(within);
        }
        plan.undo_retry(Retry::times(2));
        let mut before = None;
        for (index, leg) in self.legs.iter().enumerate() {
            let step = match before.replace(leg.stage) == Some(leg.stage) {
                true => plan.also(&name(index)),
                false => plan.step(&name(index)),
            };
            let mut step = step.command::<Room>(id, ());
            if leg.undo {
                step = step.undo(());
            }
            if let Some(within) = leg.deadline {
                step = step.deadline(within);
            }
            if let Some(retry) = leg.retry {
                step.retry(retry);
            }
        }
    }
}

fn within(seed: &mut Seed) -> Option<Duration> {
    let seconds = 1 + u64::try_from(seed.below(100)).unwrap();
    seed.chance(1, 2).then(|| Duration::from_secs(seconds))
}

fn journey(seed: &mut Seed) -> Journey {
    let mut stage = 0;
    let legs = (0..=seed.below(6)).map(|_| {
        stage += seed.below(2);
        Leg {
            stage,
            undo: seed.chance(2, 3),
            deadline: within(seed),
            retry: seed.chance(1, 3).then(|| Retry::times(2)),
        }
    });
    Journey {
        legs: legs.collect(),
        deadline: within(seed),
    }
}

/// A saga, and what its commands did whether it knows or not.
struct World {
    journey: Journey,
    saga: Instance<Linear<Journey>>,
    now: DateTime<Utc>,
    /// What was carried out, under the names that the commands were sent under.
    effects: Vec<String>,
    carried_out: BTreeSet<CommandId>,
    is_late: bool,
    story: String,
}

/// What can happen next.
#[derive(Clone, Debug)]
enum Move {
    /// A command has its effect; the saga may hear of it much later.
    CarryOut(String),
    Tell(Cause),
    Wait(String),
    Retry,
}

impl World {
    fn new(journey: Journey) -> Self {
        let id = "1".to_owned();
        let start = LinearStart::of(&id, journey.clone());
        start.plan.check(&["room"]).unwrap();
        let mut world = Self {
            journey,
            saga: Instance::new(saga_stream(Journey::NAME, &id).unwrap()),
            now: dawn(),
            effects: Vec::new(),
            carried_out: BTreeSet::new(),
            is_late: false,
            story: String::new(),
        };
        world.tell(Cause::Start(serde_json::to_value(start).unwrap()));
        world
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (step, command) in self.saga.outstanding() {
            if self.carried_out.contains(&command.command_id) {
                moves.push(Move::Tell(self.done(step)));
                continue;
            }
            moves.push(Move::CarryOut(step.clone()));
            let (step, command_id) = (step.clone(), command.command_id);
            moves.extend([true, false].map(|again| {
                Move::Tell(Cause::Refused {
                    step: step.clone(),
                    command_id,
                    reason: "full".to_owned(),
                    again,
                })
            }));
            if command.recalled.is_some() {
                moves.push(Move::Tell(Cause::TakenBack { step, command_id }));
            }
        }
        moves.extend(self.saga.deadlines().keys().cloned().map(Move::Wait));
        if self.saga.status() == SagaStatus::Stuck {
            moves.push(Move::Retry);
        }
        moves
    }

    fn done(&self, step: &str) -> Cause {
        Cause::Succeeded {
            step: step.to_owned(),
            command_id: self.saga.outstanding()[step].command_id,
            position: Position::new(1),
        }
    }

    fn make(&mut self, next: Move) {
        writeln!(self.story, "{next:?}").unwrap();
        match next {
            Move::CarryOut(step) => {
                let command_id = self.saga.outstanding()[&step].command_id;
                assert!(self.carried_out.insert(command_id), "{}", self.story);
                self.effects.push(step);
            }
            Move::Tell(cause) => self.tell(cause),
            Move::Wait(name) => {
                self.now = self.now.max(self.saga.deadlines()[&name]);
                self.tell(Cause::Due { name });
            }
            Move::Retry => {
                let events = self.saga.operate(Operation::Retry, self.now).unwrap();
                self.append(events);
            }
        }
    }

    fn tell(&mut self, cause: Cause) {
        let reaction = self.saga.react(cause, self.now);
        self.append(reaction.events);
    }

    fn append(&mut self, events: Vec<SagaEvent>) {
        for event in events {
            writeln!(self.story, "  {event:?}").unwrap();
            match &event {
                SagaEvent::Sent { step, .. } => self.check_sent(step),
                SagaEvent::Fired { name, .. } if name == "plan" => self.is_late = true,
                SagaEvent::Stuck { step: None, .. } => panic!("{}", self.story),
                _ => {}
            }
            let id = Uuid::from_u128(u128::from(self.saga.version().get()));
            let metadata = Metadata::caused_by(CausationId::new(id), CorrelationId::new(id));
            let applied = self.saga.apply(&event, EventId::new(id), &metadata);
            applied.unwrap();
        }
    }

    fn did(&self, step: &str) -> usize {
        self.effects.iter().filter(|effect| *effect == step).count()
    }

    fn check_sent(&self, step: &str) {
        let story = &self.story;
        let Some(undone) = step.strip_prefix("undo:") else {
            assert!(!self.is_late, "`{step}` comes too late:\n{story}");
            return;
        };
        let nothing_else = self.saga.outstanding().is_empty();
        assert!(nothing_else, "`{step}` goes before an outcome:\n{story}");
        assert_eq!(self.did(undone), 1, "`{step}` undoes nothing:\n{story}");
    }

    fn check_end(&self) {
        let story = &self.story;
        let legs: Vec<_> = self.journey.legs.iter().enumerate().collect();
        let done = |index| self.did(&name(index));
        let undone = |index| self.did(&format!("undo:{}", name(index)));
        let all = legs.iter().all(|(index, _)| done(*index) == 1);
        let nothing = self.effects.is_empty();
        let expected = match (all, nothing) {
            (true, _) => SagaStatus::Completed,
            (false, true) => SagaStatus::Failed,
            (false, false) => SagaStatus::Compensated,
        };
        assert_eq!(self.saga.status(), expected, "{story}");
        for (index, leg) in &legs {
            let expected = usize::from(!all && leg.undo && done(*index) == 1);
            assert_eq!(undone(*index), expected, "undo of {index}:\n{story}");
        }
        let undos = self.effects.iter().filter_map(|effect| {
            let index = effect.strip_prefix("undo:leg")?;
            Some(self.journey.legs[index.parse::<usize>().unwrap()].stage)
        });
        let undos: Vec<_> = undos.collect();
        assert!(undos.is_sorted_by(|a, b| a >= b), "{undos:?}:\n{story}");
        assert!(self.saga.deadlines().is_empty(), "{story}");
    }
}

#[test]
fn every_plan_ends_all_done_or_all_undone_whatever_happens_in_which_order() {
    let number = printed();
    for which in 0..PLANS {
        let mut seed = Seed::apart(number, which);
        let mut world = World::new(journey(&mut seed));
        for _ in 0..MOVES {
            if world.saga.status().is_final() {
                break;
            }
            let moves = world.moves();
            let what = format!("plan {which} {:?}", world.journey);
            assert!(!moves.is_empty(), "{what} hangs:\n{}", world.story);
            world.make(moves[seed.below(moves.len())].clone());
        }
        world.check_end();
    }
}

/// An earlier release undid what was all done, when the deadline of the plan passed before the saga
/// had heard of its last step. A saga that it has left like that must still come to an end.
#[test]
fn a_saga_that_began_to_undo_what_was_all_done_goes_on_to_undo_it() {
    let leg = |stage, undo| Leg {
        stage,
        undo,
        deadline: None,
        retry: None,
    };
    let mut world = World::new(Journey {
        legs: vec![leg(0, true), leg(1, false)],
        deadline: Some(Duration::from_secs(60)),
    });
    let (first, last) = ("leg0".to_owned(), "leg1".to_owned());
    world.make(Move::CarryOut(first.clone()));
    world.make(Move::Tell(world.done(&first)));
    world.make(Move::CarryOut(last.clone()));
    let (due, reason) = (world.now, "not done within 60s".to_owned());
    let undo = format!("undo:{first}");
    world.append(vec![
        SagaEvent::Fired {
            name: "plan".to_owned(),
            due,
        },
        SagaEvent::Recalled {
            step: last.clone(),
            reason: reason.clone(),
            due: None,
            now: None,
        },
        SagaEvent::Succeeded {
            step: last,
            due,
            position: Position::new(1),
        },
        SagaEvent::Compensating {
            reason: reason.clone(),
        },
        SagaEvent::Sent {
            step: undo.clone(),
            command: SagaCommand::to::<Room>(&"1".to_owned(), &()).unwrap(),
            command_id: CommandId::from_key("test", &undo),
            retry: None,
            insist: true,
            due,
        },
    ]);
    world.make(Move::CarryOut(undo.clone()));
    world.make(Move::Tell(world.done(&undo)));
    let stands = (world.saga.status(), world.saga.reason());
    assert_eq!(stands, (SagaStatus::Compensated, Some(reason.as_str())));
}
