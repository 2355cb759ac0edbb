//! Several processes on one file: 16 racing writers in 4 of them, readers that follow the log in
//! others, and writers that are killed at random moments.
//!
//! A test starts this program again, once for each process, with a role to play ([`role`]). Each
//! process journals what the store has told it; the test then compares the journals with the log.
//! Whatever error a role does not expect, a busy file above all, fails its process and so the test.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod naive;
mod outcome;
mod role;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use annals_core::{EventStore as _, StoredEvent};
use annals_testing::{
    processes::{Acked, Child, Seen, check, count, enter, read, start_together},
    seed::{self, Seed},
};
use outcome::{Conflicted, KeyTaken, Won};
use role::{Part, Role, TASKS};
use tempfile::TempDir;

const WRITERS: usize = 4;
const READERS: usize = 3;

/// Not a test: the tests start this program again with only this entry, and then it plays the
/// role it is given. Otherwise it returns at once.
#[test]
fn child_process_entry() {
    enter(role::play);
}

#[test]
fn of_appends_that_expect_one_version_exactly_one_wins() {
    let race = Race::new();
    let (streams, versions) = (4, 250);
    race.run(Role::Versions { streams, versions });
    let won: Vec<Won> = race.journals("won");
    let conflicts: Vec<Conflicted> = race.journals("conflicts");
    let log = race.log();
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
    let race = Race::new();
    let mut readers = race.start(WRITERS..WRITERS + READERS, Role::Tail);
    let appends = 150;
    race.run(Role::Appends { appends });
    let log = race.log();
    for reader in &mut readers {
        reader.tell(&format!("until {}", log.len()));
        reader.finish();
    }
    race.check_appends(&log, appends, &race.journals("acks"));
    for process in WRITERS..WRITERS + READERS {
        let seen: Vec<Seen> = read(race.directory(), "seen", process);
        assert_eq!(
            check::tail(&seen, &places(&log)),
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
    let race = Race::new();
    naive::create(race.directory());
    let mut readers = race.start(WRITERS..WRITERS + 1, Role::NaiveTail);
    let rows = 40;
    race.run(Role::NaiveRows { rows });
    let table = naive::read_all(race.directory());
    assert_eq!(table.len() as u64, WRITERS as u64 * TASKS * rows);
    readers[0].tell(&format!("until {}", table.len()));
    readers[0].finish();
    let seen: Vec<Seen> = read(race.directory(), "seen", WRITERS);
    let complaint = check::tail(&seen, &table).expect_err("a naive reader misses rows");
    println!("{complaint}, in {:.1?}", race.started.elapsed());
    assert!(!complaint.contains(": 0 missed"), "{complaint}");
}

#[test]
fn of_appends_that_exclude_each_other_exactly_one_wins() {
    let race = Race::new();
    let keys = 150;
    race.run(Role::Keys { keys });
    let outcomes: Vec<KeyTaken> = race.journals("keys");
    let log = race.log();
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
    let race = Race::new();
    let mut seed = Seed::apart(race.seed, 0);
    let mut readers = race.start(WRITERS..WRITERS + 1, Role::Tail);
    // Far more than the kills wait for, so that they find writers at work.
    let appends = 500;
    let role = Role::Appends { appends };
    let mut writers = race.start(0..WRITERS, role.clone());
    let mut kills = 0;
    while kills < KILLS {
        let mut at_work = Vec::new();
        for (process, writer) in writers.iter_mut().enumerate() {
            if !writer.has_ended() {
                at_work.push(process);
            }
        }
        assert!(!at_work.is_empty(), "the writers ended before all kills");
        let process = at_work[seed.below(at_work.len())];
        let acks = || count(race.directory(), "acks", process);
        let enough = acks() + 1 + seed.below(20);
        let deadline = Instant::now() + Duration::from_secs(60);
        while acks() < enough && !writers[process].has_ended() {
            assert!(
                Instant::now() < deadline,
                "writer {process} makes no progress"
            );
            std::thread::yield_now();
        }
        // Somewhere within a commit rather than right after an acknowledgement.
        std::thread::sleep(Duration::from_micros(seed.below(3_000) as u64));
        if !writers[process].kill() {
            continue;
        }
        kills += 1;
        writers[process] = race.start(process..process + 1, role.clone()).remove(0);
    }
    for writer in &mut writers {
        writer.finish();
    }
    let log = race.log();
    readers[0].tell(&format!("until {}", log.len()));
    readers[0].finish();
    let acks: Vec<Acked> = race.journals("acks");
    race.check_appends(&log, appends, &acks);
    let seen: Vec<Seen> = read(race.directory(), "seen", WRITERS);
    assert_eq!(check::tail(&seen, &places(&log)), Ok(()));
    println!(
        "{} events, {KILLS} kills, {} appends were committed but not acknowledged, in {:.1?}",
        log.len(),
        acks.iter().filter(|ack| ack.repeated).count(),
        race.started.elapsed()
    );
}

fn places(log: &[StoredEvent]) -> Vec<Seen> {
    log.iter().map(Seen::from).collect()
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime starts")
        .block_on(work)
}

/// A directory with a store, and processes that meet in it.
struct Race {
    directory: TempDir,
    seed: u64,
    started: Instant,
}

impl Race {
    fn new() -> Self {
        Self {
            directory: TempDir::new().expect("a temporary directory"),
            seed: seed::printed(),
            started: Instant::now(),
        }
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts processes, which begin together once all of them are ready.
    fn start(&self, which: Range<usize>, role: Role) -> Vec<Child> {
        let parts = which.map(|process| Part {
            directory: self.directory().to_owned(),
            seed: self.seed,
            process,
            role: role.clone(),
        });
        start_together("child_process_entry", parts)
    }

    /// Runs the writers to their end.
    fn run(&self, role: Role) {
        self.start(0..WRITERS, role)
            .iter_mut()
            .for_each(Child::finish);
    }

    /// The whole log, checked to be dense.
    fn log(&self) -> Vec<StoredEvent> {
        in_runtime(async {
            let store = role::open(self.directory()).await;
            let log = check::read_log(&store).await;
            store.close().await;
            log
        })
    }

    /// Checks that the log consists of all writers' appends.
    fn check_appends(&self, log: &[StoredEvent], appends: u64, acks: &[Acked]) {
        let wanted = (0..WRITERS as u64 * TASKS)
            .flat_map(|writer| (0..appends).map(move |index| (writer, index)));
        check::appends(log, &role::numbered(self.seed), wanted, acks);
    }

    /// What all writers have journalled.
    fn journals<T: serde::de::DeserializeOwned>(&self, name: &str) -> Vec<T> {
        (0..WRITERS)
            .flat_map(|process| read(self.directory(), name, process))
            .collect()
    }
}
