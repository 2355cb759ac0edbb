//! Storage that fails: full, read-only, with failing syncs, and with damaged pages. Each is a typed
//! error, nothing acknowledged is lost, and work goes on once the storage does.
//!
//! A shim between the process and its C library makes writes fail ([`disk`]), for that works the
//! same for every user; permissions don't bind root, and a small file system needs rights.
//! The messages are printed, for people to judge.

// The shim is loaded with LD_PRELOAD and reads /proc.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod corruption;
mod disk;
mod ledger;
mod scenario;
#[path = "../crash/shim.rs"]
mod shim;

use std::hash::{BuildHasher as _, RandomState};

const ENTRY: &str = "failing_process_entry";

/// Not a test: the tests start this program again with only this entry, on a disk that fails.
/// Otherwise it returns at once.
#[test]
fn failing_process_entry() {
    if let Some((name, seed)) = disk::scenario() {
        scenario::play(&name, seed);
    }
}

#[test]
fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_space() {
    disk::run(ENTRY, "full", seed("full"));
}

#[test]
fn a_disk_that_turns_read_only_loses_nothing_and_reading_goes_on() {
    disk::run(ENTRY, "read-only", seed("read-only"));
}

#[test]
fn a_failed_sync_is_not_acknowledged() {
    disk::run(ENTRY, "sync", seed("sync"));
}

#[test]
fn opening_on_a_failing_disk_says_what_is_wrong() {
    disk::run(ENTRY, "opening", seed("opening"));
}

#[test]
fn damaged_pages_are_typed_errors_and_never_a_panic() {
    corruption::run(seed("corruption"));
}

#[tokio::test]
async fn damage_is_told_from_missing_rights_and_wrong_statements() {
    corruption::in_disguise(seed("disguise")).await;
}

/// Draws a seed, unless `STORAGE_FAULTS_SEED` names one.
fn seed(name: &str) -> u64 {
    let seed = std::env::var("STORAGE_FAULTS_SEED").ok();
    let seed = seed.map(|seed| seed.parse().expect("STORAGE_FAULTS_SEED is a number"));
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(name));
    println!("{name}: STORAGE_FAULTS_SEED={seed}");
    seed
}
