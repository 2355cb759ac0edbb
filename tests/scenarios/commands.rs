//! What executing a command promises (C1 to C3), on every store.

use std::sync::Arc;

use crate::lamp::{Lamp, LampCommand, LampError, LampEvent, LampId};
use annals::{
    Annals, App, Append, AppendError, CommandId, CommandOptions, EventId, EventType, ExecuteError,
    Expected, NewEvent, Position, QueryItem, Store, StreamName, StreamRead, Version,
};

/// Runs a scenario on each store; `$app` makes another application on the same one.
macro_rules! on_every_store {
    ($($name:ident)+) => {
        mod memory {
            $(#[tokio::test] async fn $name() {
                super::$name(std::sync::Arc::new(annals::MemoryStore::new())).await;
            })+
        }

        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}/test.db", dir.path().display());
                let options = annals::sqlite::SqliteOptions::default();
                let store = annals::sqlite::SqliteStore::open(&url, options).await.unwrap();
                super::$name(std::sync::Arc::new(store)).await;
            })+
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                let schema = annals_testing::postgres::TestSchema::create().await;
                let options = annals::postgres::PostgresOptions::default();
                let url = schema.url();
                let store = annals::postgres::PostgresStore::open(&url, options).await.unwrap();
                super::$name(std::sync::Arc::new(store)).await;
            })+
        }
    };
}

on_every_store! {
    a_command_appends_what_it_decides
    a_rejection_comes_back_untouched_and_appends_nothing
    a_command_with_nothing_to_do_appends_nothing
    racing_commands_of_one_process_queue_instead_of_conflicting
    another_node_s_events_are_seen_before_a_command_is_refused
    a_command_is_decided_again_when_another_node_was_faster
    the_same_command_id_answers_as_the_first_time
    ten_racing_copies_of_a_command_are_carried_out_once
    a_repeated_command_that_would_now_be_rejected_still_answers_as_the_first_time
    a_command_id_is_remembered_even_when_there_was_nothing_to_do
    a_command_id_stands_for_one_request
    a_rejected_command_may_come_again_under_its_id
    an_expected_version_that_is_not_met_appends_nothing
    a_condition_on_other_streams_holds_the_command_back
    metadata_says_who_and_why
    a_snapshot_is_a_cache_and_nothing_more
    a_stream_too_large_for_one_page_is_loaded_whole
    shutting_down_refuses_what_comes_after
}

async fn app(store: &Arc<dyn Store>) -> App {
    Annals::on(Arc::clone(store)).start().await.unwrap()
}

fn hall() -> LampId {
    "hall".parse().unwrap()
}

async fn history(store: &Arc<dyn Store>) -> Vec<LampEvent> {
    let stream = StreamName::parse("lamp-hall").unwrap();
    let events = store
        .read_stream(StreamRead::after(stream, Version::NONE, 10_000))
        .await
        .unwrap();
    events
        .iter()
        .map(|event| event.decode::<LampEvent>().unwrap().unwrap().event)
        .collect()
}

async fn a_command_appends_what_it_decides(store: Arc<dyn Store>) {
    let app = app(&store).await;
    let done = app
        .execute::<Lamp>(&hall(), LampCommand::Light)
        .await
        .unwrap();
    assert_eq!(done.stream.as_str(), "lamp-hall");
    assert_eq!(
        (done.version, done.position),
        (Version::new(1), Position::new(1))
    );
    assert!(done.state.burning && !done.repeated);
    assert_eq!(history(&store).await, [LampEvent::Lit]);
    let loaded = app.load::<Lamp>(&hall()).await.unwrap();
    assert_eq!(loaded.version, Version::new(1));
    assert!(loaded.state.burning);
}

async fn a_rejection_comes_back_untouched_and_appends_nothing(store: Arc<dyn Store>) {
    let app = app(&store).await;
    app.execute::<Lamp>(&hall(), LampCommand::Light)
        .await
        .unwrap();
    let error = app
        .execute::<Lamp>(&hall(), LampCommand::Light)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ExecuteError::Rejected(LampError::Burning)),
        "{error}"
    );
    assert_eq!(history(&store).await, [LampEvent::Lit]);
}

async fn a_command_with_nothing_to_do_appends_nothing(store: Arc<dyn Store>) {
    let app = app(&store).await;
    let done = app
        .execute::<Lamp>(&hall(), LampCommand::PutOut)
        .await
        .unwrap();
    assert_eq!(done.version, Version::NONE);
    assert_eq!(store.head().await.unwrap(), Position::START);
}

async fn racing_commands_of_one_process_queue_instead_of_conflicting(store: Arc<dyn Store>) {
    // One attempt only: a single conflict would fail its command.
    let options = CommandOptions {
        max_attempts: 1,
        ..Default::default()
    };
    let app = Annals::on(Arc::clone(&store))
        .command_options(options)
        .start()
        .await
        .unwrap();
    let switches = (0..100).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { app.execute::<Lamp>(&hall(), LampCommand::Switch).await })
    });
    for switch in switches.collect::<Vec<_>>() {
        switch.await.unwrap().unwrap();
    }
    assert_eq!(history(&store).await.len(), 100);
}

async fn another_node_s_events_are_seen_before_a_command_is_refused(store: Arc<dyn Store>) {
    let (one, other) = (app(&store).await, app(&store).await);
    one.execute::<Lamp>(&hall(), LampCommand::Light)
        .await
        .unwrap();
    other
        .execute::<Lamp>(&hall(), LampCommand::PutOut)
        .await
        .unwrap();
    // `one` still has the burning lamp in memory.
    let done = one
        .execute::<Lamp>(&hall(), LampCommand::Light)
        .await
        .unwrap();
    assert_eq!(done.version, Version::new(3));
}

async fn a_command_is_decided_again_when_another_node_was_faster(store: Arc<dyn Store>) {
    let nodes = [
        app(&store).await,
        app(&store).await,
        app(&store).await,
        app(&store).await,
    ];
    let switches = nodes
        .iter()
        .flat_map(|node| (0..25).map(move |_| node.clone()))
        .map(|node| {
            tokio::spawn(async move {
                while let Err(error) = node.execute::<Lamp>(&hall(), LampCommand::Switch).await {
                    assert!(matches!(error, ExecuteError::Conflict { .. }), "{error}");
                }
            })
        });
    for switch in switches.collect::<Vec<_>>() {
        switch.await.unwrap();
    }
    let history = history(&store).await;
    assert_eq!(history.len(), 100);
    let lit = |index: usize| index.is_multiple_of(2);
    let alternates = |(index, event): (usize, &LampEvent)| (*event == LampEvent::Lit) == lit(index);
    assert!(
        history.iter().enumerate().all(alternates),
        "a decision was made on an old state"
    );
}

async fn the_same_command_id_answers_as_the_first_time(store: Arc<dyn Store>) {
    let app = app(&store).await;
    let id = CommandId::from_key("test", "k");
    let first = app
        .execute::<Lamp>(&hall(), LampCommand::Switch)
        .command_id(id)
        .await
        .unwrap();
    app.execute::<Lamp>(&hall(), LampCommand::Switch)
        .await
        .unwrap();
    let again = app
        .execute::<Lamp>(&hall(), LampCommand::Switch)
        .command_id(id)
        .await
        .unwrap();
    assert!(
        again.repeated && again.state.burning,
        "the state as of then"
    );
    assert_eq!(
        (again.version, again.position),
        (first.version, first.position)
    );
    assert_eq!(history(&store).await.len(), 2);
}

async fn ten_racing_copies_of_a_command_are_carried_out_once(store: Arc<dyn Store>) {
    let nodes = [app(&store).await, app(&store).await];
    let copies = (0..10).map(|copy| {
        let node = nodes[copy % 2].clone();
        let id = CommandId::from_key("test", "k");
        tokio::spawn(async move {
            node.execute::<Lamp>(&hall(), LampCommand::Switch)
                .command_id(id)
                .await
                .unwrap()
        })
    });
    let mut first = 0;
    for copy in copies.collect::<Vec<_>>() {
        let done = copy.await.unwrap();
        assert_eq!(done.version, Version::new(1));
        first += usize::from(!done.repeated);
    }
    assert_eq!(first, 1);
    assert_eq!(history(&store).await.len(), 1);
}

async fn a_repeated_command_that_would_now_be_rejected_still_answers_as_the_first_time(
    store: Arc<dyn Store>,
) {
    let app = app(&store).await;
    let id = CommandId::from_key("test", "k");
    app.execute::<Lamp>(&hall(), LampCommand::Light)
        .command_id(id)
        .await
        .unwrap();
    let again = app
        .execute::<Lamp>(&hall(), LampCommand::Light)
        .command_id(id)
        .await
        .unwrap();
    assert!(again.repeated);
    assert_eq!(again.version, Version::new(1));
    // Neither does a version expectation that was met the first time stand in the way.
    let again = app
        .execute::<Lamp>(&hall(), LampCommand::Light)
        .command_id(id);
    assert!(again.expect_version(Version::NONE).await.unwrap().repeated);
}

async fn a_command_id_is_remembered_even_when_there_was_nothing_to_do(store: Arc<dyn Store>) {
    let app = app(&store).await;
    let id = CommandId::from_key("test", "k");
    app.execute::<Lamp>(&hall(), LampCommand::PutOut)
        .command_id(id)
        .await
        .unwrap();
    app.execute::<Lamp>(&hall(), LampCommand::Light)
        .await
        .unwrap();
    let again = app
        .execute::<Lamp>(&hall(), LampCommand::PutOut)
        .command_id(id)
        .await
        .unwrap();
    assert!(again.repeated);
    assert_eq!(again.version, Version::NONE);
    assert_eq!(history(&store).await, [LampEvent::Lit], "the lamp burns on");
}

async fn a_command_id_stands_for_one_request(store: Arc<dyn Store>) {
    let app = app(&store).await;
    let id = CommandId::from_key("test", "k");
    let light = || {
        app.execute::<Lamp>(&hall(), LampCommand::Light)
            .command_id(id)
    };
    light().fingerprint("light").await.unwrap();
    let error = light().fingerprint("put out").await.unwrap_err();
    assert!(
        matches!(error, ExecuteError::CommandIdReused { .. }),
        "{error}"
    );

    let cellar: LampId = "cellar".parse().unwrap();
    let elsewhere = app
        .execute::<Lamp>(&cellar, LampCommand::Light)
        .command_id(id)
        .await;
    let error = elsewhere.unwrap_err();
    assert!(
        matches!(error, ExecuteError::CommandIdReused { .. }),
        "{error}"
    );
    assert_eq!(store.head().await.unwrap(), Position::new(1));
}

async fn a_rejected_command_may_come_again_under_its_id(store: Arc<dyn Store>) {
    let app = app(&store).await;
    let id = CommandId::from_key("test", "k");
    app.execute::<Lamp>(&hall(), LampCommand::Light)
        .await
        .unwrap();
    app.execute::<Lamp>(&hall(), LampCommand::Light)
        .command_id(id)
        .await
        .unwrap_err();
    app.execute::<Lamp>(&hall(), LampCommand::PutOut)
        .await
        .unwrap();
    let done = app
        .execute::<Lamp>(&hall(), LampCommand::Light)
        .command_id(id)
        .await
        .unwrap();
    assert_eq!(done.version, Version::new(3));
}

async fn an_expected_version_that_is_not_met_appends_nothing(store: Arc<dyn Store>) {
    let app = app(&store).await;
    let switch = |version| {
        app.execute::<Lamp>(&hall(), LampCommand::Switch)
            .expect_version(Version::new(version))
    };
    switch(0).await.unwrap();
    let error = switch(0).await.unwrap_err();
    assert!(
        matches!(error, ExecuteError::VersionMismatch { actual, .. } if actual == Version::new(1))
    );
    switch(1).await.unwrap();
    assert_eq!(history(&store).await.len(), 2);
}

async fn a_condition_on_other_streams_holds_the_command_back(store: Arc<dyn Store>) {
    let app = app(&store).await;
    let cellar: LampId = "cellar".parse().unwrap();
    let lit = || QueryItem::default().event_type(EventType::new("lamp.lit").unwrap());
    app.execute::<Lamp>(&cellar, LampCommand::Light)
        .unless(lit(), Position::START)
        .await
        .unwrap();
    let error = app
        .execute::<Lamp>(&hall(), LampCommand::Light)
        .unless(lit(), Position::START)
        .await
        .unwrap_err();
    let failed = AppendError::ConditionFailed {
        position: Position::new(1),
    }
    .to_string();
    assert_eq!(error.to_string(), failed);
    app.execute::<Lamp>(&hall(), LampCommand::Light)
        .unless(lit(), Position::new(1))
        .await
        .unwrap();
}

async fn metadata_says_who_and_why(store: Arc<dyn Store>) {
    let app = app(&store).await;
    let id = CommandId::from_key("test", "k");
    app.execute::<Lamp>(&hall(), LampCommand::Light)
        .command_id(id)
        .actor("alice")
        .extra("room", "hall")
        .await
        .unwrap();
    let stream = StreamName::parse("lamp-hall").unwrap();
    let events = store
        .read_stream(StreamRead::after(stream, Version::NONE, 1))
        .await
        .unwrap();
    let metadata = &events[0].metadata;
    assert_eq!(metadata.causation_id.uuid(), id.uuid());
    assert_eq!(metadata.correlation_id.uuid(), id.uuid());
    assert_eq!(metadata.actor.as_deref(), Some("alice"));
    assert_eq!(metadata.extra["room"], "hall");
    assert_eq!(events[0].id.uuid().get_version_num(), 7);
}

async fn a_snapshot_is_a_cache_and_nothing_more(store: Arc<dyn Store>) {
    let start = async |version| {
        Annals::on(Arc::clone(&store))
            .snapshots::<Lamp>(10, version)
            .start()
            .await
            .unwrap()
    };
    let app = start(1).await;
    for _ in 0..25 {
        app.execute::<Lamp>(&hall(), LampCommand::Switch)
            .await
            .unwrap();
    }
    for version in [1, 2] {
        // 1 starts from the snapshot, 2 counts it as outdated and reads everything.
        let loaded = start(version).await.load::<Lamp>(&hall()).await.unwrap();
        assert_eq!(loaded.version, Version::new(25));
        assert_eq!((loaded.state.burning, loaded.state.switched), (true, 25));
    }
}

async fn a_stream_too_large_for_one_page_is_loaded_whole(store: Arc<dyn Store>) {
    let app = app(&store).await;
    app.execute::<Lamp>(&hall(), LampCommand::Light)
        .await
        .unwrap();
    let stream = StreamName::parse("lamp-hall").unwrap();
    let read = StreamRead::after(stream.clone(), Version::NONE, 1);
    let first = store.read_stream(read).await.unwrap().remove(0);
    let mut event = NewEvent {
        id: first.id,
        event_type: first.event_type.clone(),
        schema_version: first.schema_version,
        payload: first.payload.clone(),
        tags: Vec::new(),
        metadata: first.metadata.clone(),
    };
    // White space makes a payload as large as one may be.
    event.payload.resize(8 * 1024 * 1024, b' ');
    for number in 0..6 {
        event.id = EventId::new(CommandId::from_key("test", &format!("{number}")).uuid());
        let events = vec![event.clone()];
        let append = Append::to(stream.clone(), Expected::Any, events, first.recorded_at);
        store.append(append).await.unwrap();
    }
    let loaded = app.load::<Lamp>(&hall()).await.unwrap();
    assert_eq!(loaded.version, Version::new(7));
    assert_eq!(loaded.state.switched, 7);
}

async fn shutting_down_refuses_what_comes_after(store: Arc<dyn Store>) {
    let app = app(&store).await;
    app.execute::<Lamp>(&hall(), LampCommand::Light)
        .await
        .unwrap();
    app.shutdown().await;
    let error = app
        .execute::<Lamp>(&hall(), LampCommand::PutOut)
        .await
        .unwrap_err();
    let kind = error.store_error().map(annals::StoreError::kind);
    assert_eq!(kind, Some(annals::StoreErrorKind::Closed));
}
