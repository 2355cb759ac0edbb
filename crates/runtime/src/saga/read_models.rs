//! The tables that operators and the engine read: how each saga stands, and what is due when.

use annals_core::{
    Position, Projection, ProjectionError, ReadModel, Recorded,
    saga::{SagaEvent, SagaName, SagaStatus},
};
use chrono::{DateTime, Utc};

/// How a saga stands: a row of the table `annals_sagas`.
#[derive(ReadModel, Clone, Debug, PartialEq)]
#[read_model(crate = annals_core, table = "annals_sagas")]
pub struct SagaOverview {
    /// The kind of saga.
    #[key]
    pub saga: String,
    /// Its id.
    #[key]
    pub id: String,
    /// How it stands: `running`, `stuck`; see [`SagaStatus`].
    pub status: String,
    /// The command that was sent last.
    pub step: Option<String>,
    /// Why it stands like that, where there is a reason.
    pub reason: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Since when it stands like that.
    pub since: DateTime<Utc>,
    /// Whether it is undoing what was done, which a stuck saga goes back to.
    pub compensating: bool,
    /// Its last event that counts here.
    pub position: Position,
}

impl Projection for SagaOverview {
    type Event = SagaEvent;

    fn keys(event: &Recorded<SagaEvent>) -> impl IntoIterator<Item = (String, String)> {
        let tells = matches!(
            event.event,
            SagaEvent::Started { .. }
                | SagaEvent::Received(_)
                | SagaEvent::Sent { .. }
                | SagaEvent::Compensating { .. }
                | SagaEvent::Stuck { .. }
                | SagaEvent::Retried { .. }
        );
        let name = SagaName::of(&event.stream).filter(|_| tells || event.event.ends());
        name.map(|name| (name.saga.to_owned(), name.id.to_owned()))
    }

    fn fold(
        (saga, id): &(String, String),
        row: Option<Self>,
        event: &Recorded<SagaEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        let mut row = row.unwrap_or_else(|| Self {
            saga: saga.clone(),
            id: id.clone(),
            status: SagaStatus::Running.to_string(),
            step: None,
            reason: None,
            started_at: event.recorded_at,
            since: event.recorded_at,
            compensating: false,
            position: event.position,
        });
        row.position = event.position;
        match &event.event {
            SagaEvent::Sent { step, .. } => row.step = Some(step.clone()),
            SagaEvent::Compensating { reason } => {
                row.compensating = true;
                row.stand(SagaStatus::Compensating, Some(reason), event);
            }
            SagaEvent::Stuck { reason, .. } => row.stand(SagaStatus::Stuck, Some(reason), event),
            SagaEvent::Retried { .. } if row.compensating => {
                row.stand(SagaStatus::Compensating, None, event);
            }
            SagaEvent::Retried { .. } => row.stand(SagaStatus::Running, None, event),
            SagaEvent::Completed => row.stand(SagaStatus::Completed, None, event),
            SagaEvent::Compensated { reason } => {
                row.stand(SagaStatus::Compensated, Some(reason), event);
            }
            SagaEvent::Failed { reason } => row.stand(SagaStatus::Failed, Some(reason), event),
            SagaEvent::Abandoned { reason } => {
                row.stand(SagaStatus::Abandoned, Some(reason), event);
            }
            _ => {}
        }
        Ok(Some(row))
    }
}

impl SagaOverview {
    fn stand(&mut self, status: SagaStatus, reason: Option<&String>, event: &Recorded<SagaEvent>) {
        self.status = status.to_string();
        self.since = event.recorded_at;
        self.reason = reason.cloned();
    }
}

/// The kind of a row for a deadline.
const DEADLINE: &str = "deadline";
/// The kind of a row for a command.
const COMMAND: &str = "command";

/// Something that a saga has to do at a time: a row of the table `annals_saga_deadlines`.
///
/// The row of a deadline is there from when it is set until it is reached or lifted, the row of a
/// command from when it is sent until its outcome is known. A command that waits for an operator has
/// none, until it is tried again or to be taken back.
#[derive(ReadModel, Clone, Debug, PartialEq)]
#[read_model(crate = annals_core, table = "annals_saga_deadlines")]
pub struct SagaDeadline {
    /// The kind of saga.
    #[key]
    pub saga: String,
    /// When it is due.
    #[key]
    pub due: DateTime<Utc>,
    /// The saga's id.
    #[key]
    pub id: String,
    /// `deadline` or `command`.
    #[key]
    pub kind: String,
    /// The name of the deadline, or that under which the command was sent.
    #[key]
    pub name: String,
    /// The event that says so.
    pub position: Position,
}

/// A key of the table: saga, due, id, kind, name.
pub(super) type DeadlineKey = (String, DateTime<Utc>, String, String, String);

impl Projection for SagaDeadline {
    type Event = SagaEvent;

    fn keys(event: &Recorded<SagaEvent>) -> impl IntoIterator<Item = DeadlineKey> {
        let touched: Vec<(&str, DateTime<Utc>, &str)> = match &event.event {
            SagaEvent::Sent { step, due, .. }
            | SagaEvent::Succeeded { step, due, .. }
            | SagaEvent::Rejected { step, due, .. }
            | SagaEvent::Stuck {
                step: Some(step),
                due: Some(due),
                ..
            } => vec![(COMMAND, *due, step)],
            SagaEvent::Postponed {
                step, due, until, ..
            } => vec![(COMMAND, *due, step), (COMMAND, *until, step)],
            SagaEvent::Recalled { step, due, now, .. } => {
                let touched = due.iter().filter(|due| Some(**due) != *now).chain(now);
                touched.map(|due| (COMMAND, *due, step.as_str())).collect()
            }
            SagaEvent::Retried { steps, due } => steps
                .iter()
                .map(|step| (COMMAND, *due, step.as_str()))
                .collect(),
            SagaEvent::Scheduled { name, due }
            | SagaEvent::Cancelled { name, due }
            | SagaEvent::Fired { name, due } => vec![(DEADLINE, *due, name)],
            _ => Vec::new(),
        };
        let saga = SagaName::of(&event.stream);
        let keys = saga.into_iter().flat_map(move |saga| {
            touched.clone().into_iter().map(move |(kind, due, name)| {
                let (saga, id) = (saga.saga.to_owned(), saga.id.to_owned());
                (saga, due, id, kind.to_owned(), name.to_owned())
            })
        });
        keys.collect::<Vec<_>>()
    }

    fn fold(
        (saga, due, id, kind, name): &DeadlineKey,
        row: Option<Self>,
        event: &Recorded<SagaEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        let there = match &event.event {
            SagaEvent::Sent { .. } | SagaEvent::Scheduled { .. } | SagaEvent::Retried { .. } => {
                true
            }
            SagaEvent::Postponed { until, .. } => until == due,
            SagaEvent::Recalled { now, .. } => now.as_ref() == Some(due),
            _ => false,
        };
        Ok(there.then(|| {
            row.unwrap_or_else(|| Self {
                saga: saga.clone(),
                due: *due,
                id: id.clone(),
                kind: kind.clone(),
                name: name.clone(),
                position: event.position,
            })
        }))
    }
}
