//! One experiment: record the workload once, crash it at many points.
//!
//! Every run draws a new seed unless `CRASH_SEED` names one. A failure leaves
//! its recording behind and prints the variables which reproduce it.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::disk::{Disk, Fate, Syncs};
use crate::history::{Found, History};
use crate::recorder::{self, Recorded};
use crate::recording::{self, Op};
use crate::runner::{self, Crashed, Plan, Report};
use crate::store::{self, Durability, Seen};
use crate::workload;

/// The test in which the workload process runs; see [`run_workload`].
const ENTRY: &str = "workload_process_entry";
const DIRECTORY: &str = "CRASH_WORKLOAD_DIRECTORY";
const WORKLOAD_SEED: &str = "CRASH_WORKLOAD_SEED";
const DURABILITY: &str = "CRASH_WORKLOAD_DURABILITY";

/// How many appends the workload makes: enough for the store's own checkpoint of the write-ahead
/// log after 1,000 pages, few enough to keep the images small.
const APPENDS: usize = 260;

const THOROUGH_EVERY: usize = 100;

pub(crate) struct Experiment {
    pub(crate) durability: Durability,
    pub(crate) syncs: Syncs,
    /// How many crash points; the variable `CRASH_POINTS` overrides it.
    pub(crate) points: usize,
}

impl Experiment {
    /// Records and crashes. Prints what it did, including the seed.
    pub(crate) fn run(&self, name: &str) -> Result<Report, String> {
        let plan = Plan {
            seed: number("CRASH_SEED")?.unwrap_or_else(|| RandomState::new().hash_one(name)),
            points: number("CRASH_POINTS")?.unwrap_or(self.points),
            only: number("CRASH_POINT")?,
            thorough_every: THOROUGH_EVERY,
            syncs: self.syncs,
        };
        println!("{name}: CRASH_SEED={}", plan.seed);
        let scratch = runner::scratch_directory()?;
        let file = match env::var_os("CRASH_RECORDING") {
            Some(file) => PathBuf::from(file),
            None => self.record(&scratch, plan.seed)?,
        };
        let ops = recording::load(&file)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .map_err(|e| format!("cannot start a runtime: {e}"))?;
        let history = History::new(plan.seed, APPENDS);
        let seen = Seen::default();
        let report = runner::run(&ops, &plan, &|crashed: &Crashed<'_>| {
            runtime.block_on(async {
                let examine = |found: &Found| history.examine(found);
                let (found, verdict) = store::recover(crashed.directory, examine, &seen).await?;
                verdict?.check(crashed.acked)?;
                if crashed.thorough {
                    store::use_store(crashed.directory, &history, &found).await?;
                }
                Ok(())
            })
        })?;
        println!(
            "{name}: {} events, {}",
            history.event_count(),
            summary(&ops)
        );
        println!(
            "{name}: {} images checked in {:.1?}: {} with partial damage, {} with torn writes; \
             failed: {:?}",
            report.checked, report.elapsed, report.mixed, report.torn, report.failed
        );
        if !report.failed.is_empty() {
            print_failures(name, &report, &plan, &file)?;
        }
        Ok(report)
    }

    fn record(&self, scratch: &TempDir, seed: u64) -> Result<PathBuf, String> {
        let durability = match self.durability {
            Durability::Full => "full",
            Durability::Normal => "normal",
        };
        let variables = [
            (WORKLOAD_SEED, seed.to_string()),
            (DURABILITY, durability.to_owned()),
        ];
        let recorded = recorder::record(scratch.path(), ENTRY, DIRECTORY, &variables)?;
        expect_complete(&recorded)?;
        Ok(recorded.file)
    }
}

/// The workload process: does nothing unless [`Experiment::run`] started it.
pub(crate) fn run_workload() -> Result<(), String> {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else {
        return Ok(());
    };
    let seed = number(WORKLOAD_SEED)?.ok_or("the workload needs a seed")?;
    let durability = match env::var(DURABILITY).as_deref() {
        Ok("full") => Durability::Full,
        Ok("normal") => Durability::Normal,
        other => return Err(format!("unknown durability {other:?}")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| format!("cannot start a runtime: {e}"))?;
    runtime.block_on(workload::run(&directory, seed, APPENDS, durability))
}

/// Compares the files which the recording describes with those which the
/// workload really left. Equality shows that the recorder missed no write.
fn expect_complete(recorded: &Recorded) -> Result<(), String> {
    let ops = recording::load(&recorded.file)?;
    if ops.is_empty() {
        return Err(String::from(
            "nothing was recorded: is the libc linked statically?",
        ));
    }
    let mut disk = Disk::new(&ops, Syncs::Honoured);
    disk.advance_to(ops.len())?;
    for (name, content) in disk.crash(|_| Fate::Kept).files {
        let path = recorded.directory.join(&name);
        let real = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        if real != *content {
            return Err(format!(
                "the recording does not reproduce {name}: a call was missed"
            ));
        }
    }
    Ok(())
}

fn summary(ops: &[Op]) -> String {
    let count = |of: fn(&Op) -> bool| ops.iter().filter(|op| of(op)).count();
    format!(
        "{} operations: {} writes, {} syncs, {} acknowledgements",
        ops.len(),
        count(|op| matches!(op, Op::Write { .. })),
        count(|op| matches!(op, Op::Sync { .. } | Op::SyncDirectory)),
        count(|op| matches!(op, Op::Ack(_)))
    )
}

fn print_failures(name: &str, report: &Report, plan: &Plan, file: &Path) -> Result<(), String> {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.recording"));
    if kept != file {
        fs::copy(file, &kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    }
    for failure in &report.failures {
        println!("{}", failure.explanation);
        println!(
            "  reproduce: CRASH_SEED={} CRASH_POINTS={} CRASH_POINT={} CRASH_RECORDING={}",
            plan.seed,
            plan.points,
            failure.point,
            kept.display()
        );
    }
    Ok(())
}

/// An environment variable that is a number, or is absent.
fn number<N: std::str::FromStr>(name: &str) -> Result<Option<N>, String> {
    let Some(text) = env::var_os(name) else {
        return Ok(None);
    };
    let parsed = text.to_str().and_then(|text| text.parse().ok());
    parsed
        .map(Some)
        .ok_or_else(|| format!("{name} must be a number, not {}", text.display()))
}
