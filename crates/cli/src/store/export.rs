//! `store export`: write the log to a file.

use std::{
    io::{self, ErrorKind, Write as _},
    path::PathBuf,
};

use annals_core::{AppendId, Position, Store};
use clap::Args;
use serde::Serialize;

use super::{
    log::WholeLog,
    log_file::{Destination, Header, Line, Tally, Totals, encode},
};
use crate::{
    error::{CliError, print_line},
    output::Output,
    shown::{count, duration, per_second, things},
    signal::stop_requested,
};

/// How many appends are read at a time.
const PAGE: usize = 2_000;

/// Where to export to.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// The file to write; `-` for standard output
    file: PathBuf,
    /// Overwrite the file if there is one
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Exported<'a> {
    #[serde(flatten)]
    totals: &'a Totals,
    seconds: f64,
}

pub(super) async fn run(
    store: &dyn Store,
    args: &ExportArgs,
    output: Output,
) -> Result<(), CliError> {
    tokio::select! {
        done = export(store, args, output) => done,
        () = stop_requested() => {
            let next = "no file was written; run it again to export the log".to_owned();
            Err(CliError::Interrupted { next })
        }
    }
}

async fn export(store: &dyn Store, args: &ExportArgs, output: Output) -> Result<(), CliError> {
    let failed = |error| failed(args, error);
    let mut file = Destination::open(&args.file, args.force).map_err(failed)?;
    let mut log = WholeLog::open(store, "exporting").await?;
    let head = log.head();
    let mut line = Vec::new();
    encode(&Line::Log(Header::new(head)), &mut line).map_err(failed)?;
    file.write_all(&line).map_err(failed)?;
    let mut tally = Tally::default();
    while let Some(events) = log.next().await? {
        for event in &events {
            let line = tally.event(event).map_err(failed)?;
            file.write_all(line).map_err(failed)?;
        }
    }
    // Whoever appended one of these events had its id recorded with it, so all that belong to the
    // events are there by now.
    let mut appends = Appends::up_to(head);
    while let Some(page) = appends.next(store).await? {
        for append in &page {
            let line = tally.append(append).map_err(failed)?;
            file.write_all(line).map_err(failed)?;
        }
    }
    let totals = tally.totals();
    encode(&Line::End(totals.clone()), &mut line).map_err(failed)?;
    file.write_all(&line).map_err(failed)?;
    let to_stdout = file.is_stdout();
    file.finish().map_err(failed)?;
    let elapsed = log.elapsed();
    drop(log);
    let exported = Exported {
        totals: &totals,
        seconds: elapsed.as_secs_f64(),
    };
    let text = format!(
        "exported {} and {} to {} in {} ({} events/s)\nsha256 {}",
        things(totals.events, "event"),
        things(totals.appends, "append id"),
        args.file.display(),
        duration(elapsed),
        count(per_second(totals.events, elapsed)),
        totals.sha256,
    );
    if to_stdout {
        // Standard output is the file.
        print_line(&text);
        return Ok(());
    }
    output.answer(&exported, || text)
}

/// The appends that lie at or below a position, in the order of their ids.
pub(super) struct Appends {
    head: Position,
    last: Option<AppendId>,
}

impl Appends {
    pub(super) fn up_to(head: Position) -> Self {
        Self { head, last: None }
    }

    /// The next of them, or `None` at the end.
    pub(super) async fn next(
        &mut self,
        store: &dyn Store,
    ) -> Result<Option<Vec<annals_core::RecordedAppend>>, annals_core::StoreError> {
        let mut page = store.appends(self.last, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        self.last = Some(last.id);
        page.retain(|append| append.position <= self.head);
        Ok(Some(page))
    }
}

fn failed(args: &ExportArgs, error: io::Error) -> CliError {
    let file = args.file.display().to_string();
    match error.kind() {
        ErrorKind::BrokenPipe => CliError::OutputClosed,
        ErrorKind::NotFound => CliError::Export {
            source: io::Error::new(
                error.kind(),
                "the directory does not exist; create it first",
            ),
            file,
        },
        ErrorKind::AlreadyExists => CliError::FileExists { file },
        _ => CliError::Export {
            file,
            source: error,
        },
    }
}
