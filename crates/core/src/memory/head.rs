//! How far the log goes, for those who wait for more.

use std::{
    pin::pin,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::order::Position;

/// The last position of the log.
///
/// Who waits is woken in the order of waiting, so that a simulated world is the same in every run;
/// a watch channel wakes in an order of its own.
#[derive(Debug)]
pub(super) struct Head {
    at: Mutex<Option<Position>>,
    moved: Notify,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            at: Mutex::new(Some(Position::START)),
            moved: Notify::new(),
        }
    }
}

impl Head {
    /// Where it is; `None` once the store is closed.
    pub(super) fn get(&self) -> Option<Position> {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves it, and tells those who wait.
    pub(super) fn set(&self, to: Option<Position>) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = to;
        self.moved.notify_waiters();
    }

    /// Waits until it is beyond a position, or the store is closed.
    pub(super) async fn beyond(&self, position: Position) -> Option<Position> {
        let mut moved = pin!(self.moved.notified());
        loop {
            // Before the look, so that no move is missed between the two.
            moved.as_mut().enable();
            let head = self.get();
            if head.is_none_or(|head| head > position) {
                return head;
            }
            moved.as_mut().await;
            moved.set(self.moved.notified());
        }
    }
}
