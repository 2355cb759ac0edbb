//! What operators see and do.

use std::{collections::HashSet, sync::Arc, time::Duration};

use annals_core::{
    Checkpoint, Claim, Commit, EventStore as _, Fence, LogRead, Position, ProjectionStore as _,
    Target,
    saga::{SagaEvent, SagaStatus},
};
use annals_runtime::{OperateError, SagaDeadline, SagaOverview, SagaQuery};
use annals_testing::{clock::dawn, given::ProjectionScenario};

use crate::{
    accounts::{AccountCommand, Transfer, transfer},
    bank::{Bank, PATIENCE, builder, until},
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
    until(async || bank.saga("1").await.outstanding().contains_key("credit")).await;
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

/// A transfer that is stuck with taking back what alice has sent.
async fn stuck() -> Bank {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.tell("b", AccountCommand::Freeze).await;
    let id = "1".to_owned();
    let starting = bank.app.start_saga(&id, transfer("a", "b", 30));
    starting.actor("alice").await.unwrap();
    until(async || bank.saga("1").await.outstanding().contains_key("credit")).await;
    bank.tell("a", AccountCommand::Close).await;
    let stuck = bank.ended_in_time("1", Duration::from_secs(1)).await;
    assert_eq!(stuck.status(), SagaStatus::Stuck);
    bank
}

#[tokio::test]
async fn what_operators_do_is_not_done_in_the_name_of_a_customer() {
    let bank = stuck().await;
    let sagas = bank.app.sagas();
    sagas.retry("transfer", "1").await.unwrap();
    bank.ended_in_time("1", Duration::from_secs(1)).await;
    let abandoning = sagas.abandon("transfer", "1", "paid out by hand");
    abandoning.actor("bob of operations").await.unwrap();
    let log = bank.store.read_log(LogRead::after(Position::START, 1_000));
    let events = log.await.unwrap().events;
    let actor_of = |event_type: &str| {
        let of_type = |event: &&annals_core::StoredEvent| event.event_type.as_str() == event_type;
        let found = events.iter().rfind(of_type).unwrap();
        found.metadata.actor.clone()
    };
    assert_eq!(actor_of("saga.retried"), None);
    let bob = Some("bob of operations".to_owned());
    assert_eq!(actor_of("saga.abandoned"), bob);
    // Its own deeds are the customer's, also those that an operator let it do again.
    assert_eq!(actor_of("saga.stuck"), Some("alice".to_owned()));
    let of_saga = events
        .iter()
        .filter(|event| event.stream.category() == "saga");
    let correlations = of_saga.map(|event| event.metadata.correlation_id.uuid());
    let correlations: HashSet<_> = correlations.collect();
    assert_eq!(correlations.len(), 1, "one saga, one story");
}

/// Whoever takes over finds in the table what is still to be taken back.
#[tokio::test]
async fn a_command_of_an_abandoned_saga_is_taken_back_though_its_node_dies_after_a_checkpoint() {
    let bank = stuck().await;
    bank.app.sagas().shutdown().await;
    bank.app.projections().shutdown().await;
    let (store, clock) = (Arc::clone(&bank.store), Arc::clone(&bank.clock));
    let tool = builder(store.clone(), clock.clone()).saga::<Transfer>();
    let tool = tool.connect().await.unwrap();
    let abandoned = tool.sagas().abandon("transfer", "1", "paid out by hand");
    assert!(!abandoned.await.unwrap().outstanding.is_empty());

    // A node has seen all that, set its checkpoint, and died.
    let claim = store.claim("saga:transfer", "dead", PATIENCE).await;
    let Claim::Held { epoch } = claim.unwrap() else {
        panic!("somebody else runs it");
    };
    let record = store.projection("saga:transfer").await.unwrap().unwrap();
    let last = store
        .read_log(LogRead::after(Position::START, 1_000))
        .await
        .unwrap()
        .events
        .pop()
        .unwrap();
    let commit = Commit {
        projection: "saga:transfer".to_owned(),
        target: Target::Live,
        fence: Fence {
            epoch,
            checkpoint: record.checkpoint.position,
        },
        rows: None,
        checkpoint: Checkpoint {
            position: last.position,
            event_id: Some(last.id),
        },
        park: Vec::new(),
        unpark: Vec::new(),
        now: dawn(),
    };
    store.commit(commit).await.unwrap();
    store.release("saga:transfer", "dead").await.unwrap();

    let next = Bank::on(store, clock).await;
    until(async || next.saga("1").await.outstanding().is_empty()).await;
    assert_eq!(next.saga("1").await.status(), SagaStatus::Abandoned);
}

const SAGA: &str = "saga-transfer:1";

#[test]
fn a_saga_that_is_let_try_again_is_listed_without_the_reason_it_was_stuck_for() {
    let stuck = SagaEvent::Stuck {
        step: None,
        due: None,
        reason: "closed".to_owned(),
    };
    let retried = SagaEvent::Retried {
        steps: Vec::new(),
        due: dawn(),
    };
    let start = SagaEvent::Started {
        start: serde_json::json!(null),
    };
    let key = ("transfer".to_owned(), "1".to_owned());
    let row = |position, status: &str, reason: Option<&str>| SagaOverview {
        saga: "transfer".to_owned(),
        id: "1".to_owned(),
        status: status.to_owned(),
        step: None,
        reason: reason.map(str::to_owned),
        started_at: dawn(),
        since: dawn() + Duration::from_secs(position - 1),
        compensating: false,
        position: Position::new(position),
    };
    let listed = ProjectionScenario::<SagaOverview>::given([(SAGA, start.clone())]);
    let listed = listed.when(SAGA, stuck.clone());
    listed.then_row(key.clone(), Some(row(2, "stuck", Some("closed"))));
    let listed = ProjectionScenario::<SagaOverview>::given([(SAGA, start), (SAGA, stuck)]);
    let listed = listed.when(SAGA, retried);
    listed.then_row(key, Some(row(3, "running", None)));
}

#[test]
fn a_command_that_is_to_be_taken_back_is_due_at_once() {
    let (before, now) = (dawn() + Duration::from_secs(60), dawn());
    let step = "credit".to_owned();
    let recalled = SagaEvent::Recalled {
        step: step.clone(),
        reason: "abandoned".to_owned(),
        due: Some(before),
        now: Some(now),
    };
    let rejected = SagaEvent::Rejected {
        step: step.clone(),
        due: now,
        reason: "abandoned".to_owned(),
    };
    let postponed = SagaEvent::Postponed {
        step: step.clone(),
        due: now,
        refusals: 1,
        reason: "frozen".to_owned(),
        until: before,
    };
    let row = |position, due| SagaDeadline {
        saga: "transfer".to_owned(),
        due,
        id: "1".to_owned(),
        kind: "command".to_owned(),
        name: step.clone(),
        position: Position::new(position),
    };
    let given = || ProjectionScenario::<SagaDeadline>::given([(SAGA, postponed.clone())]);
    given().then([row(1, before)]);
    let due = given().when(SAGA, recalled.clone());
    due.then([row(2, now)]);
    given().when(SAGA, recalled).when(SAGA, rejected).then([]);
}
