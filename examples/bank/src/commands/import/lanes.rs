//! Accounts side by side, each in the order of the file.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use annals::App;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
};

use super::{
    apply::Applier,
    meeting::{Guest, Host, LeftAlone, meeting},
    owners::Owners,
    row::{Order, Row},
    tally::Tally,
};
use crate::{commands::error::BankError, domain::AccountId};

/// How many rows are on their way at a time: enough to fill the store's group commits.
const LANES: usize = 64;
/// How many rows wait in each lane, so that the file is read no further than that ahead.
const WAITING: usize = 64;

/// Queues of rows; the rows of one account are all in the same one.
pub(super) struct Lanes {
    senders: Vec<Sender<Work>>,
    tasks: Vec<JoinHandle<(Tally, Result<(), BankError>)>>,
}

/// What a lane does next.
#[derive(Debug)]
enum Work {
    /// Carry out a row.
    Row(Row),
    /// Carry out a transfer to an account of another lane.
    Transfer(Row, Host),
    /// Let another lane carry out a transfer to an account of this one.
    Attend(Guest),
}

/// A lane has ended with an error, which [closing](Lanes::close) brings to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneEnded;

impl Lanes {
    pub(super) fn open(app: &App, transferred_within: Duration) -> Self {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..LANES).map(|_| mpsc::channel(WAITING)).unzip();
        let owners = Owners::new();
        let tasks = receivers.into_iter();
        let tasks = tasks
            .map(|work| {
                let applier = Applier::new(app.clone(), owners.clone(), transferred_within);
                tokio::spawn(run(applier, work))
            })
            .collect();
        Self { senders, tasks }
    }

    /// Queues a row; waits while its lane is full.
    pub(super) async fn send(&self, row: Row) -> Result<(), LaneEnded> {
        let lane = self.lane_of(&row.account);
        let other = match &row.order {
            Order::Transfer { to, .. } => Some(self.lane_of(to)).filter(|other| *other != lane),
            Order::Account(_) => None,
        };
        let Some(other) = other else {
            return self.queue(lane, Work::Row(row)).await;
        };
        let (host, guest) = meeting();
        self.queue(lane, Work::Transfer(row, host)).await?;
        self.queue(other, Work::Attend(guest)).await
    }

    fn lane_of(&self, account: &AccountId) -> usize {
        let mut hasher = DefaultHasher::new();
        account.hash(&mut hasher);
        let lanes = u64::try_from(self.senders.len()).unwrap_or(1).max(1);
        usize::try_from(hasher.finish() % lanes).unwrap_or(0)
    }

    async fn queue(&self, lane: usize, work: Work) -> Result<(), LaneEnded> {
        let sender = self.senders.get(lane).ok_or(LaneEnded)?;
        sender.send(work).await.map_err(|_| LaneEnded)
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

async fn run(mut applier: Applier, mut work: Receiver<Work>) -> (Tally, Result<(), BankError>) {
    let mut tally = Tally::default();
    while let Some(next) = work.recv().await {
        let done = match next {
            Work::Row(row) => apply(&mut applier, &row, &mut tally).await,
            Work::Transfer(row, mut host) => match host.guest_is_here().await {
                Ok(()) => {
                    let applied = apply(&mut applier, &row, &mut tally).await;
                    applied.map(|()| host.end())
                }
                Err(LeftAlone) => break,
            },
            Work::Attend(guest) => match guest.attend().await {
                Ok(()) => Ok(()),
                Err(LeftAlone) => break,
            },
        };
        if let Err(error) = done {
            return (tally, Err(error));
        }
    }
    (tally, Ok(()))
}

async fn apply(applier: &mut Applier, row: &Row, tally: &mut Tally) -> Result<(), BankError> {
    match applier.apply(row).await {
        Ok(outcome) => {
            tally.add(outcome);
            Ok(())
        }
        Err(source) => Err(BankError::Row {
            line: row.line,
            source: Box::new(source),
        }),
    }
}
