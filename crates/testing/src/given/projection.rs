//! Given events, then rows.

use std::{collections::HashMap, fmt::Debug, sync::Arc, time::Duration};

use annals_core::{
    CausationId, Clock, CorrelationId, Event, EventHeader, EventId, EventType, FoldError, IdSource,
    Metadata, Page, Position, Projection, ReadModel, Row, StoredEvent, StreamName, Version,
    projector::relevant,
};

use super::difference::{numbered, section};
use crate::clock::{ManualClock, SequentialIds};

/// Events, and the rows that a projection makes of them.
///
/// Positions and versions count from 1, the first event is recorded at
/// [`dawn`](crate::clock::dawn) and each later one a second after the one before it, and ids are
/// the same in every run. Each event is written as a payload and read back as the engine does, and
/// each row as the store does.
///
/// ```
/// use annals_core::{Event, Position, Projection, ProjectionError, ReadModel, Recorded};
/// use annals_testing::given::ProjectionScenario;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
/// #[event(crate = annals_core, category = "account")]
/// enum AccountEvent { Deposited { owner: String, cents: i64 }, Closed { owner: String } }
///
/// #[derive(ReadModel, Debug, PartialEq)]
/// #[read_model(crate = annals_core)]
/// struct UserBalance { #[key] owner: String, cents: i64, position: Position }
///
/// impl Projection for UserBalance {
///     type Event = AccountEvent;
///
///     fn keys(event: &Recorded<AccountEvent>) -> impl IntoIterator<Item = String> {
///         match &event.event {
///             AccountEvent::Deposited { owner, .. } | AccountEvent::Closed { owner } => {
///                 [owner.clone()]
///             }
///         }
///     }
///
///     fn fold(
///         owner: &String,
///         row: Option<Self>,
///         event: &Recorded<AccountEvent>,
///     ) -> Result<Option<Self>, ProjectionError> {
///         let AccountEvent::Deposited { cents, .. } = &event.event else { return Ok(None) };
///         let before = row.map_or(0, |row| row.cents);
///         let cents = before.checked_add(*cents).ok_or("the balance overflows")?;
///         Ok(Some(Self { owner: owner.clone(), cents, position: event.position }))
///     }
/// }
///
/// let deposited = |owner: &str, cents| AccountEvent::Deposited { owner: owner.into(), cents };
/// let balance = |owner: &str, cents, position| UserBalance {
///     owner: owner.into(),
///     cents,
///     position: Position::new(position),
/// };
///
/// ProjectionScenario::<UserBalance>::given([
///     ("account-1", deposited("alice", 500)),
///     ("account-2", deposited("bob", 100)),
///     ("account-3", deposited("alice", 50)),
/// ])
/// .then([balance("alice", 550, 3), balance("bob", 100, 2)]);
///
/// ProjectionScenario::<UserBalance>::given([("account-1", deposited("alice", 500))])
///     .when("account-1", AccountEvent::Closed { owner: "alice".into() })
///     .then_row("alice".to_owned(), None);
///
/// ProjectionScenario::<UserBalance>::given([("account-1", deposited("alice", i64::MAX))])
///     .when("account-1", deposited("alice", 1))
///     .then_fails_with("the balance overflows");
/// ```
#[derive(Debug)]
pub struct ProjectionScenario<P: Projection> {
    rows: Vec<(P::Key, Row)>,
    history: Vec<String>,
    head: Position,
    versions: HashMap<StreamName, Version>,
    failure: Option<String>,
    clock: ManualClock,
    ids: SequentialIds,
}

impl<P: Projection> ProjectionScenario<P> {
    /// These events were recorded, each in its stream. For a projection of several aggregates'
    /// events, add those of the others with [`and`](Self::and).
    ///
    /// # Panics
    /// When an event can't be folded, or a stream is not of its events' category.
    #[must_use]
    #[track_caller]
    pub fn given<E: Event + Debug>(events: impl IntoIterator<Item = (&'static str, E)>) -> Self {
        let nothing = Self {
            rows: Vec::new(),
            history: Vec::new(),
            head: Position::START,
            versions: HashMap::new(),
            failure: None,
            clock: ManualClock::default(),
            ids: SequentialIds::default(),
        };
        nothing.and(events)
    }

    /// Then these events were recorded.
    ///
    /// # Panics
    /// See [`given`](Self::given).
    #[must_use]
    #[track_caller]
    pub fn and<E: Event + Debug>(
        mut self,
        events: impl IntoIterator<Item = (&'static str, E)>,
    ) -> Self {
        for (stream, event) in events {
            self = self.when(stream, event);
            if let Some(failure) = self.failure.take() {
                self.fail("expected to fold that, but it failed", vec![failure]);
            }
        }
        self
    }

    /// Now this event is recorded; it may be one that can't be folded.
    ///
    /// # Panics
    /// When the stream is not of the event's category, or an earlier event failed.
    #[must_use = "say what the rows should be then"]
    #[track_caller]
    pub fn when<E: Event + Debug>(mut self, stream: &str, event: E) -> Self {
        if let Some(failure) = self.failure.take() {
            self.fail("nothing is folded after a failure", vec![failure]);
        }
        let stored = self.record(stream, &event);
        self.history
            .push(format!("{} {stream} {event:?}", stored.position));
        self.failure = self.fold(stored).err();
        self
    }

    #[track_caller]
    fn record<E: Event + Debug>(&mut self, stream: &str, event: &E) -> StoredEvent {
        let stream = StreamName::parse(stream).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            stream.category(),
            E::CATEGORY,
            "{event:?} can't be in stream `{stream}`, which has another category"
        );
        let version = self.versions.entry(stream.clone()).or_default();
        *version = version.next();
        self.head = self.head.next();
        let recorded_at = self.clock.now();
        self.clock.advance(Duration::from_secs(1));
        let id = EventId::new(self.ids.next(recorded_at));
        let schema = event.schema();
        let header = EventHeader {
            position: self.head,
            stream,
            version: *version,
            id,
            event_type: EventType::new(schema.name).unwrap_or_else(|error| panic!("{error}")),
            schema_version: schema.version,
            recorded_at,
            tags: event.tags().unwrap_or_else(|error| panic!("{error}")),
            metadata: Metadata::caused_by(CausationId::from(id), CorrelationId::new(id.uuid())),
        };
        StoredEvent {
            header: Arc::new(header),
            payload: event.encode().unwrap_or_else(|error| panic!("{error}")),
        }
    }

    #[track_caller]
    fn fold(&mut self, stored: StoredEvent) -> Result<(), String> {
        let page = Page::new(vec![stored]);
        let decoded = page.decode::<P::Event>();
        let taken = relevant(P::TABLE.name, &page.events()[0], &decoded[0], P::UNKNOWN);
        let Some(event) = taken.map_err(reason)? else {
            return Ok(());
        };
        let mut rows = self.rows.clone();
        for key in P::keys(event) {
            let place = rows.iter().position(|(known, _)| *known == key);
            let old = place.map(|place| rows.swap_remove(place).1);
            let new = P::fold(&key, old.map(read::<P>), event).map_err(|error| error.message())?;
            if let Some(new) = new {
                assert!(
                    new.key() == key,
                    "`fold` was asked for the row {key:?} and made the row {:?}",
                    new.key()
                );
                rows.push((key, new.to_row()));
            }
        }
        self.rows = rows;
        Ok(())
    }

    #[track_caller]
    fn fail(&self, title: &str, lines: Vec<String>) -> ! {
        let name = P::TABLE.name;
        let mut message = format!("the scenario of `{name}` went another way\n\n");
        section(&mut message, "given", self.history.iter().cloned());
        section(&mut message, title, lines);
        panic!("{message}");
    }
}

/// Why an event was not folded, without its place in the log.
fn reason(error: FoldError) -> String {
    match error {
        FoldError::Event { message, .. } => message,
        other => other.to_string(),
    }
}

#[track_caller]
fn read<P: ReadModel>(row: Row) -> P {
    P::from_row(row).unwrap_or_else(|error| panic!("a row can't be read back: {error}"))
}

impl<P: Projection + Debug + PartialEq> ProjectionScenario<P> {
    /// The read model has exactly these rows, in any order.
    ///
    /// # Panics
    /// When it has others, or the last event failed.
    #[track_caller]
    pub fn then(self, rows: impl IntoIterator<Item = P>) -> Self {
        self.assert_folded();
        let mut surplus: Vec<P> = self.rows.iter().map(|(_, row)| read(row.clone())).collect();
        let mut same = Vec::new();
        let mut missing = Vec::new();
        for row in rows {
            match surplus.iter().position(|actual| *actual == row) {
                Some(place) => same.push(surplus.swap_remove(place)),
                None => missing.push(row),
            }
        }
        if missing.is_empty() && surplus.is_empty() {
            return self;
        }
        let marked = |mark: &'static str, rows: Vec<P>| {
            rows.into_iter().map(move |row| format!("{mark} {row:?}"))
        };
        let lines = marked("-", missing)
            .chain(marked("+", surplus))
            .chain(marked(" ", same));
        self.fail("expected (-) and actual (+) rows", lines.collect())
    }

    /// The row with this key is this one, or there is none.
    ///
    /// # Panics
    /// When it is another, or the last event failed.
    #[track_caller]
    pub fn then_row(self, key: P::Key, expected: Option<P>) -> Self {
        self.assert_folded();
        let row = self.rows.iter().find(|(known, _)| *known == key);
        let actual: Option<P> = row.map(|(_, row)| read(row.clone()));
        if actual != expected {
            let lines = vec![format!("- {expected:?}"), format!("+ {actual:?}")];
            self.fail(&format!("expected (-) and actual (+) row {key:?}"), lines);
        }
        self
    }

    /// The last event can't be folded, for this reason; the rows are as before it.
    ///
    /// # Panics
    /// When it was folded, or the reason is another.
    #[track_caller]
    pub fn then_fails_with(mut self, message: &str) -> Self {
        match self.failure.take() {
            Some(actual) if actual == message => self,
            Some(actual) => {
                let lines = vec![format!("- {message}"), format!("+ {actual}")];
                self.fail("expected (-) and actual (+) failure", lines)
            }
            None => {
                let rows: Vec<P> = self.rows.iter().map(|(_, row)| read(row.clone())).collect();
                let mut lines = vec![format!("- {message}")];
                lines.extend(numbered(&rows));
                self.fail("expected a failure, but there are rows", lines)
            }
        }
    }

    #[track_caller]
    fn assert_folded(&self) {
        if let Some(failure) = &self.failure {
            let lines = vec![failure.clone()];
            self.fail("expected rows, but the last event failed", lines);
        }
    }
}
