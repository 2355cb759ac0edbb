//! Sagas on a store that several applications share.
#![allow(clippy::expect_used, clippy::unwrap_used)] // a test fails by panicking

use std::time::Duration;

use annals::{
    Aggregate, Annals, App, Event,
    saga::{Plan, Saga, SagaStatus},
};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize, Clone, Debug)]
#[event(category = "account")]
enum AccountEvent {
    Changed { cents: i64 },
}

#[derive(Serialize, Deserialize, Clone, Debug)]
struct Change(i64);

#[derive(Debug, thiserror::Error)]
#[error("{0} cents are missing")]
struct Short(i64);

#[derive(Clone, Debug, Default)]
struct Account {
    cents: i64,
}

impl Aggregate for Account {
    type Id = String;
    type Command = Change;
    type Event = AccountEvent;
    type Error = Short;

    fn decide(&self, Change(cents): Change) -> Result<Vec<AccountEvent>, Short> {
        match self.cents + cents {
            missing if missing < 0 => Err(Short(-missing)),
            _ => Ok(vec![AccountEvent::Changed { cents }]),
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        let AccountEvent::Changed { cents } = event;
        self.cents += cents;
    }
}

#[derive(Serialize, Deserialize, Clone, Debug)]
struct Transfer {
    from: String,
    to: String,
    cents: i64,
}

impl Saga for Transfer {
    const NAME: &'static str = "transfer";
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _: &String, plan: &mut Plan) {
        plan.deadline(Duration::from_secs(60));
        plan.step("debit")
            .command::<Account>(&self.from, Change(-self.cents))
            .undo(Change(self.cents));
        plan.step("credit")
            .command::<Account>(&self.to, Change(self.cents));
    }
}

const ACCOUNTS: u32 = 10;
const TRANSFERS: u32 = 200;

async fn node(url: &str) -> App {
    Annals::open(url)
        .await
        .unwrap()
        .saga::<Transfer>()
        .start()
        .await
        .unwrap()
}

async fn total(app: &App) -> i64 {
    let mut total = 0;
    for account in 0..ACCOUNTS {
        total += app
            .load::<Account>(&account.to_string())
            .await
            .unwrap()
            .state
            .cents;
    }
    total
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn transfers_end_well_when_the_node_that_runs_them_leaves_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("bank.db").display());
    transfers_end_well_when_the_node_that_runs_them_leaves(&url).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn transfers_end_well_when_the_node_that_runs_them_leaves_on_postgresql() {
    let schema = annals_testing::postgres::TestSchema::create().await;
    transfers_end_well_when_the_node_that_runs_them_leaves(&schema.url()).await;
}

async fn transfers_end_well_when_the_node_that_runs_them_leaves(url: &str) {
    let (one, two) = (node(url).await, node(url).await);
    for account in 0..ACCOUNTS {
        one.execute::<Account>(&account.to_string(), Change(500))
            .await
            .unwrap();
    }
    let mut starts = tokio::task::JoinSet::new();
    for id in 0..TRANSFERS {
        let from = (id % ACCOUNTS).to_string();
        let to = ((id * 7 + 3) % ACCOUNTS).to_string();
        let transfer = Transfer {
            from,
            to,
            cents: 40,
        };
        let two = two.clone();
        starts.spawn(async move { two.start_saga(&id.to_string(), transfer).await });
    }
    for started in starts.join_all().await {
        assert!(!started.unwrap().repeated);
    }
    one.shutdown().await;
    let mut completed = 0;
    for id in 0..TRANSFERS {
        let id = id.to_string();
        let ended = two
            .saga_ended::<Transfer>(&id, Duration::from_secs(60))
            .await
            .unwrap();
        match ended.status() {
            SagaStatus::Completed => completed += 1,
            status => assert_eq!(status, SagaStatus::Failed, "{:?}", ended.reason()),
        }
    }
    assert!(completed > 0);
    assert_eq!(total(&two).await, 500 * i64::from(ACCOUNTS));
    let health = two.sagas().health();
    assert!(
        health
            .iter()
            .all(|health| health.leading && health.problem.is_none()),
        "{health:?}"
    );
    two.shutdown().await;
}
