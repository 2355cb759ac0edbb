//! Builds the crash images of a recording and has each of them checked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::disk::{Disk, Fate, Image, Syncs};
use crate::point::CrashPoint;
use crate::recording::{Ack, Op};

/// How many failures are kept with their explanation; all are counted.
const EXPLAINED_FAILURES: usize = 3;

/// How many damaged changes an explanation lists.
const EXPLAINED_CHANGES: usize = 20;

/// Which crash points of a recording to try.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How many points to spread over the recording.
    pub(crate) points: usize,
    /// Try only the point of this number, to reproduce a failure.
    pub(crate) only: Option<usize>,
    /// Ask for a thorough check of every n-th image.
    pub(crate) thorough_every: usize,
    pub(crate) syncs: Syncs,
}

/// A crash image on disk, as a checker gets it.
pub(crate) struct Crashed<'a> {
    /// Contains the files of the image and nothing else.
    pub(crate) directory: &'a Path,
    /// The acknowledgements given before the crash.
    pub(crate) acked: &'a [Ack],
    /// Whether checks that cost more should be made as well.
    pub(crate) thorough: bool,
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) point: usize,
    /// What the checker said, and what the crash had done.
    pub(crate) explanation: String,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) checked: usize,
    /// How many images failed, by the kind of failure: what the checker said
    /// up to the first colon.
    pub(crate) failed: BTreeMap<String, usize>,
    /// Images in which some undecided changes survived and others did not.
    pub(crate) mixed: usize,
    /// Images with a torn write.
    pub(crate) torn: usize,
    /// The first failures, in the order of their points.
    pub(crate) failures: Vec<Failure>,
    pub(crate) elapsed: Duration,
}

/// Checks every crash point of the plan. An error is a failure of the harness
/// itself; what the checker finds is in the report.
pub(crate) fn run<C>(ops: &[Op], plan: &Plan, checker: &C) -> Result<Report, String>
where
    C: Fn(&Crashed<'_>) -> Result<(), String> + Sync,
{
    let started = Instant::now();
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let mut report = thread::scope(|scope| {
        let start = |worker| {
            let points = (worker..plan.points).step_by(workers);
            scope.spawn(move || check_points(ops, plan, points, checker))
        };
        let handles: Vec<_> = (0..workers).map(start).collect();
        let mut report = Report::default();
        for handle in handles {
            report.merge(
                handle
                    .join()
                    .map_err(|_| String::from("a worker panicked"))??,
            );
        }
        Ok::<_, String>(report)
    })?;
    report.elapsed = started.elapsed();
    Ok(report)
}

/// One worker's share. The disk only ever moves forward, so its cost does not
/// grow with the number of points, and every worker can afford its own.
fn check_points<C>(
    ops: &[Op],
    plan: &Plan,
    points: impl Iterator<Item = usize>,
    checker: &C,
) -> Result<Report, String>
where
    C: Fn(&Crashed<'_>) -> Result<(), String>,
{
    let (ack_indices, acks) = acknowledgements(ops);
    let scratch = scratch_directory()?;
    let mut disk = Disk::new(ops, plan.syncs);
    let mut report = Report::default();
    for number in points.filter(|number| plan.only.is_none_or(|only| only == *number)) {
        let mut point = CrashPoint::new(plan.seed, number, plan.points, ops.len());
        disk.advance_to(point.operations)?;
        let image = point.image(&disk);
        // A directory of its own for each image, so that nothing an earlier
        // check left behind can take part in this recovery.
        let directory = scratch.path().join(number.to_string());
        materialize(&image, &directory)?;
        let verdict = checker(&Crashed {
            directory: &directory,
            acked: &acks[..ack_indices.partition_point(|&index| index < point.operations)],
            thorough: number.is_multiple_of(plan.thorough_every),
        });
        fs::remove_dir_all(&directory).map_err(|e| at(&directory, &e))?;
        report.add(ops, &point, &image, verdict);
    }
    Ok(report)
}

/// The indices and the contents of the acknowledgements.
fn acknowledgements(ops: &[Op]) -> (Vec<usize>, Vec<Ack>) {
    let acks = ops.iter().enumerate().filter_map(|(index, op)| match op {
        Op::Ack(ack) => Some((index, *ack)),
        _ => None,
    });
    acks.unzip()
}

/// A temporary directory in memory where there is one: the files are written
/// and thrown away thousands of times, and nothing here needs a real disk.
pub(crate) fn scratch_directory() -> Result<TempDir, String> {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("crash-")
        .tempdir_in(&parent)
        .map_err(|e| at(&parent, &e))
}

fn materialize(image: &Image, directory: &Path) -> Result<(), String> {
    fs::create_dir(directory).map_err(|e| at(directory, &e))?;
    for (name, content) in &image.files {
        let path = directory.join(name);
        fs::write(&path, content.as_slice()).map_err(|e| at(&path, &e))?;
    }
    Ok(())
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

impl Report {
    fn add(&mut self, ops: &[Op], point: &CrashPoint, image: &Image, verdict: Result<(), String>) {
        let is_kept = |(_, fate): &(usize, Fate)| *fate == Fate::Kept;
        let is_torn = |(_, fate): &(usize, Fate)| matches!(fate, Fate::Torn(_));
        let torn = image.fates.iter().any(is_torn);
        let mixed = torn || (image.fates.iter().any(is_kept) && !image.fates.iter().all(is_kept));
        self.checked += 1;
        self.torn += usize::from(torn);
        self.mixed += usize::from(mixed);
        if let Err(reason) = verdict {
            let kind = reason.split(':').next().unwrap_or_default();
            *self.failed.entry(kind.to_owned()).or_default() += 1;
            if self.failures.len() < EXPLAINED_FAILURES {
                let explanation = explain(ops, point, image, &reason);
                self.failures.push(Failure {
                    point: point.number,
                    explanation,
                });
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.checked += other.checked;
        for (kind, count) in other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
        self.mixed += other.mixed;
        self.torn += other.torn;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.point);
        self.failures.truncate(EXPLAINED_FAILURES);
    }
}

fn explain(ops: &[Op], point: &CrashPoint, image: &Image, reason: &str) -> String {
    let mut text = format!("{point}: {reason}");
    if let Some(last) = point.operations.checked_sub(1) {
        let _ = write!(text, "\n  last operation: {}", ops[last]);
    }
    for (name, content) in &image.files {
        let _ = write!(text, "\n  file {name}: {} bytes", content.len());
    }
    let damaged = || image.fates.iter().filter(|(_, fate)| *fate != Fate::Kept);
    let kept = image.fates.len() - damaged().count();
    let _ = write!(
        text,
        "\n  not durable, yet kept: {kept}, damaged: {}",
        damaged().count()
    );
    for (index, fate) in damaged().take(EXPLAINED_CHANGES) {
        let _ = write!(text, "\n  operation {index}, {}: {fate:?}", ops[*index]);
    }
    text
}
