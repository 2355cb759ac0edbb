//! The benchmark program: Annals against the raw limit of the same machine, in the same run.
//!
//! Absolute figures of a benchmark are about the machine; ratios between contestants that take
//! turns are about the code. So that is what this prints; `README.md` says what each means.

mod account;
mod commands;
mod fill;
mod hand_written;
mod load;
mod measure;
mod postgres;
mod rebuild;
mod report;
mod scan;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

use crate::{
    measure::Machine,
    report::{Report, Section},
    scan::Replay,
};

/// As the bank has it; the hand-written contestants run with it as well.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What fails here ends the program; nobody handles it.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures Annals against the raw limit of the same machine, in the same run.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Measure little and quickly: to see that it works, not how fast.
    #[arg(long, global = true)]
    quick: bool,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Where to write the databases: a folder on the disk to measure. They are removed at the end.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// How many rounds each contestant gets.
    #[arg(long, global = true)]
    rounds: Option<usize>,
    /// Leave out the contestants whose name does not have this text: for profiling one of them.
    #[arg(long, global = true)]
    only: Option<String>,
    /// Keep the log that `rebuild` replays in this file, and use it if it is there.
    #[arg(long, global = true)]
    log: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Commands of one event, against a hand-written transaction each.
    Commands,
    /// A rebuild of a read model, against bare scans of the same log.
    Rebuild,
    /// Loading a long aggregate, against reading and decoding its rows by hand.
    Load,
    /// All of them, but for those on PostgreSQL.
    All,
    /// What the store on PostgreSQL and sagas are worth; needs a server.
    Postgres(postgres::Arguments),
    /// One round of `rebuild`, in a process of its own so that its memory can be measured.
    #[command(hide = true)]
    Replay { replay: Replay, file: PathBuf },
}

/// How much to measure.
#[derive(Clone, Debug)]
struct Extent {
    quick: bool,
    rounds: usize,
    only: Option<String>,
    log: Option<PathBuf>,
}

impl Extent {
    fn includes(&self, contestant: &str) -> bool {
        let only = self.only.as_deref().unwrap_or_default();
        contestant.contains(only)
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    if let What::Replay { replay, file } = &arguments.what {
        let replayed = scan::replay(*replay, file).await?;
        println!("{}", serde_json::to_string(&replayed)?);
        return Ok(());
    }
    if let What::Postgres(postgres) = &arguments.what
        && postgres.is_node().await?
    {
        return Ok(());
    }
    let dir = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let rounds = arguments
        .rounds
        .unwrap_or(if arguments.quick { 2 } else { 7 });
    let extent = Extent {
        quick: arguments.quick,
        rounds: rounds.max(1),
        only: arguments.only.clone(),
        log: arguments.log.clone(),
    };
    let report = Report {
        machine: Machine::here(dir.path())?,
        sections: sections(&arguments.what, dir.path(), &extent).await?,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        report.print();
    }
    Ok(())
}

async fn sections(what: &What, dir: &Path, extent: &Extent) -> Outcome<Vec<Section>> {
    let all = matches!(what, What::All);
    let mut sections = Vec::new();
    if all || matches!(what, What::Commands) {
        sections.push(commands::measure(dir, extent).await?);
    }
    if all || matches!(what, What::Rebuild) {
        sections.push(rebuild::measure(dir, extent).await?);
    }
    if all || matches!(what, What::Load) {
        sections.push(load::measure(dir, extent).await?);
    }
    if let What::Postgres(postgres) = what {
        sections.extend(postgres::measure(postgres, dir, extent).await?);
    }
    Ok(sections)
}
