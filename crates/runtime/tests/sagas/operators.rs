//! What operators see and do.

use std::time::Duration;

use annals_core::saga::SagaStatus;
use annals_runtime::{OperateError, SagaOverview, SagaQuery};

use crate::{
    accounts::{AccountCommand, transfer},
    bank::Bank,
};

#[tokio::test]
async fn sagas_are_listed_by_how_they_stand() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.start("1", transfer("a", "b", 30)).await;
    bank.start("2", transfer("c", "b", 30)).await;
    bank.ended("1").await;
    bank.ended("2").await;
    let head = annals_core::EventStore::head(&*bank.store).await.unwrap();
    bank.app.caught_up::<SagaOverview>(head).await.unwrap();
    let sagas = bank.app.sagas();
    let all = sagas.list(&SagaQuery::default()).await.unwrap();
    let shown: Vec<_> = all
        .iter()
        .map(|row| (row.id.as_str(), row.status.as_str()))
        .collect();
    assert_eq!(shown, [("1", "completed"), ("2", "failed")]);
    let failed = SagaQuery {
        status: Some(SagaStatus::Failed),
        ..SagaQuery::default()
    };
    let failed = sagas.list(&failed).await.unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        failed[0].reason.as_deref(),
        Some("debit: 30 cents are missing")
    );
}

#[tokio::test]
async fn sagas_are_listed_page_by_page() {
    let bank = Bank::open().await;
    for number in 0..7 {
        let id = number.to_string();
        bank.start(&id, transfer("a", "b", 1 + number % 2)).await;
        bank.ended(&id).await;
    }
    let head = annals_core::EventStore::head(&*bank.store).await.unwrap();
    bank.app.caught_up::<SagaOverview>(head).await.unwrap();
    for status in [None, Some(SagaStatus::Failed)] {
        let mut query = SagaQuery {
            status,
            limit: 3,
            ..SagaQuery::default()
        };
        let mut pages = Vec::new();
        loop {
            let page = bank.app.sagas().list(&query).await.unwrap();
            let Some(last) = page.last() else { break };
            query.after = Some((last.saga.clone(), last.id.clone()));
            pages.push(page.into_iter().map(|row| row.id).collect::<String>());
        }
        assert_eq!(pages, ["012", "345", "6"]);
    }
    let none = SagaQuery {
        limit: 0,
        ..SagaQuery::default()
    };
    assert_eq!(bank.app.sagas().list(&none).await.unwrap(), []);
}

#[tokio::test]
async fn a_saga_shows_all_that_happened_to_it() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.start("1", transfer("a", "b", 30)).await;
    bank.ended("1").await;
    let view = bank
        .app
        .sagas()
        .show("transfer", "1")
        .await
        .unwrap()
        .unwrap();
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["state"], "completed");
    let types: Vec<_> = json["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["type"].as_str().unwrap())
        .collect();
    assert_eq!(types.first(), Some(&"saga.started"), "{json:#}");
    assert_eq!(types.last(), Some(&"saga.completed"), "{json:#}");
    assert_eq!(json["timeline"][2]["payload"]["step"], "debit", "{json:#}");
    assert_eq!(view.timeline.len(), 8, "{:#?}", view.timeline);
    assert!(
        bank.app
            .sagas()
            .show("transfer", "2")
            .await
            .unwrap()
            .is_none()
    );
    let unknown = bank
        .app
        .sagas()
        .show("trip", "2")
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        unknown,
        "the application has no saga `trip`; it has `transfer`"
    );
}

#[tokio::test]
async fn a_stuck_saga_goes_on_when_it_is_retried() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.tell("b", AccountCommand::Freeze).await;
    bank.start("1", transfer("a", "b", 30)).await;
    while !bank.saga("1").await.outstanding().contains_key("credit") {
        tokio::task::yield_now().await;
    }
    bank.tell("a", AccountCommand::Freeze).await;
    let stuck = bank.ended_in_time("1", Duration::from_secs(1)).await;
    assert_eq!(stuck.status(), SagaStatus::Stuck);
    bank.tell("a", AccountCommand::Unfreeze).await;
    bank.app.sagas().retry("transfer", "1").await.unwrap();
    let ended = bank.ended("1").await;
    assert_eq!(ended.status(), SagaStatus::Compensated);
    assert_eq!((bank.cents("a").await, bank.cents("b").await), (100, 0));
    let again = bank.app.sagas().retry("transfer", "1").await.unwrap_err();
    assert!(matches!(again, OperateError::Refused { .. }), "{again}");
}
