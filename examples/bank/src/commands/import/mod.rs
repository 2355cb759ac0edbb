//! `bank import`: the commands of a transaction file.
//!
//! | file | subject |
//! |---|---|
//! | `lines` | a file's lines, one at a time |
//! | `fields` | a line's fields, and the column where each begins |
//! | `row` | a line as a command |
//! | `chain` | the command ids that make a repeated import harmless |
//! | `apply` | carrying a row out, and remembering what was rejected |
//! | `reason` | why the bank rejects a row |
//! | `tally` | what came of it all |
//! | `owners` | openings of one user's accounts, one at a time |
//! | `lanes` | accounts side by side, each in the order of the file |
//! | `meeting` | two lanes at one transfer |

mod apply;
mod chain;
mod fields;
mod lanes;
mod lines;
mod meeting;
mod owners;
mod reason;
mod row;
mod tally;

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    time::Duration,
};

use annals::{
    App,
    cli::{Meter, Output, stop_requested},
};
use clap::Args;
use tokio::sync::watch;

pub use apply::RowError;
pub use row::Malformed;

use super::{deadline::TransferDeadline, error::BankError, wiring};
use crate::domain::UserBalance;
use lanes::Lanes;
use row::Rows;
use tally::Tally;

/// How long the read model may take to catch up with what was imported.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(60);
/// After how many rows progress is shown.
const SHOWN_EVERY: u64 = 64;

const FORMAT: &str = "\
The file has the header `time,type,account,owner,counterparty,amount` and a row per command, in
the order of time:

  time          RFC 3339, such as 2026-03-01T09:30:00Z; kept with the event as `booked_at`
  type          open, deposit, withdraw, transfer or close
  account       the account
  owner         open: who will own it
  counterparty  transfer: where the money goes
  amount        deposit, withdraw, transfer: whole minor units (cents), 1 to 10^15

Columns that a type does not use are empty. A malformed row stops the import before it is run;
fix it and import the file again: a row is recognised by its place and by all that stands before
it, so what was applied is not applied twice, and new rows may follow at the end. Commands that
the bank rejects are counted by reason, and so are transfers that came to nothing.";

/// Which file to import.
#[derive(Args, Clone, Debug)]
#[command(after_help = FORMAT)]
pub(super) struct ImportArgs {
    /// The transaction file
    file: PathBuf,
    #[command(flatten)]
    deadline: TransferDeadline,
}

pub(super) async fn run(args: ImportArgs, url: &str, json: bool) -> Result<(), BankError> {
    let rows = open(&args.file)?;
    let app = wiring::bank(url).await?.start().await?;
    let imported = import(&app, rows, &args, Output::new(json)).await;
    app.shutdown().await;
    imported
}

fn open(path: &Path) -> Result<Rows<BufReader<File>>, BankError> {
    let read = |source| BankError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    let bytes = file.metadata().map_err(read)?.len();
    Rows::new(path, BufReader::new(file), bytes)
}

async fn import(
    app: &App,
    mut rows: Rows<BufReader<File>>,
    args: &ImportArgs,
    output: Output,
) -> Result<(), BankError> {
    let mut meter = Meter::new("importing", "rows");
    let (tally, ended) = run_rows(app, &mut rows, args.deadline, &mut meter).await;
    // What was imported should be seen, also when a later row was malformed.
    let ended = match ended {
        Err(error @ BankError::ImportInterrupted { .. }) => Err(error),
        ended => {
            meter.waiting("waiting for the read model");
            let caught_up = caught_up(app).await;
            ended.and(caught_up)
        }
    };
    let took = meter.elapsed();
    drop(meter);
    let summary = tally.summary(rows.count(), took);
    output.answer(&summary, || summary.text(&args.file))?;
    ended
}

async fn run_rows(
    app: &App,
    rows: &mut Rows<BufReader<File>>,
    deadline: TransferDeadline,
    meter: &mut Meter,
) -> (Tally, Result<(), BankError>) {
    let stop = stop_flag();
    let lanes = Lanes::open(app, deadline.within());
    let read = loop {
        if *stop.borrow() {
            let line = rows.line();
            break Err(BankError::ImportInterrupted { line });
        }
        match rows.next() {
            Ok(Some(row)) => {
                // A lane ends early only on an error, which closing the lanes brings to light.
                if lanes.send(row).await.is_err() {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if rows.count().is_multiple_of(SHOWN_EVERY) {
            meter.at(rows.count(), rows.estimate());
        }
    };
    let (tally, applied) = lanes.close().await;
    (tally, applied.and(read))
}

/// Turns true when the operator wants the import to stop.
fn stop_flag() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        stop_requested().await;
        stop.send_replace(true);
    });
    stopped
}

async fn caught_up(app: &App) -> Result<(), BankError> {
    let head = app.store().head().await?;
    app.caught_up_within::<UserBalance>(head, CAUGHT_UP_WITHIN)
        .await?;
    Ok(())
}
