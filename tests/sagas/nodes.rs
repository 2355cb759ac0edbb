//! A store that several applications share.

use annals::{Annals, App, saga::SagaStatus};

use crate::accounts::{AccountCommand, Transfer, cents, ended, tell, transfer};

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
        total += cents(app, &account.to_string()).await;
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
        tell(&one, &account.to_string(), AccountCommand::Change(500)).await;
    }
    let mut starts = tokio::task::JoinSet::new();
    for id in 0..TRANSFERS {
        let from = (id % ACCOUNTS).to_string();
        let to = ((id * 7 + 3) % ACCOUNTS).to_string();
        let transfer = transfer(&from, &to, 40);
        let two = two.clone();
        starts.spawn(async move { two.start_saga(&id.to_string(), transfer).await });
    }
    for started in starts.join_all().await {
        assert!(!started.unwrap().repeated);
    }
    one.shutdown().await;
    let mut completed = 0;
    for id in 0..TRANSFERS {
        let ended = ended(&two, &id.to_string()).await;
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
