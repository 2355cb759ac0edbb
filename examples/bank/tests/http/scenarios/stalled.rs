//! A projection that says it runs and gets no further.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use annals::{Annals, Projection, ProjectionError, ReadModel, Recorded};
use bank::{
    domain::{AccountEvent, UserBalance},
    http::Limits,
};
use tokio::task::block_in_place;

use super::{super::STORE, server::Bank};
use crate::store::Place;

/// Whoever holds it keeps the projection from folding.
static IN_THE_WAY: Mutex<()> = Mutex::new(());

#[derive(ReadModel)]
struct Stalled {
    #[key]
    one: i64,
    events: i64,
}

impl Projection for Stalled {
    type Event = AccountEvent;

    fn keys(_: &Recorded<AccountEvent>) -> impl IntoIterator<Item = i64> {
        [1]
    }

    fn fold(
        key: &i64,
        row: Option<Self>,
        _: &Recorded<AccountEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        // A worker that is blocked without a word keeps a task waiting that it was to run next.
        block_in_place(|| drop(IN_THE_WAY.lock().unwrap_or_else(PoisonError::into_inner)));
        let events = row.map_or(0, |row| row.events) + 1;
        Ok(Some(Self { one: *key, events }))
    }
}

/// Gets in the way until it is told to go on.
fn get_in_the_way() -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    // In a thread of its own: the lock must not be held across an `await`.
    thread::spawn(move || {
        let held = IN_THE_WAY.lock();
        begin.send(()).unwrap();
        // Also when the test fails and drops its end.
        released.recv().ok();
        drop(held);
    });
    begun.recv().unwrap();
    release
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_running_projection_without_progress_makes_the_server_unready() {
    let place = Place::of(STORE).await;
    let builder = Annals::open(place.url()).await.unwrap();
    let builder = builder.projection::<UserBalance>().projection::<Stalled>();
    let app = builder.start().await.unwrap();
    let bank = Bank::serve(place, app, Limits::default()).await;
    bank.get("/readyz").await.ok(200);

    let release = get_in_the_way();
    bank.account("alice", "a", 5).await;
    let answer = bank.get("/readyz").await;
    let reasons = answer.problem(503, "not-ready")["reasons"].clone();
    assert_eq!(
        reasons,
        serde_json::json!(["projection `stalled` makes no progress at position 0 of 2"])
    );
    // The others do their work meanwhile.
    bank.caught_up().await;

    release.send(()).unwrap();
    let head = bank.caught_up().await;
    bank.app.caught_up::<Stalled>(head).await.unwrap();
    bank.get("/readyz").await.ok(200);
    bank.close().await;
}
