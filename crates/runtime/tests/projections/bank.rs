//! A small bank whose projections fail where a test plants a fault.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use annals_core::{
    Append, Event, EventId, EventStore, EventType, Expected, FailurePolicy, MemoryStore, Metadata,
    NewEvent, Position, Projection, ProjectionError, ProjectionRecord, ProjectionStore, ReadModel,
    Recorded, StreamName,
};
use annals_runtime::{App, Builder};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::Notify;

pub(crate) const SOON: Duration = Duration::from_secs(20);

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "account")]
pub(crate) enum AccountEvent {
    Deposited { owner: String, amount: Amount },
    Closed { owner: String },
}

impl AccountEvent {
    pub(crate) fn owner(&self) -> &String {
        match self {
            Self::Deposited { owner, .. } | Self::Closed { owner } => owner,
        }
    }
}

/// Cents that count how often each amount is decoded.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
#[serde(transparent)]
pub(crate) struct Amount(pub(crate) i64);

/// Decoding this amount panics.
pub(crate) const CURSED: i64 = -666;

static DECODED: Mutex<BTreeMap<i64, u64>> = Mutex::new(BTreeMap::new());

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = i64::deserialize(deserializer)?;
        assert_ne!(amount, CURSED, "a cursed amount");
        *DECODED.lock().unwrap().entry(amount).or_default() += 1;
        Ok(Self(amount))
    }
}

pub(crate) fn times_decoded(amount: i64) -> u64 {
    let decoded = DECODED.lock().unwrap();
    decoded.get(&amount).copied().unwrap_or_default()
}

/// What the folds of one owner's rows do wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Fail,
    Panic,
    WrongKey,
    /// Waits until the gate is opened.
    Gate(Arc<Gate>),
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(crate) reached: Notify,
    open: (Mutex<bool>, std::sync::Condvar),
}

impl Gate {
    fn pass(&self) {
        self.reached.notify_one();
        let (open, opened) = &self.open;
        drop(
            opened
                .wait_while(open.lock().unwrap(), |open| !*open)
                .unwrap(),
        );
    }

    pub(crate) fn open(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }
}

static FAULTS: Mutex<BTreeMap<String, Fault>> = Mutex::new(BTreeMap::new());

pub(crate) fn plant(owner: &str, fault: Fault) {
    FAULTS.lock().unwrap().insert(owner.to_owned(), fault);
}

pub(crate) fn heal(owner: &str) {
    FAULTS.lock().unwrap().remove(owner);
}

fn balance_of(
    owner: &str,
    row: Option<(i64, i64, Position)>,
    event: &Recorded<AccountEvent>,
) -> Result<Option<(String, i64, i64, Position)>, ProjectionError> {
    let (balance, events, last) = row.unwrap_or_default();
    if last >= event.position {
        return Err(format!("{} comes after {last}", event.position).into());
    }
    let fault = FAULTS.lock().unwrap().get(owner).cloned();
    let mut owner = owner.to_owned();
    match fault {
        Some(Fault::Fail) => return Err("a planted fault".into()),
        Some(Fault::Panic) => panic!("a planted panic"),
        Some(Fault::WrongKey) => owner.push('!'),
        Some(Fault::Gate(gate)) => gate.pass(),
        None => {}
    }
    Ok(match &event.event {
        AccountEvent::Deposited { amount, .. } => {
            Some((owner, balance + amount.0, events + 1, event.position))
        }
        AccountEvent::Closed { .. } => None,
    })
}

macro_rules! balance {
    ($name:ident, $on_failure:ident) => {
        #[derive(ReadModel, Clone, Debug, PartialEq)]
        #[read_model(crate = annals_core)]
        pub(crate) struct $name {
            #[key]
            pub(crate) owner: String,
            pub(crate) balance: i64,
            pub(crate) events: i64,
            pub(crate) last: Position,
        }

        impl Projection for $name {
            type Event = AccountEvent;
            const ON_FAILURE: FailurePolicy = FailurePolicy::$on_failure;

            fn keys(event: &Recorded<AccountEvent>) -> impl IntoIterator<Item = String> {
                [event.event.owner().clone()]
            }

            fn fold(
                owner: &String,
                row: Option<Self>,
                event: &Recorded<AccountEvent>,
            ) -> Result<Option<Self>, ProjectionError> {
                let row = row.map(|row| (row.balance, row.events, row.last));
                let row = balance_of(owner, row, event)?;
                Ok(row.map(|(owner, balance, events, last)| Self {
                    owner,
                    balance,
                    events,
                    last,
                }))
            }
        }
    };
}

balance!(Balance, Stop);
balance!(Audit, Stop);
balance!(Lenient, Park);

pub(crate) fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new())
}

pub(crate) async fn start<P: Projection>(store: &Arc<MemoryStore>) -> App {
    let builder = Builder::new(Arc::clone(store) as _);
    builder.projection::<P>().start().await.unwrap()
}

/// Appends a deposit to `account-{owner}`.
pub(crate) async fn deposit(store: &MemoryStore, owner: &str, amount: i64) -> Position {
    append(store, &[(owner, Some(amount))]).await
}

pub(crate) async fn close(store: &MemoryStore, owner: &str) -> Position {
    append(store, &[(owner, None)]).await
}

/// Appends deposits, or closings where there is no amount, in order.
pub(crate) async fn append(store: &MemoryStore, entries: &[(&str, Option<i64>)]) -> Position {
    let mut streams: Vec<(&str, Vec<NewEvent>)> = Vec::new();
    for (owner, amount) in entries {
        let owner_ = (*owner).to_owned();
        let event = match amount {
            Some(amount) => AccountEvent::Deposited {
                owner: owner_,
                amount: Amount(*amount),
            },
            None => AccountEvent::Closed { owner: owner_ },
        };
        let id = event_id();
        let metadata = Metadata::caused_by(id.into(), id.uuid().into());
        let event = NewEvent::encode(&event, id, metadata).unwrap();
        match streams.iter_mut().find(|(known, _)| known == owner) {
            Some((_, events)) => events.push(event),
            None => streams.push((owner, vec![event])),
        }
    }
    append_raw(store, streams).await
}

/// Appends an event of a type that `AccountEvent` does not have.
pub(crate) async fn append_unknown(store: &MemoryStore, owner: &str) -> Position {
    let id = event_id();
    let event = NewEvent {
        id,
        event_type: EventType::new("account.renamed").unwrap(),
        schema_version: 1,
        payload: b"{}".to_vec(),
        tags: Vec::new(),
        metadata: Metadata::caused_by(id.into(), id.uuid().into()),
    };
    append_raw(store, vec![(owner, vec![event])]).await
}

async fn append_raw(store: &MemoryStore, streams: Vec<(&str, Vec<NewEvent>)>) -> Position {
    let mut streams = streams.into_iter();
    let named = |owner: &str| StreamName::parse(&format!("account-{owner}")).unwrap();
    let (owner, events) = streams.next().unwrap();
    let mut append = Append::to(named(owner), Expected::Any, events, chrono::Utc::now());
    for (owner, events) in streams {
        append = append.and(named(owner), Expected::Any, events);
    }
    store.append(append).await.unwrap().position
}

pub(crate) fn event_id() -> EventId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    EventId::new(uuid::Uuid::from_u128(u128::from(
        NEXT.fetch_add(1, Ordering::Relaxed),
    )))
}

pub(crate) async fn record<P: ReadModel>(store: &MemoryStore) -> ProjectionRecord {
    store.projection(P::TABLE.name).await.unwrap().unwrap()
}

/// Waits until the stored record of a projection is as wanted.
pub(crate) async fn until<P: ReadModel>(
    store: &MemoryStore,
    wanted: impl Fn(&ProjectionRecord) -> bool,
) {
    let seen = tokio::time::timeout(SOON, async {
        while !wanted(&record::<P>(store).await) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    if seen.await.is_err() {
        panic!("still {:?}", record::<P>(store).await);
    }
}

/// All rows as owner, balance and number of events.
pub(crate) async fn balances(app: &App) -> HashMap<String, (i64, i64)> {
    let rows = app.rows::<Balance>(None, 1_000_000).await.unwrap();
    rows.into_iter()
        .map(|row| (row.owner, (row.balance, row.events)))
        .collect()
}
