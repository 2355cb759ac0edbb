//! Waiting for the log to grow.

use std::time::Duration;

use annals_core::{Position, StoreError};
use sqlx::SqlitePool;
use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};

use crate::{error::failed, log, writer::closed};

const DOING: &str = "wait for the log to grow";

/// What is known of the log's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct End {
    head: Position,
    closed: bool,
}

/// Wakes those who wait for the log to grow.
#[derive(Debug)]
pub(crate) struct Tail {
    end: watch::Sender<End>,
    /// Whoever holds it looks for appends of other processes, for all who wait.
    lookout: Mutex<()>,
    poll_interval: Duration,
}

impl Tail {
    pub(crate) fn new(poll_interval: Duration) -> Self {
        Self {
            end: watch::Sender::default(),
            lookout: Mutex::default(),
            poll_interval,
        }
    }

    /// The log reaches at least this far.
    pub(crate) fn grown_to(&self, head: Position) {
        self.end.send_if_modified(|end| {
            let grown = head > end.head;
            end.head = end.head.max(head);
            grown
        });
    }

    /// The store is closed: nobody need wait any longer.
    pub(crate) fn close(&self) {
        self.end.send_modify(|end| end.closed = true);
    }

    /// Returns when the store is closed.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as `self`, so waiting can't fail.
        self.end.subscribe().wait_for(|end| end.closed).await.ok();
    }

    /// Waits until the log reaches beyond `position`.
    pub(crate) async fn wait_beyond(
        &self,
        readers: &SqlitePool,
        position: Position,
    ) -> Result<Position, StoreError> {
        let mut end = self.end.subscribe();
        let grown = async {
            let end = end.wait_for(|end| end.closed || end.head > position).await;
            end.map(|end| *end).map_err(|_| closed(DOING))
        };
        tokio::select! {
            biased;
            end = grown => match end? {
                End { closed: true, .. } => Err(closed(DOING)),
                End { head, .. } => Ok(head),
            },
            found = self.look_out(readers, position) => found,
        }
    }

    /// Looks at the file again and again, one waiter at a time; what it finds wakes the others.
    async fn look_out(
        &self,
        readers: &SqlitePool,
        position: Position,
    ) -> Result<Position, StoreError> {
        let _turn = self.lookout.lock().await;
        loop {
            let mut conn = readers.acquire().await.map_err(failed(DOING))?;
            let head = log::head(&mut conn).await?;
            drop(conn);
            self.grown_to(head);
            if head > position {
                return Ok(head);
            }
            sleep(self.poll_interval).await;
        }
    }
}
