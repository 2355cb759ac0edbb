//! A store, and what it has acknowledged.

use std::{error::Error, path::Path};

use annals_core::{
    Append, AppendError, Appended, CausationId, CorrelationId, EventId, EventStore as _, EventType,
    Expected, LogRead, Metadata, NewEvent, Position, StoreError, StoredEvent, StreamName, Tag,
};
use annals_sqlite::{SqliteOptions, SqliteStore};
use annals_testing::seed::Seed;
use chrono::DateTime;
use futures_util::future::join_all;
use uuid::{Builder, Uuid};

const STREAMS: usize = 5;

pub(crate) async fn open(directory: &Path) -> Result<SqliteStore, StoreError> {
    let file = directory.join("store.db");
    SqliteStore::open(&file.to_string_lossy(), SqliteOptions::default()).await
}

/// Appends what the generator gives, and remembers how it went.
pub(crate) struct Ledger {
    pub(crate) store: SqliteStore,
    pub(crate) choices: Seed,
    /// Acknowledged, with the places of their last events.
    pub(crate) acked: Vec<(Append, Position)>,
    /// Neither acknowledged nor given up.
    pub(crate) open: Vec<Append>,
}

impl Ledger {
    pub(crate) fn new(store: SqliteStore, seed: u64) -> Self {
        Self {
            store,
            choices: Seed::apart(seed, 0),
            acked: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Some concurrent appends, so that they share a commit; answers the errors.
    pub(crate) async fn append_some(&mut self) -> Vec<AppendError> {
        let count = 1 + self.choices.below(5);
        let appends = (0..count).map(|_| append(&mut self.choices)).collect();
        self.put(appends).await
    }

    /// The open appends again, as they were; answers the errors.
    pub(crate) async fn retry(&mut self) -> Vec<AppendError> {
        let appends = std::mem::take(&mut self.open);
        self.put(appends).await
    }

    async fn put(&mut self, appends: Vec<Append>) -> Vec<AppendError> {
        let outcomes: Vec<Result<Appended, AppendError>> = join_all(
            appends
                .iter()
                .map(|append| self.store.append(append.clone())),
        )
        .await;
        let mut errors = Vec::new();
        for (append, outcome) in appends.into_iter().zip(outcomes) {
            match outcome {
                Ok(appended) => self.acked.push((append, appended.position)),
                Err(error) => {
                    self.open.push(append);
                    errors.push(error);
                }
            }
        }
        errors
    }

    /// Checks that the log is dense and has everything acknowledged where it was acknowledged,
    /// and nothing beyond it but open appends.
    pub(crate) async fn check(&self) {
        let log = read_log(&self.store).await.expect("the log can be read");
        for (position, event) in (1..).zip(&log) {
            assert_eq!(event.position.get(), position, "positions are dense");
        }
        let mut events = 0;
        for (append, position) in &self.acked {
            let end = usize::try_from(position.get()).expect("positions are small");
            let wanted: Vec<_> = append
                .writes
                .iter()
                .flat_map(|write| &write.events)
                .collect();
            assert!(
                end <= log.len(),
                "acknowledged at {end}, the log ends at {}",
                log.len()
            );
            for (found, event) in log[end - wanted.len()..end].iter().zip(&wanted) {
                assert_eq!(found.id, event.id, "acknowledged at {end}");
                assert_eq!(found.payload, event.payload, "acknowledged at {end}");
            }
            events += wanted.len();
        }
        if self.open.is_empty() {
            assert_eq!(
                log.len(),
                events,
                "the log has what was not appended, or twice"
            );
        }
    }
}

pub(crate) async fn read_log(store: &SqliteStore) -> Result<Vec<StoredEvent>, StoreError> {
    let mut log: Vec<StoredEvent> = Vec::new();
    loop {
        let from = log.last().map_or(Position::START, |event| event.position);
        let page = store.read_log(LogRead::after(from, 500)).await?;
        let ended = page.at_end || page.events.is_empty();
        log.extend(page.events);
        if ended {
            return Ok(log);
        }
    }
}

/// An append of 1 to 3 events to one stream.
pub(crate) fn append(choices: &mut Seed) -> Append {
    let stream = format!("account-{}", choices.below(STREAMS));
    let stream = StreamName::parse(&stream).expect("a valid name");
    let events = (0..1 + choices.below(3)).map(|_| event(choices)).collect();
    let recorded_at = DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time");
    Append::to(stream, Expected::Any, events, recorded_at)
}

fn event(choices: &mut Seed) -> NewEvent {
    let size = choices.below(3_000);
    NewEvent {
        id: EventId::new(id(choices)),
        event_type: EventType::new("account.deposited").expect("a valid name"),
        schema_version: 1,
        payload: choices.take(size),
        tags: vec![Tag::new("owner", choices.below(9)).expect("a valid tag")],
        metadata: Metadata::caused_by(
            CausationId::new(id(choices)),
            CorrelationId::new(id(choices)),
        ),
    }
}

fn id(choices: &mut Seed) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&choices.take(10));
    Builder::from_unix_timestamp_millis(1_700_000_000_000, &random).into_uuid()
}

/// An error with all its causes, as a program would show it.
pub(crate) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
