//! A commit is lost on the wire, or only its answer: whoever appends can't tell which.

use annals_core::{Append, AppendError, Appended, EventStore as _, Expected, Version};
use annals_postgres::PostgresStore;
use annals_testing::{
    postgres::{Cluster, Lost, Proxy},
    processes::check,
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::{
    accounts::{SOON, caught_up, check_rows, deposit, head, open, rows_complaint, settle, start},
    ledger::{Load, complaint, doubled},
};

/// What commits: the message that ends a transaction (what begins one goes on after the word), and
/// the statement that appends at once, told by the time-out of its lock, which no other one binds.
const COMMITS: &[&[u8]] = &[b"COMMIT\0", b"\0\0\0\x0530000"];
/// Nobody listens there.
const NOBODY: u16 = 1;
const BOTH: [Lost; 2] = [Lost::Message, Lost::Answer];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_settles_a_lost_commit_by_itself_when_it_reaches_the_server() {
    let cluster = Cluster::create();
    let proxy = Proxy::before(cluster.port()).await;
    let store = open(&cluster.url_at(proxy.port())).await;
    for number in 1..=20 {
        let lost = BOTH[usize::try_from(number).unwrap() % 2];
        let happens = proxy.lose(lost, COMMITS);
        let appended = timeout(SOON, store.append(deposit(1, 1, number))).await;
        let appended = appended.expect("an append does not hang");
        assert_eq!(appended.expect("it is settled").position.get(), number);
        happens.await;
    }
    let log = check::read_log(&store).await;
    assert_eq!((log.len(), doubled(&log)), (20, None));
}

/// Loses a commit, and then the server: nobody can look how far the append came.
async fn unknown(
    cluster: &Cluster,
    proxy: &Proxy,
    store: &PostgresStore,
    lost: Lost,
    append: Append,
) {
    let happens = proxy.lose(lost, COMMITS);
    proxy.lead_new_to(NOBODY);
    let appended = timeout(SOON, store.append(append)).await;
    let error = appended.expect("an append does not hang");
    let Err(AppendError::Unknown(error)) = error else {
        panic!("{lost:?}: the outcome can't be known: {error:?}");
    };
    assert!(error.is_transient(), "{error:?}");
    happens.await;
    proxy.lead_new_to(cluster.port());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn repeating_an_append_of_unknown_outcome_commits_it_once() {
    let cluster = Cluster::create();
    let proxy = Proxy::before(cluster.port()).await;
    let store = open(&cluster.url_at(proxy.port())).await;
    settle(&store, deposit(1, 1, 0)).await;
    for (number, lost) in (1..).zip([BOTH, BOTH, BOTH].concat()) {
        let append = deposit(1, 1, number);
        unknown(&cluster, &proxy, &store, lost, append.clone()).await;
        let first = settle(&store, append.clone()).await;
        let was_there = lost == Lost::Answer;
        assert_eq!(
            (first.position.get(), first.repeated),
            (number + 1, was_there)
        );
        let again = settle(&store, append).await;
        let repeated = Appended {
            repeated: true,
            ..first
        };
        assert_eq!(again, repeated);
    }
    let log = check::read_log(&store).await;
    assert_eq!((log.len(), doubled(&log)), (7, None));

    // Whoever repeats it as something new has it twice, and the same comparison says so.
    unknown(&cluster, &proxy, &store, Lost::Answer, deposit(1, 1, 7)).await;
    settle(&store, deposit(2, 1, 7)).await;
    let log = check::read_log(&store).await;
    assert_eq!(log.len(), 9);
    assert!(doubled(&log).is_some());
}

/// When the stream gets there meanwhile, the lost statement may still arrive and be carried out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_ahead_of_its_stream_is_not_refused_while_it_may_be_on_its_way() {
    let cluster = Cluster::create();
    let proxy = Proxy::before(cluster.port()).await;
    let store = open(&cluster.url_at(proxy.port())).await;
    settle(&store, deposit(1, 1, 1)).await;
    let at = |number, version| {
        let mut append = deposit(1, 1, number);
        append.writes[0].expected = Expected::Exact(Version::new(version));
        append
    };
    let happens = proxy.lose(Lost::Message, COMMITS);
    let appended = timeout(SOON, store.append(at(2, 3))).await;
    let appended = appended.expect("an append does not hang");
    assert!(
        matches!(appended, Err(AppendError::Unknown(_))),
        "{appended:?}"
    );
    happens.await;
    // One that is tried again is kept out by itself, and one that is behind by what stands there.
    let happens = proxy.lose(Lost::Message, COMMITS);
    store.append(at(3, 1)).await.expect("it is settled");
    happens.await;
    let other = open(&cluster.url()).await;
    other.append(at(4, 2)).await.expect("it is next");
    let happens = proxy.lose(Lost::Message, COMMITS);
    let refused = store.append(at(5, 2)).await;
    happens.await;
    assert!(
        matches!(refused, Err(AppendError::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(head(&store).await.get(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_lost_under_load_lose_and_double_nothing() {
    let cluster = Cluster::create();
    let proxy = Proxy::before(cluster.port()).await;
    let store = open(&cluster.url_at(proxy.port())).await;
    let app = start(&store).await;
    let load = Load::begin(&store, 1, 8);
    // Commits of appends, of the read model and of leases, as they come.
    for lost in [BOTH; 20].concat() {
        let happens = timeout(SOON, proxy.lose(lost, COMMITS)).await;
        happens.expect("there are commits all the time");
    }
    let (acked, repeated) = load.end().await;
    caught_up(&app, head(&store).await).await;
    let log = check::read_log(&store).await;
    assert_eq!(complaint(&log, 1, &acked), None);
    check_rows(&app, &log).await;
    println!(
        "40 commits lost, half of them without the server's knowing; {} deposits, {repeated} of \
         them answered when they were repeated",
        log.len()
    );

    // Whoever repeats an update whose answer was lost makes it twice, and the same comparison
    // says so.
    let number = i64::try_from(head(&store).await.get()).unwrap();
    let last = settle(&store, deposit(1, 9, number.unsigned_abs())).await;
    caught_up(&app, last.position).await;
    cluster.sql("UPDATE annals.balance SET deposits = 0, sum = 0 WHERE account = '9'");
    let happens = proxy.lose(Lost::Answer, UPDATES);
    while add(&cluster.url_at(proxy.port()), number).await.is_err() {}
    happens.await;
    let log = check::read_log(&store).await;
    assert!(rows_complaint(&app, &log).await.is_some());
    app.shutdown().await;
}

const UPDATES: &[&[u8]] = &[UPDATE.as_bytes()];
const UPDATE: &str = "UPDATE annals.balance SET deposits = deposits + 1";

async fn add(url: &str, number: i64) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let update = format!("{UPDATE}, sum = sum + {number} WHERE account = '9'");
    let update = sqlx::raw_sql(sqlx::AssertSqlSafe(update));
    update.execute(&mut connection).await.map(drop)
}
