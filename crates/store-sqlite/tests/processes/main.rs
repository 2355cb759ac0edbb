//! Several processes on one file: 16 racing writers in 4 of them, readers that follow the log in
//! others, and writers that are killed at random moments.
//!
//! A test starts this program again, once for each process ([`child`]), with a role to play
//! ([`role`]). Each process journals what the store has told it ([`journal`]); the test then
//! compares the journals with the log ([`log`]). Whatever error a role does not expect, a busy
//! file above all, fails its process and so the test.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod appends;
mod child;
mod journal;
mod log;
mod naive;
#[path = "../crash/prng.rs"]
mod prng;
mod role;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

use child::Child;
use journal::{Acked, Conflicted, KeyTaken, Seen, Won};
use prng::Prng;
use role::{Role, TASKS};
use tempfile::TempDir;

const WRITERS: usize = 4;
const READERS: usize = 3;

/// Not a test: the tests start this program again with only this entry, and then it plays the
/// role it is given. Otherwise it returns at once.
#[test]
fn child_process_entry() {
    child::enter();
}

#[test]
fn of_appends_that_expect_one_version_exactly_one_wins() {
    let race = Race::new("versions");
    let (streams, versions) = (4, 250);
    race.run(|process| Role::Versions {
        process,
        streams,
        versions,
    });
    let won: Vec<Won> = race.journals("won");
    let conflicts: Vec<Conflicted> = race.journals("conflicts");
    let log = log::read(race.directory());
    let mut winners = BTreeMap::new();
    for won in &won {
        let earlier = winners.insert((won.stream.clone(), won.version), won.id);
        assert_eq!(earlier, None, "two winners: {won:?}");
    }
    let logged: BTreeMap<_, _> = log
        .iter()
        .map(|event| {
            (
                (event.stream.to_string(), event.version.get()),
                event.id.uuid(),
            )
        })
        .collect();
    assert_eq!(
        logged, winners,
        "the log differs from who was told to have won"
    );
    assert_eq!(log.len() as u64, streams * versions);
    for conflict in &conflicts {
        assert!(
            conflict.expected < conflict.actual && conflict.actual <= versions,
            "{conflict:?}"
        );
    }
    let processes: BTreeSet<_> = won.iter().map(|won| won.process).collect();
    println!(
        "{} versions won by {} processes, {} conflicts, in {:.1?}",
        won.len(),
        processes.len(),
        conflicts.len(),
        race.started.elapsed()
    );
    assert!(!conflicts.is_empty(), "nobody raced");
}

#[test]
fn nothing_is_lost_or_doubled_and_every_reader_sees_the_log_in_order() {
    let race = Race::new("appends");
    let mut readers = race.start(WRITERS, READERS, |process| Role::Tail { process });
    let appends = 150;
    race.run(|process| Role::Appends { process, appends });
    let log = log::read(race.directory());
    for reader in &mut readers {
        reader.tell(&format!("until {}", log.len()));
        reader.finish();
    }
    log::check_appends(&log, race.seed, WRITERS, appends, &race.journals("acks"));
    for process in WRITERS..WRITERS + READERS {
        let seen: Vec<Seen> = journal::read(race.directory(), "seen", process);
        assert_eq!(
            log::compare(&seen, &log::places(&log)),
            Ok(()),
            "reader {process}"
        );
    }
    println!(
        "{} events, {READERS} readers saw them all in order, in {:.1?}",
        log.len(),
        race.started.elapsed()
    );
}

/// A control for the test above: positions taken before the transaction that uses them, as
/// sequences give them out, and a reader that goes on from the last one it saw.
#[test]
fn a_naive_reader_is_caught() {
    let race = Race::new("naive");
    naive::create(race.directory());
    let mut readers = race.start(WRITERS, 1, |process| Role::NaiveTail { process });
    let rows = 40;
    race.run(|process| Role::NaiveRows { process, rows });
    let table = naive::read_all(race.directory());
    assert_eq!(table.len() as u64, WRITERS as u64 * TASKS * rows);
    readers[0].tell(&format!("until {}", table.len()));
    readers[0].finish();
    let seen: Vec<Seen> = journal::read(race.directory(), "seen", WRITERS);
    let complaint = log::compare(&seen, &table).expect_err("a naive reader misses rows");
    println!("{complaint}, in {:.1?}", race.started.elapsed());
    assert!(complaint.contains("missed"), "{complaint}");
}

#[test]
fn of_appends_that_exclude_each_other_exactly_one_wins() {
    let race = Race::new("keys");
    let keys = 150;
    race.run(|process| Role::Keys { process, keys });
    let outcomes: Vec<KeyTaken> = race.journals("keys");
    let log = log::read(race.directory());
    assert_eq!(log.len() as u64, keys, "one event a key");
    let winners: BTreeMap<_, _> = log
        .iter()
        .map(|event| {
            (
                event.tags[0].as_str(),
                (event.position.get(), event.id.uuid()),
            )
        })
        .collect();
    assert_eq!(winners.len() as u64, keys, "every key has its winner");
    for outcome in &outcomes {
        let (position, id) = winners[outcome.tag.as_str()];
        assert_eq!(outcome.position, position, "{outcome:?}");
        assert_eq!(outcome.won, outcome.id == id, "{outcome:?}");
    }
    let won = outcomes.iter().filter(|outcome| outcome.won).count() as u64;
    let lost = outcomes.len() as u64 - won;
    println!("{won} won, {lost} lost, in {:.1?}", race.started.elapsed());
    assert_eq!(won, keys);
    assert_eq!(lost, keys * (WRITERS as u64 * TASKS - 1));
}

#[test]
fn a_killed_writer_loses_and_doubles_nothing() {
    const KILLS: usize = 10;
    let race = Race::new("kills");
    let mut prng = Prng::new(race.seed, 0);
    let mut readers = race.start(WRITERS, 1, |process| Role::Tail { process });
    // Far more than the kills wait for, so that they find writers at work.
    let appends = 500;
    let role = |process| Role::Appends { process, appends };
    let mut writers = race.start(0, WRITERS, role);
    let mut kills = 0;
    while kills < KILLS {
        let mut at_work = Vec::new();
        for (process, writer) in writers.iter_mut().enumerate() {
            if !writer.has_ended() {
                at_work.push(process);
            }
        }
        assert!(!at_work.is_empty(), "the writers ended before all kills");
        let process = at_work[prng.below(at_work.len())];
        let acks = || journal::count(race.directory(), "acks", process);
        let enough = acks() + 1 + prng.below(20);
        let deadline = Instant::now() + Duration::from_secs(60);
        while acks() < enough && !writers[process].has_ended() {
            assert!(
                Instant::now() < deadline,
                "writer {process} makes no progress"
            );
            std::thread::yield_now();
        }
        // Somewhere within a commit rather than right after an acknowledgement.
        std::thread::sleep(Duration::from_micros(prng.below(3_000) as u64));
        if !writers[process].kill() {
            continue;
        }
        kills += 1;
        writers[process] = race.start(process, 1, role).remove(0);
    }
    for writer in &mut writers {
        writer.finish();
    }
    let log = log::read(race.directory());
    readers[0].tell(&format!("until {}", log.len()));
    readers[0].finish();
    let acks: Vec<Acked> = race.journals("acks");
    log::check_appends(&log, race.seed, WRITERS, appends, &acks);
    let seen: Vec<Seen> = journal::read(race.directory(), "seen", WRITERS);
    assert_eq!(log::compare(&seen, &log::places(&log)), Ok(()));
    println!(
        "{} events, {KILLS} kills, {} appends were committed but not acknowledged, in {:.1?}",
        log.len(),
        acks.iter().filter(|ack| ack.repeated).count(),
        race.started.elapsed()
    );
}

/// A directory with a store, and processes that meet in it.
struct Race {
    directory: TempDir,
    seed: u64,
    started: Instant,
}

impl Race {
    /// Draws a seed, unless `PROCESSES_SEED` names one.
    fn new(name: &str) -> Self {
        let seed = std::env::var("PROCESSES_SEED").ok();
        let seed = seed.map(|seed| seed.parse().expect("PROCESSES_SEED is a number"));
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(name));
        println!("{name}: PROCESSES_SEED={seed}");
        Self {
            directory: TempDir::new().expect("a temporary directory"),
            seed,
            started: Instant::now(),
        }
    }

    fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Starts processes, which begin together once all of them are ready.
    fn start(&self, first: usize, count: usize, role: impl Fn(usize) -> Role) -> Vec<Child> {
        let mut children: Vec<_> = (first..first + count)
            .map(|process| Child::start(self.directory(), self.seed, role(process)))
            .collect();
        for child in &mut children {
            child.wait_until_ready();
        }
        for child in &mut children {
            child.tell("go");
        }
        children
    }

    /// Runs the writers to their end.
    fn run(&self, role: impl Fn(usize) -> Role) {
        for child in &mut self.start(0, WRITERS, role) {
            child.finish();
        }
    }

    /// What all writers have journalled.
    fn journals<T: serde::de::DeserializeOwned>(&self, name: &str) -> Vec<T> {
        (0..WRITERS)
            .flat_map(|process| journal::read(self.directory(), name, process))
            .collect()
    }
}
