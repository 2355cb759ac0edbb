//! The queue of the one task of a process that appends.
//!
//! It takes all appends that wait, decides them together under the append lock, and commits them
//! with one flush, so that many callers share what a commit costs; each gets its own outcome. A
//! caller that goes away can't leave anything half done, because it only waits for an answer.

mod at_once;
mod behind;
mod commit;
mod connection;
mod heads;
mod proof;
mod task;

use annals_core::{Append, AppendError, Appended, StoreError, StoreErrorKind};
use tokio::sync::{mpsc, oneshot};

pub(crate) use commit::{DOING, refusal};
pub(crate) use connection::Link;
pub(crate) use task::Writer;

/// What the writer is asked to do.
pub(crate) enum Job {
    /// Append events.
    Append(Request),
    /// Finish what was accepted, then let go of the connection.
    Close(oneshot::Sender<()>),
}

/// An append and who waits for it.
pub(crate) struct Request {
    pub(crate) append: Append,
    pub(crate) reply: oneshot::Sender<Result<Appended, AppendError>>,
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
