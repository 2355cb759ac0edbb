//! Signs of life of work on a connection.
//!
//! A host that dies without a word, or a network that is cut, leaves a connection on which nothing
//! comes any more, and sqlx waits for ever. How long a piece of work may take can't be known, but
//! how long it may take to get any further can.

use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::timeout;

/// The value of one that does not tell.
const SILENT: u64 = u64::MAX;

/// How often work has got further.
#[derive(Debug, Default)]
pub(crate) struct Pulse(AtomicU64);

/// Where somebody else looks after the time.
pub(crate) static UNWATCHED: Pulse = Pulse(AtomicU64::new(SILENT));

impl Pulse {
    /// The work has got further: another row, another statement.
    pub(crate) fn beat(&self) {
        let next = |beats: u64| (beats != SILENT).then(|| beats.wrapping_add(1));
        // Only one that does not tell is left as it is.
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .ok();
    }

    /// From here on there is a statement that takes as long as it takes, such as one that makes an
    /// index on a large table.
    pub(crate) fn takes_long(&self) {
        self.0.store(SILENT, Ordering::Relaxed);
    }

    /// Waits for work to be done; none when it has shown no sign of life for `patience`, or for
    /// not quite twice as long.
    pub(crate) async fn watch<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let before = self.0.load(Ordering::Relaxed);
            if let Ok(done) = timeout(patience, &mut work).await {
                return Some(done);
            }
            let after = self.0.load(Ordering::Relaxed);
            if after == before && after != SILENT {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn work_is_given_up_once_it_gets_no_further() {
        let pulse = Pulse::default();
        let begun = Instant::now();
        let work = async {
            for _ in 0..20 {
                sleep(PATIENCE / 2).await;
                pulse.beat();
            }
            pending::<()>().await;
        };
        assert_eq!(pulse.watch(PATIENCE, work).await, None);
        let taken = begun.elapsed();
        assert!(
            taken >= PATIENCE * 11 && taken <= PATIENCE * 12,
            "{taken:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_or_ends_in_time_is_waited_for() {
        let pulse = Pulse::default();
        let work = async { sleep(PATIENCE / 2).await };
        assert_eq!(pulse.watch(PATIENCE, work).await, Some(()));
        let work = async {
            pulse.takes_long();
            sleep(PATIENCE * 5).await;
            pulse.beat();
            sleep(PATIENCE * 5).await;
        };
        assert_eq!(pulse.watch(PATIENCE, work).await, Some(()));
    }
}
