//! The commit of a swap is lost on the wire, or only its answer: whoever rebuilds learns of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use annals_core::{
    EventStore as _, Fence, InlineProjection, ProjectionError, ProjectionStore as _, Projector,
    ProjectorFactory as _, RebuildError, Recorded, Store, SwapRequest, Swapped, Target,
};
use annals_postgres::{PostgresStore, SqlProjection, sql_projection};
use annals_runtime::{Builder, RebuildOptions};
use annals_testing::{
    delegating::{Delegating, Hooks},
    postgres::{Cluster, Lost, Proxy},
    processes::check,
};
use async_trait::async_trait;
use chrono::Utc;
use sqlx::PgConnection;
use tokio::time::{sleep, timeout};

use crate::accounts::{
    AccountEvent, Balance, SOON, caught_up, check_rows, deposit, open, settle, start,
};

/// Nobody listens there.
const NOBODY: u16 = 1;
/// How long the server can't be reached: longer than any operation is tried again by itself.
const AWAY: Duration = Duration::from_secs(7);
const LEASE: Duration = Duration::from_secs(600);

/// The way to a server that goes away with the next commit.
#[derive(Debug)]
struct Way {
    cluster: Cluster,
    proxy: Proxy,
    lost: Lost,
}

impl Way {
    async fn lose_commit(&self) {
        self.proxy.lose(self.lost, &[b"COMMIT\0"]).await;
        self.proxy.lead_to(NOBODY);
        sleep(AWAY).await;
        self.proxy.lead_to(self.cluster.port());
    }

    /// Carries out a swap whose commit is lost.
    async fn swapped(
        &self,
        swap: impl Future<Output = Result<Swapped, RebuildError>>,
    ) -> Result<Swapped, RebuildError> {
        let both = async { tokio::join!(self.lose_commit(), swap).1 };
        timeout(SOON, both).await.expect("it does not hang")
    }
}

/// A cluster with a log, to which a proxy leads, and how the server knows of a lost commit.
async fn way(lost: Lost) -> (Arc<Way>, PostgresStore) {
    let cluster = Cluster::create();
    let proxy = Proxy::before(cluster.port()).await;
    let near = open(&cluster.url()).await;
    for number in 1..=20 {
        settle(&near, deposit(1, number % 3, number)).await;
    }
    let way = Way {
        cluster,
        proxy,
        lost,
    };
    (Arc::new(way), near)
}

/// A store whose first swap loses its commit.
#[derive(Debug)]
struct LosesSwap {
    store: PostgresStore,
    way: Arc<Way>,
    has_lost: AtomicBool,
}

#[async_trait]
impl Hooks for LosesSwap {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn swap(
        &self,
        request: SwapRequest,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError> {
        let swap = self.store.swap(request, projection);
        if self.has_lost.swap(true, Ordering::SeqCst) {
            return swap.await;
        }
        self.way.swapped(swap).await
    }
}

async fn a_read_model_is_rebuilt_though_its_swap_is_lost(lost: Lost) {
    let (way, near) = way(lost).await;
    let live = start(&near).await;
    let head = near.head().await.unwrap();
    caught_up(&live, head).await;
    let before = near.projection("balance").await.unwrap().unwrap();
    way.cluster
        .sql("UPDATE annals.balance SET sum = sum + 1 WHERE account = '1'");
    let far = LosesSwap {
        store: open(&way.cluster.url_at(way.proxy.port())).await,
        way: Arc::clone(&way),
        has_lost: AtomicBool::new(false),
    };
    let far = Builder::new(Arc::new(Delegating(far))).projection::<Balance>();
    let far = far.start().await.unwrap();
    let options = RebuildOptions {
        verify: true,
        ..RebuildOptions::default()
    };
    let rebuilt = far.projections();
    let rebuilt = rebuilt.rebuild("balance", options, &mut |_| {}).await;
    let rebuilt = rebuilt.expect("it is settled");
    assert_eq!((rebuilt.rows, rebuilt.checkpoint), (3, head));
    assert_eq!(rebuilt.differences.map(|found| found.count), Some(1));
    let after = near.projection("balance").await.unwrap().unwrap();
    assert_eq!(after.rebuild, None);
    assert!(after.epoch > before.epoch, "the tables were exchanged");
    let appended = settle(&near, deposit(1, 1, 21)).await;
    caught_up(&live, appended.position).await;
    check_rows(&live, &check::read_log(&near).await).await;
    far.shutdown().await;
    live.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_swap_that_was_made_without_an_answer_is_known_to_have_been_made() {
    a_read_model_is_rebuilt_though_its_swap_is_lost(Lost::Answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_swap_whose_commit_never_arrived_is_made_again() {
    a_read_model_is_rebuilt_though_its_swap_is_lost(Lost::Message).await;
}

/// The accounts that somebody has paid into, in a table of the user's own.
struct Payees;

impl SqlProjection for Payees {
    type Event = AccountEvent;
    const NAME: &'static str = "payees";
    const TABLES: &'static [&'static str] = &["payees"];
    const SCHEMA: &'static str = "CREATE TABLE payees (account text PRIMARY KEY)";

    async fn apply(
        event: &Recorded<AccountEvent>,
        db: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        sqlx::query("INSERT INTO payees VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(event.stream.id())
            .execute(db)
            .await?;
        Ok(())
    }
}

/// Begins a rebuild of the user's own table, and answers it with the request to swap it in.
async fn begin(
    store: &PostgresStore,
    owner: &str,
    lease: Duration,
) -> (Box<dyn Projector>, SwapRequest) {
    let factory = sql_projection::<Payees>();
    let spec = factory.spec().clone();
    store.register(&spec, Utc::now()).await.unwrap();
    let begun = store.begin_rebuild(&spec, owner, lease, false, Utc::now());
    let rebuild = begun.await.unwrap();
    let any: Arc<dyn Store> = Arc::new(store.clone());
    let projector = factory.open(&any, Target::Rebuild).await.unwrap();
    let request = SwapRequest {
        spec,
        fence: Fence {
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint.position,
        },
        verify: None,
        now: Utc::now(),
    };
    (projector, request)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_in_the_users_sql_are_swapped_once_though_the_commit_is_lost() {
    for lost in [Lost::Answer, Lost::Message] {
        let (way, near) = way(lost).await;
        let far = open(&way.cluster.url_at(way.proxy.port())).await;
        let (mut projector, request) = begin(&far, "me", LEASE).await;
        let swapped = way.swapped(projector.swap(request.clone())).await;
        let after = near.projection("payees").await.unwrap().unwrap();
        match lost {
            Lost::Answer => {
                assert_eq!(after.checkpoint, swapped.expect("it is known").checkpoint);
                assert_eq!(after.rebuild, None);
            }
            Lost::Message => {
                let error = swapped.expect_err("it was not made");
                assert!(
                    matches!(&error, RebuildError::Store(error) if error.is_transient()),
                    "{error:?}"
                );
                let rebuild = after.rebuild.expect("it can go on");
                assert_eq!(rebuild.epoch, request.fence.epoch);
                projector.swap(request).await.expect("it goes on");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_swap_that_somebody_else_has_made_is_not_taken_for_ones_own() {
    let (way, near) = way(Lost::Message).await;
    let far = open(&way.cluster.url_at(way.proxy.port())).await;
    let (mut lost, request) = begin(&far, "me", Duration::from_secs(1)).await;
    let other = async {
        // While the server can't be reached the other way, and the lease has run out.
        sleep(AWAY / 2).await;
        let (mut other, request) = begin(&near, "other", LEASE).await;
        other.swap(request).await.expect("it is swapped in");
    };
    let (swapped, ()) = tokio::join!(way.swapped(lost.swap(request)), other);
    let error = swapped.expect_err("it was not made");
    assert!(matches!(error, RebuildError::Store(_)), "{error:?}");
}
