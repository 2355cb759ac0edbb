//! What must hold of the log, at every position.

use std::collections::{BTreeMap, HashMap};

use annals_core::{
    EventId, EventStore as _, LogRead, MemoryStore, Position,
    saga::{SagaEvent, SagaName},
};

use crate::accounts::AccountEvent;

/// What is wrong when a command was carried out though its rejection was believed.
pub(crate) const BOTH: &str = "`credit` and `undo:debit` were both carried out";

/// What a transfer has done so far.
#[derive(Debug, Default)]
struct Tally {
    cents: i64,
    effects: BTreeMap<String, u32>,
    fired: BTreeMap<String, u32>,
    ends: Vec<SagaEvent>,
    stuck: bool,
}

impl Tally {
    fn did(&self, step: &str) -> i64 {
        self.effects.get(step).copied().unwrap_or(0).into()
    }

    /// Money that has left one account and has not arrived anywhere.
    fn in_flight(&self) -> i64 {
        self.cents * (self.did("debit") - self.did("credit") - self.did("undo:debit"))
    }
}

/// The log, a line for each event.
pub(crate) async fn lines(store: &MemoryStore) -> Vec<String> {
    let page = store.read_log(LogRead::after(Position::START, usize::MAX));
    let events = page.await.unwrap().events.into_iter();
    let line = |event: annals_core::StoredEvent| {
        let payload = String::from_utf8_lossy(&event.payload).into_owned();
        format!("{:?} {payload}", event.header)
    };
    events.map(line).collect()
}

/// Checks the whole log; answers what is wrong first.
pub(crate) async fn check(store: &MemoryStore, transfers: usize) -> Result<(), String> {
    let page = store
        .read_log(LogRead::after(Position::START, usize::MAX))
        .await
        .unwrap();
    let mut sent: HashMap<EventId, (String, String)> = HashMap::new();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut put_in, mut held) = (0, 0);
    for stored in &page.events {
        if let Some(recorded) = stored.decode::<SagaEvent>().unwrap() {
            let id = SagaName::of(&stored.stream).unwrap().id.to_owned();
            if let SagaEvent::Sent { step, .. } = &recorded.event {
                sent.insert(stored.id, (id.clone(), step.clone()));
            }
            note(tallies.entry(id).or_default(), &recorded.event);
        }
        if let Some(recorded) = stored.decode::<AccountEvent>().unwrap() {
            let change = match recorded.event {
                AccountEvent::Deposited { cents } => cents,
                AccountEvent::Withdrawn { cents } => -cents,
                _ => 0,
            };
            held += change;
            let cause = EventId::new(stored.metadata.causation_id.uuid());
            match sent.get(&cause) {
                Some((id, step)) => {
                    let tally = tallies.entry(id.clone()).or_default();
                    tally.cents = change.abs();
                    *tally.effects.entry(step.clone()).or_default() += 1;
                    check_effects(id, tally)?;
                }
                None => put_in += change,
            }
        }
        let in_flight: i64 = tallies.values().map(Tally::in_flight).sum();
        if held + in_flight != put_in {
            return Err(format!(
                "position {}: {held} cents in accounts and {in_flight} in flight, of {put_in}",
                stored.position
            ));
        }
    }
    if tallies.len() != transfers {
        return Err(format!("{} sagas instead of {transfers}", tallies.len()));
    }
    tallies
        .iter()
        .try_for_each(|(id, tally)| check_end(id, tally))
}

fn note(tally: &mut Tally, event: &SagaEvent) {
    match event {
        SagaEvent::Fired { name, .. } => *tally.fired.entry(name.clone()).or_default() += 1,
        SagaEvent::Stuck { .. } => tally.stuck = true,
        SagaEvent::Retried { .. } => tally.stuck = false,
        event if event.ends() => tally.ends.push(event.clone()),
        _ => {}
    }
}

fn check_effects(id: &str, tally: &Tally) -> Result<(), String> {
    let twice = tally.effects.iter().find(|(_, times)| **times > 1);
    if let Some((step, times)) = twice {
        return Err(format!(
            "transfer {id}: `{step}` was carried out {times} times"
        ));
    }
    if tally.did("credit") + tally.did("undo:debit") > 1 {
        return Err(format!("transfer {id}: {BOTH}"));
    }
    match tally.in_flight() {
        0 => Ok(()),
        cents if cents == tally.cents => Ok(()),
        cents => Err(format!("transfer {id}: {cents} cents in flight: {tally:?}")),
    }
}

fn check_end(id: &str, tally: &Tally) -> Result<(), String> {
    if let Some((name, times)) = tally.fired.iter().find(|(_, times)| **times > 1) {
        return Err(format!(
            "transfer {id}: deadline `{name}` fired {times} times"
        ));
    }
    let effects = (
        tally.did("debit"),
        tally.did("credit"),
        tally.did("undo:debit"),
    );
    let fits = match tally.ends.as_slice() {
        [SagaEvent::Completed] => effects == (1, 1, 0),
        [SagaEvent::Compensated { .. }] => effects == (1, 0, 1),
        [SagaEvent::Failed { .. }] => effects == (0, 0, 0),
        [] if tally.stuck => effects == (1, 0, 0),
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(format!("transfer {id} has not ended well: {tally:?}")),
    }
}
