//! A saga with all that happened to it, as operators see it.

use annals_core::{
    Position, StoredEvent, StreamRead, Version,
    saga::{Instance, ProcessManager, SagaEvent, SagaName, SagaStatus},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{
    error::SagaError,
    journal::{Journal, decode},
};

/// How many events are read at a time.
const PAGE: usize = 500;

/// A saga with all that happened to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SagaView {
    /// The kind of saga.
    pub saga: String,
    /// Its id.
    pub id: String,
    /// Its stream.
    pub stream: String,
    /// How it stands: `state` to scripts, as in lists.
    #[serde(rename = "state")]
    pub status: SagaStatus,
    /// Why it stands like that, where there is a reason.
    pub reason: Option<String>,
    /// Why this release can't replay it, if it can't: then it does not go on, but can be abandoned.
    pub problem: Option<String>,
    /// What it was asked for, if a request started it.
    pub start: Option<Value>,
    /// The commands without an outcome, with when they are to be sent.
    pub outstanding: Vec<OutstandingView>,
    /// The deadlines that are set, the next first.
    pub deadlines: Vec<DeadlineView>,
    /// All that happened, in order.
    pub timeline: Vec<TimelineEntry>,
}

/// A command without an outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutstandingView {
    /// The name under which it was sent.
    pub step: String,
    /// To whom: `account-7f3a`.
    pub receiver: String,
    /// When it is to be sent, for the first time or again.
    pub due: DateTime<Utc>,
    /// How often it was refused.
    pub refusals: u32,
    /// What the aggregate said last.
    pub last_refusal: Option<String>,
    /// Why it is being taken back, if it is.
    pub recalled: Option<String>,
    /// Whether it waits for an operator.
    pub parked: bool,
}

/// A deadline that is set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeadlineView {
    /// Its name.
    pub name: String,
    /// When it is due.
    pub due: DateTime<Utc>,
}

/// Something that happened to a saga.
///
/// It serialises as other events of the log are shown: with `type` and `payload`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// Its place in the stream.
    pub version: Version,
    /// Its place in the log.
    pub position: Position,
    /// When.
    #[serde(rename = "recorded_at")]
    pub at: DateTime<Utc>,
    /// Its wire name.
    #[serde(rename = "type")]
    pub event_type: String,
    /// What is stored of it; text where it is not JSON.
    pub payload: Value,
    /// What, unless this release can't read it.
    #[serde(skip)]
    pub event: Option<SagaEvent>,
}

impl TimelineEntry {
    fn of(stored: &StoredEvent) -> Self {
        let text = || Value::String(String::from_utf8_lossy(&stored.payload).into_owned());
        Self {
            version: stored.version,
            position: stored.position,
            at: stored.recorded_at,
            event_type: stored.event_type.to_string(),
            payload: serde_json::from_slice(&stored.payload).unwrap_or_else(|_| text()),
            event: decode(stored).ok().map(|recorded| recorded.event),
        }
    }
}

impl SagaView {
    pub(super) async fn of<P: ProcessManager>(
        journal: &Journal,
        instance: &Instance<P>,
    ) -> Result<Self, SagaError> {
        let stream = instance.stream();
        let name = SagaName::of(stream);
        let (saga, id) = name.map_or(("", ""), |name| (name.saga, name.id));
        let outstanding = instance.outstanding().iter();
        let deadlines = instance.deadlines().iter();
        let mut deadlines: Vec<_> = deadlines
            .map(|(name, due)| DeadlineView {
                name: name.clone(),
                due: *due,
            })
            .collect();
        deadlines.sort_by_key(|deadline| deadline.due);
        Ok(Self {
            saga: saga.to_owned(),
            id: id.to_owned(),
            stream: stream.to_string(),
            status: instance.status(),
            reason: instance.reason().map(str::to_owned),
            problem: None,
            start: instance.start().cloned(),
            outstanding: outstanding
                .map(|(step, command)| OutstandingView {
                    step: step.clone(),
                    receiver: command.command.receiver(),
                    due: command.due,
                    refusals: command.refusals,
                    last_refusal: command.last_refusal.clone(),
                    recalled: command.recalled.clone(),
                    parked: command.parked,
                })
                .collect(),
            deadlines,
            timeline: timeline(journal, instance).await?,
        })
    }
}

async fn timeline<P: ProcessManager>(
    journal: &Journal,
    instance: &Instance<P>,
) -> Result<Vec<TimelineEntry>, SagaError> {
    let mut entries = Vec::new();
    let mut version = Version::NONE;
    while version < instance.version() {
        let read = StreamRead::after(instance.stream().clone(), version, PAGE);
        let events = journal.store.read_stream(read).await?;
        if events.is_empty() {
            break;
        }
        version = events.last().map_or(version, |last| last.version);
        entries.extend(events.iter().map(TimelineEntry::of));
    }
    Ok(entries)
}
