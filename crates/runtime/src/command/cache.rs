//! The states in memory, and the queue before each stream.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use annals_core::{Aggregate, StreamName};
use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::load::Loaded;

/// One slot per recently used stream, of a bounded number.
///
/// A slot is the queue of the commands for its stream, in order of arrival, and holds the state
/// that the last of them left behind. The state may be behind the log, as other processes append
/// too: whoever uses it must be ready for a conflict.
#[derive(Debug)]
pub(crate) struct StreamCache {
    slots: DashMap<StreamName, Arc<Slot>>,
    capacity: usize,
    uses: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    state: Arc<Mutex<CachedState>>,
    last_used: AtomicU64,
}

/// The state that is kept for a stream; whatever type of aggregate it belongs to.
#[derive(Debug, Default)]
pub(crate) struct CachedState(Option<Box<dyn Any + Send>>);

impl CachedState {
    /// Takes the state out: if its user is cancelled half-way, the slot is empty, not wrong.
    pub(crate) fn take<A: Aggregate>(&mut self) -> Option<Loaded<A>> {
        self.0.take()?.downcast().ok().map(|loaded| *loaded)
    }

    pub(crate) fn put<A: Aggregate>(&mut self, loaded: Loaded<A>) {
        self.0 = Some(Box::new(loaded));
    }
}

impl StreamCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            slots: DashMap::new(),
            capacity: capacity.max(1),
            uses: AtomicU64::new(0),
        }
    }

    /// Waits for the stream's earlier commands and takes its slot.
    pub(crate) async fn queue(&self, stream: &StreamName) -> OwnedMutexGuard<CachedState> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        let slot = match self.slots.get(stream) {
            Some(slot) => Arc::clone(&slot),
            None => Arc::clone(&self.slots.entry(stream.clone()).or_default()),
        };
        slot.last_used.store(now, Ordering::Relaxed);
        self.make_room(now);
        let state = Arc::clone(&slot.state);
        // The slot itself stays referenced while anybody waits, so that it isn't dropped.
        let guard = state.lock_owned().await;
        drop(slot);
        guard
    }

    /// Drops the idle slots that are not among the most recently used.
    ///
    /// Every use has its own number, so at most three quarters of the capacity can have a number
    /// within the last three quarters: the sweep always makes room for many.
    fn make_room(&self, now: u64) {
        if self.slots.len() <= self.capacity {
            return;
        }
        let recent = u64::try_from(self.capacity / 4 * 3).unwrap_or(u64::MAX);
        let oldest_kept = now.saturating_sub(recent);
        self.slots.retain(|_, slot| {
            let in_use = Arc::strong_count(slot) > 1 || Arc::strong_count(&slot.state) > 1;
            in_use || slot.last_used.load(Ordering::Relaxed) > oldest_kept
        });
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(number: usize) -> StreamName {
        StreamName::parse(&format!("lamp-{number}")).unwrap()
    }

    #[tokio::test]
    async fn the_cache_stays_within_its_capacity() {
        let cache = StreamCache::new(100);
        for number in 0..1_000 {
            drop(cache.queue(&stream(number)).await);
            assert!(cache.len() <= 101, "{} slots", cache.len());
        }
    }

    #[tokio::test]
    async fn a_slot_in_use_is_never_dropped() {
        let cache = StreamCache::new(4);
        let held = cache.queue(&stream(0)).await;
        for number in 1..100 {
            drop(cache.queue(&stream(number)).await);
        }
        let zero = stream(0);
        let second = cache.queue(&zero);
        tokio::pin!(second);
        assert!(
            futures_util::poll!(&mut second).is_pending(),
            "two holders of one slot"
        );
        drop(held);
        drop(second.await);
    }
}
