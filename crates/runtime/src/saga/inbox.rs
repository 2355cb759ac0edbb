//! What comes in for a saga while a worker is at it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use annals_core::Version;
use tokio::sync::Notify;

use super::worker::Order;

/// Reaches the worker that is at a saga, so that nothing has to wait for its slowest command.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    incoming: Mutex<Incoming>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Incoming {
    orders: VecDeque<Order>,
    seen: Version,
    /// How many events the worker has taken in since it was last asked.
    taken_in: usize,
    closed: bool,
}

impl Inbox {
    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the worker an event, or gives it back when the worker has left.
    pub(super) fn order(&self, order: Order) -> Option<Order> {
        let mut incoming = self.incoming();
        if incoming.closed {
            return Some(order);
        }
        incoming.orders.push_back(order);
        drop(incoming);
        self.changed.notify_one();
        None
    }

    /// Tells the worker that the saga's stream was seen to reach this version.
    pub(super) fn notice(&self, version: Version) {
        let mut incoming = self.incoming();
        incoming.seen = incoming.seen.max(version);
        drop(incoming);
        self.changed.notify_one();
    }

    /// Returns when something has come in since the last time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The events that came in, and up to where the saga's stream was seen on the log.
    pub(super) fn take(&self) -> (VecDeque<Order>, Version) {
        let mut incoming = self.incoming();
        (std::mem::take(&mut incoming.orders), incoming.seen)
    }

    /// The saga's stream has one more of the events that the worker was given, the first of them.
    pub(super) fn took_in(&self) {
        self.incoming().taken_in += 1;
    }

    /// How many events the saga's stream has in addition to those that this has told before.
    pub(super) fn newly_taken_in(&self) -> usize {
        std::mem::take(&mut self.incoming().taken_in)
    }

    /// The worker leaves; what it has not taken by now is given back.
    pub(super) fn close(&self) -> VecDeque<Order> {
        let mut incoming = self.incoming();
        incoming.closed = true;
        std::mem::take(&mut incoming.orders)
    }
}
