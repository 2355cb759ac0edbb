//! Deposits, and a read model that counts them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use annals_core::{
    Append, Appended, Event, EventStore as _, Expected, Metadata, NewEvent, Position, Projection,
    ProjectionError, ReadModel, Recorded, StoredEvent,
};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_runtime::{App, Builder};
use annals_testing::{
    processes::{event_id, to},
    seed::Seed,
};
use serde::{Deserialize, Serialize};

/// Longer than anything here takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

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
    let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for event in log {
        let event = event.decode::<AccountEvent>().unwrap().unwrap();
        let AccountEvent::Deposited { number } = event.event;
        let row = expected.entry(event.stream.id().to_owned()).or_default();
        *row = (row.0 + 1, row.1 + i64::try_from(number).unwrap());
    }
    let rows = app.rows::<Balance>(None, 10_000).await.unwrap();
    let rows = rows
        .into_iter()
        .map(|row| (row.account, (row.deposits, row.sum)));
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), expected);
}

pub(crate) async fn head(store: &PostgresStore) -> Position {
    store.head().await.expect("the log can be read")
}
