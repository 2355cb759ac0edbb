//! Starting sagas.

use std::sync::Arc;

use annals_core::{
    CommandId, MemoryStore, Position, StreamName, StreamRead, Version, saga::SagaStatus,
};
use annals_runtime::{StartError, StartSagaError};
use annals_testing::clock::ManualClock;

use crate::{
    accounts::{AccountCommand, Transfer, transfer},
    bank::{Bank, builder},
    targets::Stray,
};

#[tokio::test]
async fn the_same_request_ten_times_at_once_is_one_saga() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    let starts = (0..10).map(|_| async {
        let id = "1".to_owned();
        bank.app
            .start_saga(&id, transfer("a", "b", 30))
            .await
            .unwrap()
    });
    let started = futures_util::future::join_all(starts).await;
    assert_eq!(
        started.iter().filter(|started| !started.repeated).count(),
        1
    );
    assert!(
        started
            .iter()
            .all(|other| other.stream == started[0].stream)
    );
    bank.ended("1").await;
    let again = bank
        .app
        .start_saga(&"1".to_owned(), transfer("a", "b", 30))
        .await
        .unwrap();
    assert!(again.repeated);
    assert_eq!((bank.cents("a").await, bank.cents("b").await), (70, 30));
}

#[tokio::test]
async fn an_id_is_not_reused_for_another_request() {
    let bank = Bank::open().await;
    bank.start("1", transfer("a", "b", 30)).await;
    let error = bank
        .app
        .start_saga(&"1".to_owned(), transfer("a", "b", 31))
        .await;
    assert!(
        matches!(error, Err(StartSagaError::IdReused { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_command_id_starts_one_saga_and_answers_as_the_first_time() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    let start = |id: &str, fingerprint: &str| {
        let id = id.to_owned();
        let starting = bank.app.start_saga(&id, transfer("a", "b", 30));
        starting
            .command_id(CommandId::from_key("test", "k"))
            .fingerprint(fingerprint)
    };
    let first = start("1", "a request").await.unwrap();
    bank.ended("1").await;
    let again = start("1", "a request").await.unwrap();
    assert!(again.repeated && !first.repeated);
    assert_eq!(
        (again.stream, again.position),
        (first.stream, first.position)
    );
    for (id, fingerprint) in [("1", "another"), ("2", "a request")] {
        let error = start(id, fingerprint).await;
        assert!(
            matches!(error, Err(StartSagaError::CommandIdReused { .. })),
            "{error:?}"
        );
    }
    let other = bank.app.saga::<Transfer>(&"2".to_owned()).await;
    assert!(other.unwrap().is_none());
}

#[tokio::test]
async fn a_command_id_that_names_a_saga_which_was_there_stands_for_it_from_then_on() {
    let bank = Bank::open().await;
    bank.start("1", transfer("a", "b", 30)).await;
    bank.ended("1").await;
    let key = CommandId::from_key("test", "k");
    let start = |id: &str, cents| {
        let id = id.to_owned();
        let starting = bank.app.start_saga(&id, transfer("a", "b", cents));
        starting.command_id(key)
    };
    for _ in 0..2 {
        let there = start("1", 30).await.unwrap();
        assert_eq!((there.repeated, there.position), (true, Position::new(1)));
    }
    let error = start("2", 30).await;
    assert!(
        matches!(error, Err(StartSagaError::CommandIdReused { .. })),
        "{error:?}"
    );
    // What was refused has used no id up.
    let other = CommandId::from_key("test", "other");
    let refused = start("1", 31).command_id(other).await;
    assert!(
        matches!(refused, Err(StartSagaError::IdReused { .. })),
        "{refused:?}"
    );
    assert!(!start("3", 31).command_id(other).await.unwrap().repeated);
}

#[tokio::test]
async fn a_repeated_start_answers_the_position_of_the_first_event() {
    let bank = Bank::open().await;
    let id = "1".to_owned();
    let start = || bank.app.start_saga(&id, transfer("a", "b", 30));
    let (first, again) = (start().await.unwrap(), start().await.unwrap());
    assert_eq!(
        (first.position, again.position),
        (Position::new(1), Position::new(1))
    );
}

#[tokio::test]
async fn what_a_start_says_of_itself_stands_with_all_that_it_brings_about() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    let id = "1".to_owned();
    let starting = bank.app.start_saga(&id, transfer("a", "b", 30));
    starting
        .actor("alice")
        .extra("booked_at", "noon")
        .await
        .unwrap();
    bank.ended("1").await;
    for stream in ["saga-transfer:1", "account-b"] {
        let read = StreamRead::after(StreamName::parse(stream).unwrap(), Version::NONE, 100);
        let events = bank.app.store().read_stream(read).await.unwrap();
        assert!(!events.is_empty());
        for event in events {
            assert_eq!(event.metadata.actor.as_deref(), Some("alice"));
            let booked_at = event.metadata.extra.get("booked_at");
            assert_eq!(booked_at.map(String::as_str), Some("noon"));
        }
    }
}

#[tokio::test]
async fn a_saga_that_is_not_part_of_the_application_is_refused() {
    let bank = Bank::open().await;
    let error = bank
        .app
        .start_saga(&"1".to_owned(), Stray::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, StartSagaError::NotRegistered { saga: "stray" }),
        "{error}"
    );
}

#[tokio::test]
async fn two_sagas_of_one_name_are_refused() {
    let started = builder(
        Arc::new(MemoryStore::new()),
        Arc::new(ManualClock::default()),
    )
    .saga::<Transfer>()
    .saga::<Transfer>()
    .start()
    .await;
    assert!(matches!(
        started,
        Err(StartError::TwoProjections { .. } | StartError::TwoSagas { name: "transfer" })
    ));
}

#[tokio::test]
async fn what_was_under_way_at_a_shutdown_is_finished_by_the_next_process() {
    let store = Arc::new(MemoryStore::new());
    // A process that starts sagas, but leaves running them to others.
    let clock = Arc::new(ManualClock::default());
    let tool = builder(store.clone(), clock.clone())
        .saga::<Transfer>()
        .connect()
        .await
        .unwrap();
    for id in 0..50 {
        tool.start_saga(&id.to_string(), transfer("a", "b", 1))
            .await
            .unwrap();
    }
    let bank = Bank::on(store, clock).await;
    for id in 0..50 {
        assert_eq!(
            bank.ended(&id.to_string()).await.status(),
            SagaStatus::Failed
        );
    }
}
