//! Events that a process manager can't go on with.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use annals_core::{
    Append, Claim, EventId, EventStore as _, EventType, Expected, MemoryStore, Metadata, NewEvent,
    Position, ProjectionRecord, ProjectionState, ProjectionStore as _, Recorded, StreamName,
    UnknownEvents,
    saga::{Actions, Correlation, Input, ProcessManager, ReactError, SagaStatus},
};
use annals_runtime::App;
use uuid::Uuid;

use crate::{
    accounts::{Account, AccountCommand, AccountEvent},
    bank::{PATIENCE, builder, until},
};

/// Whether finding out whose event it is panics for the account `cursed`.
static CURSE: AtomicBool = AtomicBool::new(true);

/// Watches an account from its freezing to its closing, and stumbles over some.
#[derive(Clone, Debug, Default)]
struct Watch<const LENIENT: bool>;

impl<const LENIENT: bool> ProcessManager for Watch<LENIENT> {
    const NAME: &'static str = if LENIENT { "lenient" } else { "strict" };
    const UNKNOWN: UnknownEvents = if LENIENT {
        UnknownEvents::Ignore
    } else {
        UnknownEvents::Fail
    };
    type Id = String;
    type Start = ();
    type Event = AccountEvent;
    type SendsTo = ();

    fn correlate(event: &Recorded<AccountEvent>) -> Correlation<String> {
        let account = event.stream.id();
        assert!(
            account != "cursed" || !CURSE.load(Ordering::SeqCst),
            "it is cursed"
        );
        match event.event {
            AccountEvent::Frozen => Correlation::Start(account.to_owned()),
            AccountEvent::Closed => Correlation::Continue(account.to_owned()),
            _ => Correlation::None,
        }
    }

    fn evolve(&mut self, _: &Input<'_, (), AccountEvent>) {}

    fn react(
        &self,
        input: &Input<'_, (), AccountEvent>,
        actions: &mut Actions,
    ) -> Result<(), ReactError> {
        if let Input::Event(event) = input
            && event.event == AccountEvent::Closed
        {
            actions.complete();
        }
        Ok(())
    }
}

async fn watching<const LENIENT: bool>(store: &Arc<MemoryStore>) -> App {
    let builder = builder(store.clone(), Arc::new(annals_runtime::SystemClock));
    let builder = builder.process_manager::<Watch<LENIENT>>();
    builder.start().await.unwrap()
}

async fn tell(app: &App, account: &str, command: AccountCommand) -> Position {
    let done = app.execute::<Account>(&account.to_owned(), command);
    done.await.unwrap().position
}

/// Appends an event of a later release.
async fn append_unknown(store: &MemoryStore, account: &str) -> Position {
    let id = EventId::new(Uuid::from_u128(7));
    let event = NewEvent {
        id,
        event_type: EventType::new("account.renamed").unwrap(),
        schema_version: 1,
        payload: b"{}".to_vec(),
        tags: Vec::new(),
        metadata: Metadata::caused_by(id.into(), id.uuid().into()),
    };
    let stream = StreamName::parse(&format!("account-{account}")).unwrap();
    let append = Append::to(stream, Expected::Any, vec![event], chrono::Utc::now());
    store.append(append).await.unwrap().position
}

/// Waits until the runner has stopped, and answers its record.
async fn stopped(store: &MemoryStore, runner: &str) -> ProjectionRecord {
    let stopped = async {
        loop {
            let record = store.projection(runner).await.unwrap().unwrap();
            if record.state == ProjectionState::Failed {
                return record;
            }
            tokio::task::yield_now().await;
        }
    };
    let stopped = tokio::time::timeout(PATIENCE, stopped).await;
    stopped.expect("the runner records no failure")
}

async fn until_there<const LENIENT: bool>(app: &App, id: &String) {
    until(async || app.process::<Watch<LENIENT>>(id).await.unwrap().is_some()).await;
}

#[tokio::test]
async fn an_event_type_that_a_process_does_not_know_stops_it_visibly() {
    let store = Arc::default();
    let app = watching::<false>(&store).await;
    tell(&app, "a", AccountCommand::Freeze).await;
    let position = append_unknown(&store, "a").await;
    let failure = stopped(&store, "saga:strict").await.failure.unwrap();
    assert_eq!(
        (failure.position, failure.event_type.as_str()),
        (position, "account.renamed")
    );
    assert_eq!(failure.stream, "account-a");
}

#[tokio::test]
async fn an_unknown_event_type_is_passed_over_where_the_process_says_so() {
    let store = Arc::default();
    let app = watching::<true>(&store).await;
    tell(&app, "a", AccountCommand::Freeze).await;
    append_unknown(&store, "b").await;
    tell(&app, "a", AccountCommand::Close).await;
    let id = "a".to_owned();
    until_there::<true>(&app, &id).await;
    let ended = app.process_ended::<Watch<true>>(&id, PATIENCE).await;
    assert_eq!(ended.unwrap().status(), SagaStatus::Completed);
}

#[tokio::test]
async fn a_panic_over_whose_event_it_is_stops_the_process_until_a_retry() {
    let store = Arc::<MemoryStore>::default();
    let app = watching::<false>(&store).await;
    tell(&app, "a", AccountCommand::Freeze).await;
    let position = tell(&app, "cursed", AccountCommand::Freeze).await;
    let record = stopped(&store, "saga:strict").await;
    let failure = record.failure.unwrap();
    assert_eq!(failure.position, position);
    assert_eq!(failure.message, "the code panicked: it is cursed");
    assert!(record.checkpoint.position < position);

    CURSE.store(false, Ordering::SeqCst);
    let running = ProjectionState::Running;
    let retried = store.set_state("saga:strict", running, chrono::Utc::now());
    retried.await.unwrap();
    until_there::<false>(&app, &"cursed".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gets_the_lease_next_finds_the_failure_recorded() {
    let store = Arc::<MemoryStore>::default();
    let app = watching::<false>(&store).await;
    until(async || app.sagas().health()[0].leading).await;
    let next = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let claim = || store.claim("saga:strict", "next", PATIENCE);
            while !matches!(claim().await.unwrap(), Claim::Held { .. }) {
                tokio::task::yield_now().await;
            }
            store.projection("saga:strict").await.unwrap().unwrap()
        }
    });
    append_unknown(&store, "a").await;
    assert_eq!(next.await.unwrap().state, ProjectionState::Failed);
}
