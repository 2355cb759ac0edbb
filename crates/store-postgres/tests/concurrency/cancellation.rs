//! Callers that go away at any point: what was acknowledged is there, what was not is there wholly
//! or not at all, and no session is left in a transaction.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use annals_core::{
    AppendError, Appended, EventStore as _, LogRead, Position, StreamName, StreamRead, Version,
};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::{
    postgres::Cluster,
    processes::{Numbered, check},
    seed::Seed,
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

const TASKS: u64 = 40;
const OPERATIONS: u64 = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_missing_when_callers_go_away() {
    let started = Instant::now();
    let cluster = Cluster::create();
    let store = PostgresStore::open(&cluster.url(), PostgresOptions::default()).await;
    let store = store.expect("the store opens");
    let mut seed = Seed::printed();
    let numbered = Numbered {
        seed: seed.number(),
        streams: 20,
        events: 5,
    };
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = store.clone();
        let mut seed = Seed::new(seed.number());
        tasks.spawn(async move {
            let mut acked = Vec::new();
            for index in 0..OPERATIONS {
                let work = operate(&store, &numbered, seed.below(10), (task, index));
                if let Some(appended) = broken_off(&mut seed, work).await.flatten() {
                    acked.push(((task, index), appended));
                }
            }
            acked
        });
    }
    let acked: HashMap<_, _> = tasks.join_all().await.into_iter().flatten().collect();
    // Whoever is still at work ends soon; a session that was forgotten does not.
    assert_eq!(
        idle_in_transaction(&cluster).await,
        0,
        "sessions are left in transactions"
    );
    let log = check::read_log(&store).await;
    let places: HashMap<_, _> = log.iter().map(|event| (event.id, event.position)).collect();
    let mut unheard = 0;
    for task in 0..TASKS {
        for index in 0..OPERATIONS {
            let append = numbered.append(task, index);
            let events = append.writes.iter().flat_map(|write| &write.events);
            let found: Vec<_> = events.filter_map(|event| places.get(&event.id)).collect();
            let acked = acked.get(&(task, index));
            if found.is_empty() {
                assert!(acked.is_none(), "{task}, {index} is missing");
                continue;
            }
            assert_eq!(
                found.len(),
                append.event_count(),
                "{task}, {index} is in part"
            );
            match acked {
                Some(appended) => assert_eq!(*found[found.len() - 1], appended.position),
                None => unheard += 1,
            }
        }
    }
    store.close().await;
    println!(
        "{} operations, {} acknowledged appends, {unheard} committed unheard, {:.1?}",
        TASKS * OPERATIONS,
        acked.len(),
        started.elapsed()
    );
    assert!(!acked.is_empty() && unheard > 0, "nothing was broken off");
}

async fn operate(
    store: &PostgresStore,
    numbered: &Numbered,
    kind: usize,
    (task, index): (u64, u64),
) -> Option<Appended> {
    let stream = StreamName::parse(&format!("account-{}", task % 20)).expect("a valid name");
    match kind {
        0 => {
            let read = LogRead::after(Position::new(index), 20);
            store.read_log(read).await.expect("the log can be read");
        }
        1 => {
            let read = StreamRead::after(stream, Version::NONE, 20);
            store.read_stream(read).await.expect("a stream can be read");
        }
        2 => {
            let version = store.stream_version(&stream).await;
            version.expect("a stream can be read");
        }
        _ => match store.append(numbered.append(task, index)).await {
            Ok(appended) => return Some(appended),
            Err(AppendError::Unknown(_)) => {}
            Err(error) => panic!("an append failed: {error:?}"),
        },
    }
    None
}

/// Drops a future after it was polled a few times, or after a moment.
async fn broken_off<T>(seed: &mut Seed, work: impl Future<Output = T>) -> Option<T> {
    let polls = seed.below(6);
    let pause = Duration::from_micros(seed.below(20_000) as u64);
    let by_polls = seed.below(2) == 0;
    let patience = async {
        if by_polls {
            for _ in 0..polls {
                yield_now().await;
            }
        } else {
            sleep(pause).await;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = patience => None,
    }
}

/// How many sessions stay in a transaction that nobody goes on with.
async fn idle_in_transaction(cluster: &Cluster) -> usize {
    let mut found = 0;
    for _ in 0..100 {
        let sessions = cluster
            .sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'");
        found = sessions.parse().expect("a number");
        if found == 0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    found
}

/// A control for the test above: transactions on a pool of sqlx in the caller's own future.
///
/// When a future is dropped at the wrong moment is a matter of luck, so it tries until that happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_naive_pool_loses_what_it_acknowledged() {
    let cluster = Cluster::create();
    cluster.sql("CREATE TABLE naive (number bigint)");
    let mut seed = Seed::printed();
    let mut acked = 0;
    for attempt in 1..=60 {
        acked += naive_round(&cluster, &mut seed).await;
        let open = idle_in_transaction(&cluster).await;
        let rows = cluster.sql("SELECT count(*) FROM naive WHERE number >= 0");
        let missing = acked - rows.parse::<u64>().expect("a number");
        if missing > 0 || open > 0 {
            println!(
                "caught in attempt {attempt}: {missing} of {acked} missing, {open} left in transactions"
            );
            return;
        }
    }
    panic!("the control catches nothing in {acked} acknowledged inserts");
}

/// Inserts and broken-off transactions, on a pool of their own; answers how many are acknowledged.
async fn naive_round(cluster: &Cluster, seed: &mut Seed) -> u64 {
    let pool = PgPoolOptions::new().max_connections(4);
    let pool = pool.connect(&cluster.url()).await.expect("it connects");
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let pool = pool.clone();
        let mut seed = Seed::new(seed.number());
        tasks.spawn(async move {
            let mut acked = 0;
            for index in 0..150_i64 {
                if index % 2 == 0 {
                    broken_off(&mut seed, in_transaction(&pool)).await;
                    continue;
                }
                let insert = sqlx::query("INSERT INTO naive VALUES ($1)").bind(index);
                let inserted = timeout(Duration::from_secs(5), insert.execute(&pool)).await;
                acked += u64::from(matches!(inserted, Ok(Ok(_))));
            }
            acked
        });
    }
    tasks.join_all().await.into_iter().sum()
}

async fn in_transaction(pool: &PgPool) {
    let Ok(mut transaction) = pool.begin().await else {
        return;
    };
    let insert = sqlx::query("INSERT INTO naive VALUES (-1)");
    if insert.execute(&mut *transaction).await.is_ok() {
        transaction.commit().await.ok();
    }
}
