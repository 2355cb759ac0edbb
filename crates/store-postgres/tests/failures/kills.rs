//! The server is killed under load, again and again.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use annals_core::StoredEvent;
use annals_testing::{postgres::Cluster, processes::check, seed::Seed};
use tokio::{task::JoinSet, time::sleep};

use crate::accounts::{caught_up, check_rows, deposit, open, settle, start};

const KILLS: usize = 15;
const WRITERS: u64 = 16;

/// The place of each deposit that was acknowledged, by account and number.
type Acked = HashMap<(u64, u64), u64>;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_server_loses_and_doubles_nothing() {
    let started = Instant::now();
    let mut seed = Seed::printed();
    let ids = seed.number();
    let mut cluster = Cluster::create();
    let store = open(&cluster.url()).await;
    let app = start(&store).await;
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for account in 0..WRITERS {
        let (store, ended) = (store.clone(), Arc::clone(&ended));
        writers.spawn(async move {
            let (mut acked, mut repeated) = (Acked::new(), 0);
            for number in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let appended = settle(&store, deposit(ids, account, number)).await;
                acked.insert((account, number), appended.position.get());
                repeated += usize::from(appended.repeated);
            }
            (acked, repeated)
        });
    }
    let mut slowest = Duration::ZERO;
    for kill in 0..KILLS as u64 {
        sleep(Duration::from_millis(300 + seed.below(500) as u64)).await;
        cluster.kill9();
        cluster.start();
        let back = Instant::now();
        let appended = settle(&store, deposit(ids, WRITERS, kill)).await;
        caught_up(&app, appended.position).await;
        slowest = slowest.max(back.elapsed());
    }
    ended.store(true, Ordering::Relaxed);
    let mut acked = Acked::new();
    let mut repeated = 0;
    while let Some(writer) = writers.join_next().await {
        let (more, again) = writer.expect("a writer does not panic");
        acked.extend(more);
        repeated += again;
    }
    let log = check::read_log(&store).await;
    assert_eq!(complaint(&log, ids, &acked), None);
    // Without one, or with one twice, the same comparison complains.
    let lost: Vec<_> = log[..log.len() - 20].to_vec();
    assert!(complaint(&lost, ids, &acked).is_some());
    let doubled: Vec<_> = log.iter().chain(&log[..1]).cloned().collect();
    assert!(complaint(&doubled, ids, &acked).is_some());
    caught_up(&app, log.last().expect("events").position).await;
    check_rows(&app, &log).await;
    app.shutdown().await;
    println!(
        "{KILLS} kills, {} deposits, {repeated} of them committed but not acknowledged; the read \
         model was up to date at most {slowest:.1?} after the server's return; {:.1?}",
        log.len(),
        started.elapsed()
    );
    // The aim is 5 seconds; a busy machine may take longer.
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
}

/// What is lost, doubled or at another place than was acknowledged.
fn complaint(log: &[StoredEvent], ids: u64, acked: &Acked) -> Option<String> {
    let mut seen = HashSet::new();
    if let Some(double) = log.iter().find(|event| !seen.insert(event.id)) {
        return Some(format!("{} is there twice", double.position));
    }
    acked.iter().find_map(|(&(account, number), &position)| {
        let wanted = deposit(ids, account, number).writes[0].events[0].id;
        let found = log
            .get(usize::try_from(position).ok()? - 1)
            .map(|event| event.id);
        (found != Some(wanted)).then(|| format!("deposit {number} to {account} is lost"))
    })
}
