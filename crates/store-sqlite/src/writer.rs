//! The queue of the one task of a process that writes.
//!
//! Everything that writes is a [`Job`] in a bounded queue. The task works them off in order, so
//! that writers of one process never wait for SQLite's lock against each other, and a caller
//! that goes away can't leave a transaction half done.

mod behind;
mod commit;
mod import;
mod task;
#[cfg(test)]
mod tests;

use annals_core::{
    Append, AppendError, Appended, Position, RecordedAppend, StoreError, StoreErrorKind,
    StoredEvent,
};
use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use crate::projections::inline::Installed;

pub(crate) use task::Writer;

/// What the writer is asked to do.
pub(crate) enum Job {
    /// Append events.
    Append(Request),
    /// Take in a piece of another store's log.
    Import(Import),
    /// Run a piece of work in a transaction of its own.
    Work(Box<Work>),
    /// Finish what was accepted, then let go of the file.
    Close(oneshot::Sender<()>),
}

/// An append and who waits for it.
pub(crate) struct Request {
    pub(crate) append: Append,
    pub(crate) reply: oneshot::Sender<Result<Appended, AppendError>>,
}

/// A piece of another store's log, and who waits for it.
pub(crate) struct Import {
    pub(crate) events: Vec<StoredEvent>,
    pub(crate) appends: Vec<RecordedAppend>,
    pub(crate) reply: oneshot::Sender<Result<Position, StoreError>>,
}

/// A piece of work for a transaction of its own.
pub(crate) struct Work {
    /// What it does, as a fragment that fits "failed to ...".
    pub(crate) doing: &'static str,
    /// An inline projection that counts as installed once the work has committed.
    pub(crate) install: Option<Installed>,
    /// Does it, and says whether to commit. Given an error when no transaction could begin.
    pub(crate) run: Run,
}

type Run = Box<
    dyn for<'c> FnOnce(Result<&'c mut SqliteConnection, StoreError>) -> BoxFuture<'c, Done> + Send,
>;

/// A piece of work that was done.
pub(crate) struct Done {
    /// Whether to commit it.
    pub(crate) commit: bool,
    /// Answers the caller, given how the commit went.
    pub(crate) settle: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// Wraps typed work so that it can stand in the queue; the receiver gets its outcome.
pub(crate) fn erase<T, E>(
    doing: &'static str,
    install: Option<Installed>,
    work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, E>>)
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let run: Run = Box::new(move |begun| {
        Box::pin(async move {
            let result = match begun {
                Ok(conn) => work(conn).await,
                Err(error) => Err(E::from(error)),
            };
            Done {
                commit: result.is_ok(),
                settle: Box::new(move |committed| {
                    let outcome = result.and_then(|value| {
                        committed?;
                        Ok(value)
                    });
                    // Whoever asked may have gone away; the work is done all the same.
                    reply.send(outcome).ok();
                }),
            }
        })
    });
    let work = Work {
        doing,
        install,
        run,
    };
    (Job::Work(Box::new(work)), answer)
}

/// The error of a store that no longer takes anything in.
pub(crate) fn closed(doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Closed, doing).caused_by("the store has been closed")
}

/// The queue's end that callers hold.
#[derive(Clone, Debug)]
pub(crate) struct Queue(pub(crate) mpsc::Sender<Job>);

impl Queue {
    /// Puts a job in the queue, and waits while the queue is full.
    pub(crate) async fn put(&self, doing: &str, job: Job) -> Result<(), StoreError> {
        self.0.send(job).await.map_err(|_| closed(doing))
    }
}
