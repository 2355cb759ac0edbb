//! Eight writing processes on one database, three reading ones, and everything that is known to
//! make readers of event tables lose events: pauses, rollbacks, users' own transactions, kills,
//! and write transactions that stay open for the whole time.
//!
//! A test starts this program again, once for each process, with a role to play ([`role`]).

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod naive;
mod role;

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use annals_core::EventStore as _;
use annals_testing::{
    postgres::Cluster,
    processes::{self, Acked, Child, Seen, check, count, enter, read},
    seed::{self, Seed},
};
use role::{Deed, Part, Role, TASKS};
use sqlx::{Connection as _, PgConnection, Row as _};
use tempfile::TempDir;

const WRITERS: usize = 8;
const READERS: usize = 3;
const EVENTS: usize = 100_000;
const KILLS: usize = 10;
/// Enough that about nine of ten of them, which are not rolled back, have so many events.
const APPENDS: u64 = 430;

/// Not a test: the tests start this program again with only this entry, and then it plays the
/// role it is given. Otherwise it returns at once.
#[test]
fn child_process_entry() {
    enter(role::play);
}

#[test]
fn every_reader_sees_exactly_the_committed_log_in_order() {
    let race = Race::new();
    race.in_runtime(async |url| role::open(url).await.close().await);
    let held = race.hold_transactions_open();
    let mut readers = race.start(WRITERS..WRITERS + READERS, Role::Tail);
    let started = Instant::now();
    let role = Role::Append { appends: APPENDS };
    let mut writers = race.start(0..WRITERS, role.clone());
    race.kill_some(&mut writers, &role);
    writers.iter_mut().for_each(Child::finish);
    let written = started.elapsed();

    let log = race.in_runtime(async |url| {
        let store = role::open(url).await;
        let log = check::read_log(&store).await;
        store.close().await;
        log
    });
    for reader in &mut readers {
        reader.tell(&format!("until {}", log.len()));
        reader.finish();
    }
    drop(held);
    assert!(log.len() >= EVENTS, "{} events are too few", log.len());
    let wanted = race.deeds(|deed| deed != Deed::RolledBack);
    let acks: Vec<Acked> = race.journals(0..WRITERS, "acks");
    let numbered = role::numbered(race.seed);
    check::appends(&log, &numbered, wanted.iter().copied(), &acks);
    let there: Vec<_> = log.iter().map(Seen::from).collect();
    for process in WRITERS..WRITERS + READERS {
        let seen: Vec<Seen> = read(race.directory(), "seen", process);
        assert_eq!(check::tail(&seen, &there), Ok(()), "reader {process}");
    }
    assert_eq!(
        race.business_rows(),
        race.deeds(|deed| deed == Deed::InTransaction),
        "the users' tables have what their transactions appended"
    );
    println!(
        "{} events of {} appends, {} rolled back and {} in users' transactions, {KILLS} kills, {} \
         committed but not acknowledged; {:.0} events/s, {:.1?} in all",
        log.len(),
        wanted.len(),
        race.deeds(|deed| deed == Deed::RolledBack).len(),
        race.deeds(|deed| deed == Deed::InTransaction).len(),
        acks.iter().filter(|ack| ack.repeated).count(),
        log.len() as f64 / written.as_secs_f64(),
        race.started.elapsed()
    );
}

/// A control for the test above: positions from a sequence, and a reader that goes on from the
/// last one it saw.
#[test]
fn a_naive_reader_is_caught() {
    let race = Race::new();
    race.in_runtime(async |url| naive::create(url).await);
    let mut readers = race.start(WRITERS..WRITERS + 1, Role::NaiveTail);
    let mut writers = race.start(0..WRITERS, Role::NaiveInsert { rows: 50 });
    writers.iter_mut().for_each(Child::finish);
    let there = race.in_runtime(async |url| naive::read_all(url).await);
    assert_eq!(there.len() as u64, WRITERS as u64 * TASKS * 50);
    readers[0].tell(&format!("until {}", there.len()));
    readers[0].finish();
    let seen: Vec<Seen> = read(race.directory(), "seen", WRITERS);
    let complaint = check::tail(&seen, &there).expect_err("a naive reader misses rows");
    println!("{complaint}");
    assert!(!complaint.contains(": 0 missed"), "{complaint}");
}

/// A database, and processes that meet in it.
struct Race {
    cluster: Cluster,
    directory: TempDir,
    seed: u64,
    started: Instant,
}

impl Race {
    fn new() -> Self {
        let cluster = Cluster::with_settings(&["max_connections = 400"]);
        cluster.sql(
            "CREATE TABLE business (writer bigint, number bigint, PRIMARY KEY (writer, number))",
        );
        cluster.sql("CREATE TABLE unrelated (number int)");
        cluster.sql_in("postgres", "CREATE TABLE unrelated (number int)");
        Self {
            cluster,
            directory: TempDir::new().expect("a temporary directory"),
            seed: seed::printed(),
            started: Instant::now(),
        }
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn in_runtime<T>(&self, work: impl AsyncFnOnce(&str) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime starts");
        runtime.block_on(work(&self.cluster.url()))
    }

    /// Starts processes, which begin together once all of them are ready.
    fn start(&self, which: std::ops::Range<usize>, role: Role) -> Vec<Child> {
        let parts = which.map(|process| Part {
            directory: self.directory().to_owned(),
            url: self.cluster.url(),
            seed: self.seed,
            process,
            role: role.clone(),
        });
        processes::start_together("child_process_entry", parts)
    }

    /// Begins write transactions, here and in another database of the server, which stay open
    /// until what this gives back is dropped.
    fn hold_transactions_open(&self) -> impl Drop + use<> {
        let here = self.cluster.url();
        let elsewhere = format!("{}/postgres", here.trim_end_matches("/annals"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        for url in [here, elsewhere] {
            let (begun, is_begun) = std::sync::mpsc::channel();
            runtime.spawn(async move {
                let mut connection = PgConnection::connect(&url).await.expect("it connects");
                sqlx::raw_sql("BEGIN; INSERT INTO unrelated VALUES (1)")
                    .execute(&mut connection)
                    .await
                    .expect("it inserts");
                begun.send(()).expect("the test waits");
                std::future::pending::<()>().await;
                drop(connection);
            });
            is_begun.recv().expect("the transaction is begun");
        }
        struct Held(Option<tokio::runtime::Runtime>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0
                    .take()
                    .into_iter()
                    .for_each(tokio::runtime::Runtime::shutdown_background);
            }
        }
        Held(Some(runtime))
    }

    /// Kills writers with SIGKILL, spread over their work, and starts them again.
    fn kill_some(&self, writers: &mut [Child], role: &Role) {
        let mut seed = Seed::apart(self.seed, 0);
        let total = WRITERS * usize::try_from(TASKS * APPENDS).expect("a small number");
        let mut kills = 0;
        while kills < KILLS {
            let enough = total * (kills + 1) / (KILLS + 2);
            let deadline = Instant::now() + Duration::from_secs(120);
            while self.done() < enough {
                assert!(Instant::now() < deadline, "the writers make no progress");
                // The machine is the writers'.
                std::thread::sleep(Duration::from_millis(20));
            }
            // Somewhere within a commit rather than right after an acknowledgement.
            std::thread::sleep(Duration::from_micros(seed.below(30_000) as u64));
            let process = seed.below(WRITERS);
            if writers[process].kill() {
                kills += 1;
                writers[process] = self.start(process..process + 1, role.clone()).remove(0);
            }
        }
    }

    /// How many appends the writers are done with.
    fn done(&self) -> usize {
        let of = |process| {
            count(self.directory(), "acks", process)
                + count(self.directory(), "rolled-back", process)
        };
        (0..WRITERS).map(of).sum()
    }

    /// The numbers of all appends that are made in some way.
    fn deeds(&self, wanted: impl Fn(Deed) -> bool) -> BTreeSet<(u64, u64)> {
        (0..WRITERS as u64 * TASKS)
            .flat_map(|writer| (0..APPENDS).map(move |index| (writer, index)))
            .filter(|(writer, index)| wanted(role::deed(self.seed, *writer, *index)))
            .collect()
    }

    fn business_rows(&self) -> BTreeSet<(u64, u64)> {
        self.in_runtime(async |url| {
            let mut connection = PgConnection::connect(url).await.expect("it connects");
            let rows = sqlx::query("SELECT writer, number FROM business")
                .fetch_all(&mut connection)
                .await
                .expect("the table can be read");
            let number = |row: &sqlx::postgres::PgRow, column: usize| {
                u64::try_from(row.get::<i64, _>(column)).expect("a number")
            };
            rows.iter()
                .map(|row| (number(row, 0), number(row, 1)))
                .collect()
        })
    }

    fn journals<T: serde::de::DeserializeOwned>(
        &self,
        which: std::ops::Range<usize>,
        name: &str,
    ) -> Vec<T> {
        which
            .flat_map(|process| read(self.directory(), name, process))
            .collect()
    }
}
