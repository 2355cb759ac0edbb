//! Deposits, and a read model that counts them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use annals_core::{
    Append, Appended, Event, EventStore as _, Expected, Metadata, NewEvent, Position, Projection,
    ProjectionError, ReadModel, Recorded, StoredEvent,
};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_runtime::{App, Builder};
use annals_testing::{
    processes::{check, event_id, to},
    seed::Seed,
};
use serde::{Deserialize, Serialize};

/// Longer than anything here takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// So soon after the server's return everything goes on.
pub(crate) const RESUMED_WITHIN: Duration = Duration::from_secs(5);
/// So soon after a node was struck another one has taken over.
pub(crate) const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "account")]
pub(crate) enum AccountEvent {
    Deposited { number: u64 },
}

/// How many deposits an account has had, and the sum of their numbers.
#[derive(ReadModel, Clone, Debug, PartialEq)]
#[read_model(crate = annals_core)]
pub(crate) struct Balance {
    #[key]
    account: String,
    deposits: i64,
    sum: i64,
}

impl Projection for Balance {
    type Event = AccountEvent;

    fn keys(event: &Recorded<AccountEvent>) -> impl IntoIterator<Item = String> {
        [event.stream.id().to_owned()]
    }

    fn fold(
        account: &String,
        row: Option<Self>,
        event: &Recorded<AccountEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        let AccountEvent::Deposited { number } = event.event;
        let (deposits, sum) = row.map_or((0, 0), |row| (row.deposits, row.sum));
        Ok(Some(Self {
            account: account.clone(),
            deposits: deposits + 1,
            sum: sum + i64::try_from(number)?,
        }))
    }
}

pub(crate) async fn open(url: &str) -> PostgresStore {
    let store = PostgresStore::open(url, PostgresOptions::default()).await;
    store.expect("the store opens")
}

pub(crate) async fn start(store: &PostgresStore) -> App {
    let builder = Builder::new(Arc::new(store.clone())).projection::<Balance>();
    builder.start().await.expect("the application starts")
}

/// A deposit with an id of its own: the same one for the same seed.
pub(crate) fn deposit(seed: u64, account: u64, number: u64) -> Append {
    let id = event_id(&mut Seed::apart(seed, account << 32 | number));
    let metadata = Metadata::caused_by(id.into(), id.uuid().into());
    let event = NewEvent::encode(&AccountEvent::Deposited { number }, id, metadata);
    let events = vec![event.expect("an event is JSON")];
    to(&format!("account-{account}"), Expected::Any, events)
}

/// Appends until it is known what came of it, in the way that the store asks for.
pub(crate) async fn settle(store: &PostgresStore, append: Append) -> Appended {
    use annals_core::AppendError::{Store, Unknown};
    loop {
        match store.append(append.clone()).await {
            Ok(appended) => return appended,
            Err(Unknown(error) | Store(error)) if error.is_transient() => {}
            Err(error) => panic!("an append failed for good: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn caught_up(app: &App, position: Position) {
    let caught_up = async {
        while app.caught_up::<Balance>(position).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let caught_up = tokio::time::timeout(SOON, caught_up).await;
    assert!(caught_up.is_ok(), "{:?}", app.projections().health());
}

/// Checks that the read model has what a fold of the log from its beginning gives.
pub(crate) async fn check_rows(app: &App, log: &[StoredEvent]) {
    assert_eq!(rows_complaint(app, log).await, None);
}

/// Waits until the read model has what a fold of the log from its beginning gives: a position of
/// a log that was cut short is no sign of it, since there was another event at it before.
pub(crate) async fn rows_fit(app: &App, store: &PostgresStore) {
    let fit = async {
        loop {
            let log = check::read_log(store).await;
            let complaint = rows_complaint(app, &log).await;
            if complaint.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let fit = tokio::time::timeout(SOON, fit).await;
    assert!(fit.is_ok(), "{:?}", app.projections().health());
}

/// How the read model differs from a fold of the log from its beginning.
pub(crate) async fn rows_complaint(app: &App, log: &[StoredEvent]) -> Option<String> {
    let rows = app.rows::<Balance>(None, 10_000).await.unwrap();
    let rows = rows
        .into_iter()
        .map(|row| (row.account, (row.deposits, row.sum)));
    differs(&rows.collect(), &fold(log))
}

/// The number of an account's deposits, and the sum of their numbers.
type Balances = BTreeMap<String, (i64, i64)>;

pub(crate) fn fold<'a>(events: impl IntoIterator<Item = &'a StoredEvent>) -> Balances {
    let mut balances = Balances::new();
    for event in events {
        let event = event.decode::<AccountEvent>().unwrap().unwrap();
        let AccountEvent::Deposited { number } = event.event;
        let row = balances.entry(event.stream.id().to_owned()).or_default();
        *row = (row.0 + 1, row.1 + i64::try_from(number).unwrap());
    }
    balances
}

pub(crate) fn differs(rows: &Balances, folded: &Balances) -> Option<String> {
    (rows != folded).then(|| format!("there is {rows:?}, and a fold gives {folded:?}"))
}

pub(crate) async fn head(store: &PostgresStore) -> Position {
    store.head().await.expect("the log can be read")
}
