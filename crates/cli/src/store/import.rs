//! `store import`: take in a log that was exported.

mod present;

use std::path::{Path, PathBuf};

use annals_core::{Position, Store, StoreError, StoreErrorKind};
use clap::Args;
use serde::Serialize;
use tokio::sync::mpsc;

use self::present::Present;
use super::log_file::{Content, Header, Piece, ReadError, Source, Totals};
use crate::{
    error::CliError,
    meter::Meter,
    output::Output,
    shown::{count, duration, per_second, things},
    signal::stop_requested,
};

/// What to import.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// The file to read; `-` for standard input
    file: PathBuf,
}

#[derive(Serialize)]
struct Imported {
    #[serde(flatten)]
    totals: Totals,
    /// How many of the events this run has brought in.
    imported_events: u64,
    imported_appends: u64,
    seconds: f64,
}

pub(super) async fn run(
    store: &dyn Store,
    args: &ImportArgs,
    output: Output,
) -> Result<(), CliError> {
    tokio::select! {
        done = import(store, &args.file, output) => done,
        () = stop_requested() => {
            let events = things(store.head().await?.get(), "event");
            let next = format!(
                "the store has {events} by now; run the same command again to go on"
            );
            Err(CliError::Interrupted { next })
        }
    }
}

async fn import(store: &dyn Store, path: &Path, output: Output) -> Result<(), CliError> {
    let source = Source::open(path).map_err(|error| unreadable(path, error.into()))?;
    // Where it can be read twice, nothing of a file that is damaged comes into the store.
    if let Some(source) = source
        .again()
        .map_err(|error| unreadable(path, error.into()))?
    {
        check(source.read(), path).await?;
    }
    let mut import = Import::begin(store, path).await?;
    let totals = import.take_in(source.read()).await?;
    let elapsed = import.meter.elapsed();
    let Import {
        events, appends, ..
    } = import;
    let imported = Imported {
        totals,
        imported_events: events,
        imported_appends: appends,
        seconds: elapsed.as_secs_f64(),
    };
    output.answer(&imported, || {
        let totals = &imported.totals;
        let before = match totals.events - events {
            0 => String::new(),
            before => format!("; {} of the file were there before", count(before)),
        };
        format!(
            "imported {} and {} in {} ({} events/s){before}\nsha256 {}",
            things(events, "event"),
            things(appends, "append id"),
            duration(elapsed),
            count(per_second(events, elapsed)),
            totals.sha256,
        )
    })
}

type Contents = mpsc::Receiver<Result<Content, ReadError>>;

/// Reads the file to its end, to see that it is whole.
async fn check(mut contents: Contents, path: &Path) -> Result<(), CliError> {
    let mut meter = Meter::new("checking the file", "events");
    let (mut done, mut head) = (0, 0);
    while let Some(content) = contents.recv().await {
        match content.map_err(|error| unreadable(path, error))? {
            Content::Header(header) => head = header.head.get(),
            Content::Piece(Piece::Events(events)) => done += events.len() as u64,
            Content::Piece(Piece::Appends(_)) => {}
            Content::End(_) => return Ok(()),
        }
        meter.at(done, head);
    }
    Err(unreadable(path, ended()))
}

/// An import on its way.
struct Import<'a> {
    store: &'a dyn Store,
    path: &'a Path,
    /// What was there before.
    present: Present<'a>,
    meter: Meter,
    /// How many were brought in.
    events: u64,
    appends: u64,
}

impl<'a> Import<'a> {
    async fn begin(store: &'a dyn Store, path: &'a Path) -> Result<Self, CliError> {
        Ok(Self {
            store,
            path,
            present: Present::of(store).await?,
            meter: Meter::new("importing", "events"),
            events: 0,
            appends: 0,
        })
    }

    async fn take_in(&mut self, mut contents: Contents) -> Result<Totals, CliError> {
        let mut head = Position::START;
        while let Some(content) = contents.recv().await {
            match content.map_err(|error| unreadable(self.path, error))? {
                Content::Header(header) => {
                    self.check_header(header)?;
                    head = header.head;
                }
                Content::Piece(piece) => self.piece(piece, head).await?,
                Content::End(totals) => {
                    self.present.check_end(self.path).await?;
                    return Ok(totals);
                }
            }
        }
        Err(unreadable(self.path, ended()))
    }

    fn check_header(&self, header: Header) -> Result<(), CliError> {
        let (has, head) = (self.present.head, header.head);
        if has <= head {
            return Ok(());
        }
        Err(other_log(
            self.path,
            format!("the store has {has} events, the file only {head}"),
        ))
    }

    async fn piece(&mut self, piece: Piece, head: Position) -> Result<(), CliError> {
        match piece {
            Piece::Events(events) => {
                let reached = events.last().map_or(head, |event| event.position);
                let new = self.present.skip_events(events, self.path).await?;
                if !new.is_empty() {
                    let count = new.len() as u64;
                    let imported = self.store.import(new, Vec::new()).await;
                    imported.map_err(|error| refused(self.path, error))?;
                    self.events += count;
                }
                self.meter.at(reached.get(), head.get());
            }
            Piece::Appends(appends) => {
                let new = self.present.skip_appends(appends, self.path).await?;
                if !new.is_empty() {
                    let count = new.len() as u64;
                    let imported = self.store.import(Vec::new(), new).await;
                    imported.map_err(|error| refused(self.path, error))?;
                    self.appends += count;
                }
                self.meter.waiting("taking in the ids of appends");
            }
        }
        Ok(())
    }
}

/// The reading thread has gone without an answer.
fn ended() -> ReadError {
    std::io::Error::other("reading it ended unexpectedly").into()
}

fn unreadable(path: &Path, source: ReadError) -> CliError {
    CliError::ImportFile {
        file: path.display().to_string(),
        source: Box::new(source),
    }
}

fn other_log(path: &Path, problem: String) -> CliError {
    CliError::OtherLog {
        file: path.display().to_string(),
        problem,
    }
}

/// The store's refusal means that somebody else appended, or that it has one of the ids.
fn refused(path: &Path, error: StoreError) -> CliError {
    match error.kind() {
        StoreErrorKind::Invalid => CliError::ImportFile {
            file: path.display().to_string(),
            source: Box::new(error),
        },
        _ => error.into(),
    }
}
