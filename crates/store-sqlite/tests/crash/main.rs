//! Crash consistency: whatever the moment at which the machine stops, and
//! whatever the disk makes of writes that were not synced, a store that is
//! opened again has every acknowledged event and no damage.
//!
//! How: a workload runs once in a process of its own, under a recorder that
//! logs its writes and syncs ([`recorder`]). From that log, disk images are
//! built as crashes would leave them ([`disk`], [`point`]); each is opened
//! and compared with what was appended ([`runner`], [`history`]).
//! [`experiment`] ties that together and says how to reproduce a failure.

// The recorder is loaded with LD_PRELOAD and reads /proc.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod disk;
mod experiment;
mod history;
mod point;
mod recorder;
mod recording;
mod runner;
mod shim;
mod store;
mod tally;
mod workload;

use disk::Syncs;
use experiment::Experiment;
use history::LOST;
use runner::Report;
use store::Durability;

/// Not a test: the experiments start this process again with only this entry,
/// and then it runs the workload. Otherwise it returns at once.
#[test]
fn workload_process_entry() {
    experiment::run_workload().expect("the workload runs");
}

#[test]
fn acknowledged_events_survive_every_crash() {
    let report = run("full", Durability::Full, Syncs::Honoured, 10_000);
    assert!(report.failed.is_empty(), "see the explanations above");
}

/// A control: without a sync per commit the checks must find lost events, but
/// nothing worse, for that is what `SQLite` promises of this setting.
#[test]
fn missing_syncs_of_the_store_are_noticed() {
    let mut report = run("normal", Durability::Normal, Syncs::Honoured, 2_000);
    let lost = report.failed.remove(LOST).unwrap_or(0);
    assert!(lost > report.checked / 4, "only {lost} losses noticed");
    assert!(report.failed.is_empty(), "see the explanations above");
}

/// A control: the same store on a disk that ignores syncs is even damaged,
/// because the database file may be written before the WAL it is written from.
#[test]
fn a_disk_that_ignores_syncs_is_noticed() {
    let mut report = run("ignored-syncs", Durability::Full, Syncs::Ignored, 500);
    let lost = report.failed.remove(LOST).unwrap_or(0);
    let damaged: usize = report.failed.values().sum();
    assert!(lost > report.checked / 4, "only {lost} losses noticed");
    assert!(
        damaged > report.checked / 4,
        "only {damaged} damaged stores noticed"
    );
}

fn run(name: &str, durability: Durability, syncs: Syncs, points: usize) -> Report {
    let experiment = Experiment {
        durability,
        syncs,
        points,
    };
    experiment.run(name).expect("the experiment runs")
}
