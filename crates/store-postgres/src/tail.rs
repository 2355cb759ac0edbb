//! Waiting for the log to grow.
//!
//! Appends of this process wake those who wait. For those of others somebody who waits looks at
//! the log again and again, for all; a notification only makes that one look sooner.

use std::{sync::Arc, time::Duration};

use annals_core::{Position, StoreError};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::{Mutex, Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{log, retry::jittered, sql::Schema, transaction::Connections, writer::closed};

const DOING: &str = "wait for the log to grow";
/// How long to wait before listening again after that failed.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// What is known of the log's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    head: Position,
    /// When that was known last.
    as_of: Instant,
    closed: bool,
}

/// Wakes those who wait for the log to grow.
#[derive(Debug)]
pub(crate) struct Tail {
    end: watch::Sender<End>,
    /// Whoever holds it looks for appends of other processes, for all who wait.
    lookout: Mutex<()>,
    /// Makes the lookout look at once.
    hint: Notify,
    poll_interval: Duration,
}

impl Tail {
    pub(crate) fn new(poll_interval: Duration) -> Self {
        Self {
            end: watch::Sender::new(End {
                head: Position::START,
                as_of: Instant::now(),
                closed: false,
            }),
            lookout: Mutex::default(),
            hint: Notify::new(),
            poll_interval,
        }
    }

    /// The log reaches at least this far.
    pub(crate) fn grown_to(&self, head: Position) {
        self.end.send_if_modified(|end| {
            let grown = head > end.head;
            if head >= end.head {
                end.head = head;
                end.as_of = Instant::now();
            }
            grown
        });
    }

    /// The store is closed: nobody need wait any longer.
    pub(crate) fn close(&self) {
        self.end.send_modify(|end| end.closed = true);
    }

    /// Waits until the log reaches beyond `position`.
    pub(crate) async fn wait_beyond(
        &self,
        connections: &Arc<Connections>,
        position: Position,
    ) -> Result<Position, StoreError> {
        if let Some(head) = self.old_news(connections, position).await? {
            return Ok(head);
        }
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
            found = self.look_out(connections, position) => found,
        }
    }

    /// Where the log was known to reach beyond `position`, but not lately, looks whether it still
    /// does: after a failover or a restore it may be shorter, and nothing else would ever say so.
    async fn old_news(
        &self,
        connections: &Arc<Connections>,
        position: Position,
    ) -> Result<Option<Position>, StoreError> {
        let known = *self.end.borrow();
        if known.closed || known.head <= position || known.as_of.elapsed() <= self.poll_interval {
            return Ok(None);
        }
        let head = self.read_head(connections).await?;
        self.end.send_if_modified(|end| {
            if *end == known {
                end.head = head;
                end.as_of = Instant::now();
            }
            false
        });
        Ok((head > position).then_some(head))
    }

    async fn read_head(&self, connections: &Arc<Connections>) -> Result<Position, StoreError> {
        connections
            .read(DOING, (), |session, ()| Box::pin(log::head(session)))
            .await
    }

    /// Looks at the log again and again, one waiter at a time; what it finds wakes the others.
    async fn look_out(
        &self,
        connections: &Arc<Connections>,
        position: Position,
    ) -> Result<Position, StoreError> {
        let _turn = self.lookout.lock().await;
        loop {
            let head = self.read_head(connections).await?;
            self.grown_to(head);
            if head > position {
                return Ok(head);
            }
            // Whether a hint came or the time is up, it is time to look.
            timeout(self.poll_interval, self.hint.notified()).await.ok();
        }
    }
}

/// Listens for notifications in a task of its own, which ends with this value.
#[derive(Debug)]
pub(crate) struct Listener(JoinHandle<()>);

impl Listener {
    /// Starts to listen on a connection of its own, which it makes when the server can be reached.
    pub(crate) fn start(connect: PgConnectOptions, schema: &Schema, tail: Arc<Tail>) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(connect);
        let channel = schema.name().to_owned();
        Self(tokio::spawn(async move {
            loop {
                if let Err(error) = listen(&pool, &channel, &tail).await {
                    tracing::debug!(%error, "listening for notifications failed; polling goes on");
                }
                sleep(jittered(LISTEN_AGAIN)).await;
            }
        }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(pool: &PgPool, channel: &str, tail: &Tail) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    loop {
        // None when the connection broke: what came meanwhile was missed, so look as well.
        listener.try_recv().await?;
        tail.hint.notify_one();
    }
}
