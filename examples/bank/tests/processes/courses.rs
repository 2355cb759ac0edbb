//! How transfers stand in the log: where their money is, and what became of their deadlines.
//!
//! Nothing of the framework is used here, so that a mistake in it does not hide itself.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{database::Database, log::Storage};

/// Up to where the money of a transfer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Sent,
    Received,
    Returned,
}

/// The money of a transfer, as the log has it.
#[derive(Clone, Debug)]
struct Course {
    stage: Stage,
    from: String,
    to: String,
    amount: i64,
}

/// Up to where the money of each transfer in the log got. Fails where money was made or lost: each
/// event must be what its transfer allows at its position.
pub(crate) async fn stages(storage: &mut Storage) -> Result<BTreeMap<String, Stage>, String> {
    let rows: Vec<(i64, String, String, Vec<u8>)> = storage
        .database
        .rows(
            "SELECT position, stream, type, payload FROM events \
             WHERE type LIKE 'account.transfer%' ORDER BY position",
            &[],
        )
        .await
        .unwrap();
    let mut courses = BTreeMap::new();
    for (position, stream, event_type, payload) in rows {
        let payload = serde_json::from_slice(&payload).unwrap();
        let account = stream.strip_prefix("account-").unwrap();
        take(&mut courses, account, &event_type, &payload)
            .map_err(|error| format!("at position {position}: {error}"))?;
    }
    let stage = |(id, course): (String, Course)| (id, course.stage);
    Ok(courses.into_iter().map(stage).collect())
}

/// Takes an event in, which happened to an account.
fn take(
    courses: &mut BTreeMap<String, Course>,
    account: &str,
    event_type: &str,
    payload: &Value,
) -> Result<(), String> {
    let id = payload["transfer"].as_str().unwrap();
    let amount = payload["amount"].as_i64().unwrap();
    let (stage, at) = match (event_type, courses.get(id)) {
        ("account.transfer_sent", None) => {
            let course = Course {
                stage: Stage::Sent,
                from: account.to_owned(),
                to: payload["to"].as_str().unwrap().to_owned(),
                amount,
            };
            courses.insert(id.to_owned(), course);
            return Ok(());
        }
        ("account.transfer_received", Some(course)) => (Stage::Received, course.to.as_str()),
        ("account.transfer_returned", Some(course)) => (Stage::Returned, course.from.as_str()),
        _ => return Err(format!("{event_type} of {id} comes out of the blue")),
    };
    let fits = |course: &Course| course.stage == Stage::Sent && course.amount == amount;
    match courses.get(id) {
        Some(course) if fits(course) && at == account => {}
        course => {
            return Err(format!(
                "{event_type} at {account}: {payload} after {course:?}"
            ));
        }
    }
    courses
        .entry(id.to_owned())
        .and_modify(|course| course.stage = stage);
    Ok(())
}

/// The deadline of a transfer, and how the transfer stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    pub(crate) due: DateTime<Utc>,
    pub(crate) state: TimerState,
    /// Whether an account has refused the transfer, and is to be asked again.
    pub(crate) put_off: bool,
    /// Whether the transfer has ended.
    pub(crate) ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerState {
    Pending,
    Fired,
    Lifted,
}

impl Timer {
    /// Whether it was reached.
    pub(crate) fn fired(&self) -> bool {
        self.state == TimerState::Fired
    }

    /// Whether it is yet to be reached or lifted.
    pub(crate) fn pending(&self) -> bool {
        self.state == TimerState::Pending
    }

    /// Waits until it is due, by the clock of the machine.
    pub(crate) async fn passes(&self) {
        let left = (self.due - Utc::now()).to_std().unwrap_or(Duration::ZERO);
        tokio::time::sleep(left + Duration::from_millis(1)).await;
    }
}

/// The deadlines of all transfers in the log. Fails where one is lost or fires when it should not:
/// too early, a second time, after it was lifted, or was not there when its transfer had ended.
pub(crate) async fn timers(storage: &mut Storage) -> Result<BTreeMap<String, Timer>, String> {
    let sql = match storage.database {
        Database::Sqlite(_) => {
            "SELECT stream, type, recorded_at, payload FROM events \
             WHERE type IN ('saga.scheduled', 'saga.postponed', 'saga.fired', 'saga.cancelled', \
             'saga.completed', 'saga.compensated', 'saga.failed') ORDER BY position"
        }
        Database::Postgres(_) => {
            "SELECT stream, type, (extract(epoch FROM recorded_at) * 1000000)::bigint, payload \
             FROM events \
             WHERE type IN ('saga.scheduled', 'saga.postponed', 'saga.fired', 'saga.cancelled', \
             'saga.completed', 'saga.compensated', 'saga.failed') ORDER BY position"
        }
    };
    let rows: Vec<(String, String, i64, Vec<u8>)> = storage.database.rows(sql, &[]).await.unwrap();
    let mut timers = BTreeMap::new();
    for (stream, event_type, recorded_at, payload) in rows {
        let id = stream.strip_prefix("saga-transfer:").unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let at = DateTime::from_timestamp_micros(recorded_at).unwrap();
        tick(&mut timers, id, &event_type, at, &payload)
            .map_err(|error| format!("{event_type} of transfer {id}: {error}"))?;
    }
    Ok(timers)
}

/// Takes an event in, which happened to a transfer's saga.
fn tick(
    timers: &mut BTreeMap<String, Timer>,
    id: &str,
    event_type: &str,
    at: DateTime<Utc>,
    payload: &Value,
) -> Result<(), String> {
    let Some(timer) = timers.get_mut(id) else {
        if event_type != "saga.scheduled" {
            return Err("there is no deadline".to_owned());
        }
        let timer = Timer {
            due: payload["due"].as_str().unwrap().parse().unwrap(),
            state: TimerState::Pending,
            put_off: false,
            ended: false,
        };
        timers.insert(id.to_owned(), timer);
        return Ok(());
    };
    match event_type {
        "saga.fired" if timer.pending() && at >= timer.due => timer.state = TimerState::Fired,
        "saga.postponed" if !timer.ended => timer.put_off = true,
        "saga.cancelled" if timer.pending() => timer.state = TimerState::Lifted,
        "saga.completed" | "saga.compensated" | "saga.failed"
            if !timer.pending() && !timer.ended =>
        {
            timer.ended = true;
        }
        _ => return Err(format!("at {at}, after {timer:?}")),
    }
    Ok(())
}
