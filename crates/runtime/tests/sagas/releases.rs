//! Sagas that a release can't replay any more, beside others of their kind.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Append, CommandId, EventId, EventStore as _, EventType, Expected, MemoryStore, Metadata,
    NewEvent,
    saga::{Plan, Saga, SagaStatus},
};
use annals_runtime::{App, OperateError, SagaOverview, SagaQuery, SagaView};
use annals_testing::clock::ManualClock;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    accounts::{Account, AccountCommand},
    bank::{PATIENCE, builder},
};

const KIND: &str = "parcel";

/// Puts a cent into one account and then into another.
fn plan(to: &String, plan: &mut Plan) {
    let give = || AccountCommand::Deposit { cents: 1 };
    plan.step("sent").command::<Account>(to, give());
    plan.step("thanked")
        .command::<Account>(&"thanks".to_owned(), give());
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Parcel {
    to: String,
}

impl Saga for Parcel {
    const NAME: &'static str = KIND;
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _: &String, parcel: &mut Plan) {
        plan(&self.to, parcel);
    }
}

/// The same in a later release, whose author forgot about those that are on their way.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct WeighedParcel {
    to: String,
    grams: u64,
}

impl Saga for WeighedParcel {
    const NAME: &'static str = KIND;
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _: &String, parcel: &mut Plan) {
        plan(&self.to, parcel);
    }
}

struct Post {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    app: App,
}

impl Post {
    /// A parcel `1` to `a` is asked for, but nobody runs it yet.
    async fn with_a_parcel() -> Self {
        let (store, clock) = (Arc::new(MemoryStore::new()), Arc::default());
        let builder = builder(store.clone(), Arc::clone(&clock) as _).saga::<Parcel>();
        let app = builder.connect().await.unwrap();
        let parcel = Parcel { to: "a".to_owned() };
        app.start_saga(&"1".to_owned(), parcel).await.unwrap();
        Self { store, clock, app }
    }

    /// The release of this parcel takes over.
    async fn release<S: Saga<Id = String>>(self) -> Self {
        self.app.sagas().shutdown().await;
        self.app.projections().shutdown().await;
        let Self { store, clock, .. } = self;
        let builder = builder(store.clone(), Arc::clone(&clock) as _).saga::<S>();
        let app = builder.start().await.unwrap();
        Self { store, clock, app }
    }

    async fn cents(&self, account: &str) -> i64 {
        let loaded = self.app.load::<Account>(&account.to_owned()).await.unwrap();
        loaded.state.cents
    }

    async fn shown(&self) -> SagaView {
        self.app.sagas().show(KIND, "1").await.unwrap().unwrap()
    }

    async fn until(&self, stands: impl Fn(&SagaView) -> bool) -> SagaView {
        let stood = async {
            loop {
                let view = self.shown().await;
                if stands(&view) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let stood = tokio::time::timeout(PATIENCE, stood).await;
        stood.expect("the saga stands otherwise")
    }

    /// Waits until the runner names the parcel as a problem, or names none any more.
    async fn until_health_names_it(&self, names: bool) {
        let named = async {
            loop {
                let problem = self.app.sagas().health().remove(0).problem;
                if problem.is_some_and(|problem| problem.starts_with("saga `1` can't go on"))
                    == names
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let named = tokio::time::timeout(PATIENCE, named).await;
        named.expect("health says otherwise");
    }

    async fn listed(&self) -> (String, Option<String>) {
        let head = self.store.head().await.unwrap();
        self.app.caught_up::<SagaOverview>(head).await.unwrap();
        let rows = self.app.sagas().list(&SagaQuery::default()).await.unwrap();
        let row = rows.into_iter().find(|row| row.id == "1").unwrap();
        (row.status, row.reason)
    }

    async fn another_completes(&self) {
        let id = "2".to_owned();
        let (to, grams) = ("b".to_owned(), 100);
        let parcel = WeighedParcel { to, grams };
        self.app.start_saga(&id, parcel).await.unwrap();
        let ended = self.app.saga_ended::<WeighedParcel>(&id, PATIENCE);
        assert_eq!(ended.await.unwrap().status(), SagaStatus::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_can_t_be_replayed_is_seen_and_can_be_abandoned() {
    let post = Post::with_a_parcel().await;
    let post = post.release::<WeighedParcel>().await;
    post.until_health_names_it(true).await;
    let view = post.shown().await;
    assert_eq!((view.status, view.timeline.len()), (SagaStatus::Running, 2));
    assert!(view.problem.unwrap().contains("missing field `grams`"));
    post.another_completes().await;
    // Others that do well don't hide it.
    post.until_health_names_it(true).await;

    post.until(|view| view.status == SagaStatus::Stuck).await;
    let (status, reason) = post.listed().await;
    assert_eq!(status, "stuck");
    assert!(reason.unwrap().contains("missing field `grams`"));
    post.until_health_names_it(false).await;
    match post.app.sagas().retry(KIND, "1").await {
        Err(OperateError::Refused { source, .. }) => {
            assert!(
                source.to_string().starts_with("it fails again:"),
                "{source}"
            );
        }
        other => panic!("it was not refused: {other:?}"),
    }
    let view = post.app.sagas().abandon(KIND, "1", "lost").await.unwrap();
    assert_eq!(view.status, SagaStatus::Abandoned);
    post.until(|view| view.outstanding.is_empty()).await;
    assert_eq!(
        post.listed().await,
        ("abandoned".to_owned(), Some("lost".to_owned()))
    );
    post.until_health_names_it(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_could_not_be_replayed_goes_on_with_a_release_that_can() {
    let post = Post::with_a_parcel().await;
    let post = post.release::<WeighedParcel>().await;
    // What was decided before is carried out, and what comes of it is kept for later.
    let carried_out =
        |view: &SagaView| view.status == SagaStatus::Stuck && view.outstanding.is_empty();
    post.until(carried_out).await;
    assert_eq!((post.cents("a").await, post.cents("thanks").await), (1, 0));

    let post = post.release::<Parcel>().await;
    assert_eq!(post.shown().await.problem, None);
    post.app.sagas().retry(KIND, "1").await.unwrap();
    let ended = post
        .app
        .saga_ended::<Parcel>(&"1".to_owned(), PATIENCE)
        .await;
    assert_eq!(ended.unwrap().status(), SagaStatus::Completed);
    assert_eq!((post.cents("a").await, post.cents("thanks").await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_comes_soon_enough_finds_the_saga_running() {
    let post = Post::with_a_parcel().await;
    let post = post.release::<WeighedParcel>().await;
    post.until_health_names_it(true).await;
    let post = post.release::<Parcel>().await;
    let ended = post
        .app
        .saga_ended::<Parcel>(&"1".to_owned(), PATIENCE)
        .await;
    assert_eq!(ended.unwrap().status(), SagaStatus::Completed);
}

/// An event of a later release, for the parcel.
fn levitated() -> Append {
    let id = EventId::new(Uuid::from_u128(7));
    let event = NewEvent {
        id,
        event_type: EventType::new("saga.levitated").unwrap(),
        schema_version: 1,
        payload: b"{\"metres\":3}".to_vec(),
        tags: Vec::new(),
        metadata: Metadata::caused_by(id.into(), id.uuid().into()),
    };
    let stream = annals_core::saga::saga_stream(KIND, "1").unwrap();
    Append::to(stream, Expected::Any, vec![event], chrono::Utc::now())
}

#[tokio::test(start_paused = true)]
async fn a_saga_with_an_event_of_a_later_release_is_shown_and_can_be_abandoned() {
    let post = Post::with_a_parcel().await;
    post.store.append(levitated()).await.unwrap();
    let post = post.release::<Parcel>().await;

    let view = post.until(|view| view.status == SagaStatus::Stuck).await;
    let entry = &view.timeline[2];
    assert_eq!(
        (entry.event_type.as_str(), &entry.event),
        ("saga.levitated", &None)
    );
    assert_eq!(entry.payload["metres"], 3);
    post.until_health_names_it(true).await;
    // Its command may have an outcome that this release can't read.
    assert_eq!((view.outstanding.len(), post.cents("a").await), (1, 0));
    post.app.sagas().abandon(KIND, "1", "lost").await.unwrap();
    let view = post.until(|view| view.outstanding.is_empty()).await;
    assert_eq!(view.status, SagaStatus::Abandoned);
    post.until_health_names_it(false).await;
    assert_eq!(post.cents("a").await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_saga_is_left_alone_though_a_later_release_took_its_command_back() {
    let post = Post::with_a_parcel().await;
    let command = CommandId::from_key("saga saga-parcel:1", "sent#0");
    let taken_back = levitated().once(command.into(), *b"annals: recalled");
    post.store.append(taken_back).await.unwrap();
    let post = post.release::<Parcel>().await;
    post.until(|view| view.status == SagaStatus::Stuck).await;
    post.until_health_names_it(true).await;

    post.app.sagas().abandon(KIND, "1", "lost").await.unwrap();
    post.until_health_names_it(false).await;
    assert_eq!(
        (post.shown().await.outstanding.len(), post.cents("a").await),
        (1, 0)
    );
}
