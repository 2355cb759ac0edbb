//! Annals on PostgreSQL: the event log, snapshots, read models and checkpoints in one schema.
//!
//! Open a [`PostgresStore`] and hand it to the engines. Any number of processes may use one
//! schema, on any number of machines.

mod append;
mod error;
mod event_row;
mod facts;
mod frame;
mod insert;
mod inspection;
mod location;
mod lock;
mod log;
mod matching;
mod migrate;
mod open;
mod options;
mod pool;
mod projections;
mod pulse;
mod retry;
mod snapshot;
mod sql;
mod store;
mod tail;
mod transaction;
mod transfer;
mod writer;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use annals_core::{Migrated, StoreError};
use futures_util::future::BoxFuture;

use open::Opened;
pub use options::PostgresOptions;
use projections::inline::Installed;
pub use projections::sql_projection::{SqlProjection, inline_sql_projection, sql_projection};
use retry::Failure;
use tail::{Listener, Tail};
use tokio::sync::mpsc;
use transaction::{Connections, Session};
use writer::{Link, Queue, Writer};

/// An event store, read models and snapshots in one schema of a PostgreSQL database.
///
/// Cheap to clone: clones are the same store.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    connections: Arc<Connections>,
    queue: Queue,
    tail: Arc<Tail>,
    migrated: Migrated,
    /// Whether appends send notifications.
    notify: bool,
    /// None where notifications don't arrive, and once the store is closed.
    listener: Mutex<Option<Listener>>,
    /// The projections that are part of every append of this process.
    installed: Arc<RwLock<Vec<Installed>>>,
}

impl Shared {
    /// The projections that are part of every append by now; read it under the append lock.
    fn installed(&self) -> Vec<Installed> {
        let installed = self.installed.read();
        installed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop_listening(&self) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.take();
    }
}

impl PostgresStore {
    /// Opens the store in a schema of a database, named by a URL
    /// (`postgres://USER:PASSWORD@HOST:PORT/DATABASE`); creates the schema and brings its tables
    /// up to date as needed.
    ///
    /// # Errors
    /// When the URL makes no sense, the server can't be reached, the schema can't be created or
    /// belongs to another application, or it was written by a newer release.
    pub async fn open(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        let Opened {
            connections,
            connect,
            begin,
            options,
            migrated,
        } = open::open(url, options).await?;
        let tail = Arc::new(Tail::new(options.poll_interval));
        let installed = Arc::default();
        let (sender, jobs) = mpsc::channel(options.queue.max(1));
        let sql = connections.sql.clone();
        let link = Link::new(connect.clone(), sql, &begin, &options);
        let writer = Writer::new(link, Arc::clone(&installed), Arc::clone(&tail), &options);
        tokio::spawn(writer.run(jobs));
        // A pooler that gives out connections by transaction passes no notifications on.
        let listens = options.notifications && !options.transaction_pooling;
        let schema = connections.sql.schema();
        let listener = listens.then(|| Listener::start(connect, schema, Arc::clone(&tail)));
        let shared = Shared {
            connections,
            queue: Queue(sender),
            tail,
            migrated,
            notify: options.notifications,
            listener: Mutex::new(listener),
            installed,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Runs `work` in a write transaction; see [`Connections::transaction`].
    pub(crate) async fn transaction<I, T, E, W>(
        &self,
        doing: &'static str,
        input: I,
        work: W,
    ) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: Failure,
        W: for<'a, 'c> Fn(&'a mut Session<'c>, &'a I) -> BoxFuture<'a, Result<T, E>>
            + Send
            + Sync
            + 'static,
    {
        let connections = &self.shared.connections;
        connections.transaction(doing, input, work).await
    }

    /// Runs `work`, which only reads; see [`Connections::read`].
    pub(crate) async fn read<I, T, E, W>(
        &self,
        doing: &'static str,
        input: I,
        work: W,
    ) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: Failure,
        W: for<'a, 'c> Fn(&'a mut Session<'c>, &'a I) -> BoxFuture<'a, Result<T, E>>
            + Send
            + Sync
            + 'static,
    {
        self.shared.connections.read(doing, input, work).await
    }

    /// Like [`transaction`](Self::transaction) under the append lock, and from its end on
    /// `projection` is folded within every append of this process; no append comes between.
    pub(crate) async fn install<E, W>(
        &self,
        doing: &'static str,
        projection: Installed,
        work: W,
    ) -> Result<(), E>
    where
        E: Failure,
        W: for<'a, 'c> Fn(&'a mut Session<'c>, &'a Installed) -> BoxFuture<'a, Result<(), E>>
            + Send
            + Sync
            + 'static,
    {
        let installed = Arc::clone(&self.shared.installed);
        let name = projection.spec().name.clone();
        let enlist = Arc::clone(&installed);
        let input = (projection, Arc::new(work));
        let done = self
            .transaction(doing, input, move |session, (projection, work)| {
                let enlist = Arc::clone(&enlist);
                Box::pin(async move {
                    lock::lock_log(session, doing).await?;
                    work(session, projection).await?;
                    // Before the commit, which lets the next append in.
                    add(&enlist, projection);
                    Ok(())
                })
            })
            .await;
        if done.is_err() {
            let mut installed = installed.write().unwrap_or_else(PoisonError::into_inner);
            installed.retain(|other| other.spec().name != name);
        }
        done
    }
}

/// Puts a projection on the list, in place of an earlier one of its name.
fn add(installed: &RwLock<Vec<Installed>>, projection: &Installed) {
    let mut installed = installed.write().unwrap_or_else(PoisonError::into_inner);
    installed.retain(|other| other.spec().name != projection.spec().name);
    installed.push(Arc::clone(projection));
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
