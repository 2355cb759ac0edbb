//! Work that is given up, and the sessions that it may leave behind.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use annals_testing::{postgres::Cluster, seed::Seed};
use tokio::{task::yield_now, time::sleep};

/// How much work was dropped.
pub(crate) static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Drops a future after it was polled a few times, or after a moment; one in ten may end.
pub(crate) async fn broken_off<T>(seed: &mut Seed, work: impl Future<Output = T>) -> Option<T> {
    if seed.chance(1, 10) {
        return Some(work.await);
    }
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
        () = patience => {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// How many sessions stay in a transaction that nobody goes on with.
///
/// Whatever is still under way ends soon; what was forgotten stays, as nobody uses the connections
/// any more, and the server is not told to end it within the hour.
pub(crate) async fn idle_in_transaction(cluster: &Cluster) -> usize {
    let mut found = 0;
    for _ in 0..60 {
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
