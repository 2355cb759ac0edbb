//! Accounts side by side, each in the order of the file.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use annals::App;
use tokio::{
    sync::mpsc::{self, error::SendError},
    task::JoinHandle,
};

use super::{apply::Applier, owners::Owners, row::Row, tally::Tally};
use crate::commands::error::BankError;

/// How many rows are on their way at a time: enough to fill the store's group commits.
const LANES: usize = 64;
/// How many rows wait in each lane, so that the file is read no further than that ahead.
const WAITING: usize = 64;

/// Queues of rows; the rows of one account are all in the same one.
pub(super) struct Lanes {
    senders: Vec<mpsc::Sender<Row>>,
    tasks: Vec<JoinHandle<(Tally, Result<(), BankError>)>>,
}

impl Lanes {
    pub(super) fn open(app: &App) -> Self {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..LANES).map(|_| mpsc::channel(WAITING)).unzip();
        let owners = Owners::new();
        let tasks = receivers.into_iter();
        let tasks = tasks
            .map(|rows| {
                let applier = Applier::new(app.clone(), owners.clone());
                tokio::spawn(run(applier, rows))
            })
            .collect();
        Self { senders, tasks }
    }

    /// Queues a row; waits while its lane is full. Fails when the lane has ended with an error.
    pub(super) async fn send(&mut self, row: Row) -> Result<(), SendError<Row>> {
        let mut hasher = DefaultHasher::new();
        row.account.hash(&mut hasher);
        let lanes = u64::try_from(self.senders.len()).unwrap_or(1).max(1);
        let lane = usize::try_from(hasher.finish() % lanes).unwrap_or(0);
        match self.senders.get(lane) {
            Some(sender) => sender.send(row).await,
            None => Err(SendError(row)),
        }
    }

    /// Waits until all that is queued has been dealt with, and adds up the lanes' tallies.
    pub(super) async fn close(self) -> (Tally, Result<(), BankError>) {
        drop(self.senders);
        let mut total = Tally::default();
        let mut result = Ok(());
        for task in self.tasks {
            match task.await {
                Ok((tally, ended)) => {
                    total.merge(tally);
                    result = result.and(ended);
                }
                // Only a panic ends a task so, and it should not look like success.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        (total, result)
    }
}

async fn run(
    mut applier: Applier,
    mut rows: mpsc::Receiver<Row>,
) -> (Tally, Result<(), BankError>) {
    let mut tally = Tally::default();
    while let Some(row) = rows.recv().await {
        match applier.apply(&row).await {
            Ok(outcome) => tally.add(outcome),
            Err(source) => {
                let line = row.line;
                let source = Box::new(source);
                return (tally, Err(BankError::Row { line, source }));
            }
        }
    }
    (tally, Ok(()))
}
