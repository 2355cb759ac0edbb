//! The server's disk is full: nothing acknowledged is lost, nothing half-written stays, and work
//! goes on when there is space again.
//!
//! A shim between the server and its C library refuses what makes a file grow, for that works the
//! same for every user; a small file system needs rights.

use std::{
    error::Error as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use annals_core::{Append, AppendError, EventStore as _, StoreError, StoreErrorKind};
use annals_testing::{postgres::Cluster, processes::check};
use tokio::time::timeout;

use crate::{
    accounts::{RESUMED_WITHIN, SOON, caught_up, check_rows, deposit, head, open, settle, start},
    ledger::{Load, complaint},
};

const WRITERS: u64 = 8;

/// A cluster whose disk can be filled.
struct FullDisk {
    cluster: Cluster,
    control: PathBuf,
}

impl FullDisk {
    fn new() -> Self {
        let mut cluster = Cluster::create();
        // Where the server may read, whoever it runs as.
        let place = cluster.data().parent().expect("a folder").to_owned();
        let library = compile(&place);
        let control = place.join("full");
        cluster.set_variable("LD_PRELOAD", library.as_os_str());
        cluster.set_variable("FULL_DISK_CONTROL", control.as_os_str());
        cluster.restart();
        Self { cluster, control }
    }

    /// From now on nothing below this part of the data grows; all of it for `""`.
    fn fill(&self, part: &str) {
        let directory = fs::canonicalize(self.cluster.data().join(part)).expect("it is there");
        // Renamed into place, so that nobody reads half of it.
        let new = self.control.with_extension("new");
        let text = directory.into_os_string().into_encoded_bytes();
        fs::write(&new, text).expect("the control file can be written");
        fs::rename(new, &self.control).expect("the control file can be replaced");
    }

    fn free(&self) {
        fs::remove_file(&self.control).expect("the control file can be removed");
    }
}

fn compile(place: &Path) -> PathBuf {
    let (source, library) = (place.join("full_disk.c"), place.join("full_disk.so"));
    fs::write(&source, include_str!("full_disk.c")).expect("a new file can be written");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    let compiled = compiled.expect(
        "this test needs a C compiler named cc: install one (Debian and Ubuntu: apt install gcc \
         libc6-dev; Fedora: dnf install gcc)",
    );
    assert!(compiled.success(), "the shim does not compile");
    library
}

/// Many deposits at once: more than fits the space that a table has left.
fn bulk(number: u64) -> Append {
    let mut append = deposit(1, WRITERS + number, 0);
    for more in 1..2_000 {
        let other = deposit(1, WRITERS + number, more);
        append.writes[0]
            .events
            .extend(other.writes[0].events.clone());
    }
    append
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_is_a_transient_error_until_there_is_space() {
    let disk = FullDisk::new();
    let store = open(&disk.cluster.url()).await;
    let app = start(&store).await;
    let load = Load::begin(&store, 1, WRITERS);
    let before = settle(&store, bulk(0)).await;
    caught_up(&app, before.position).await;

    disk.fill("");
    for _ in 0..20 {
        let refused = timeout(SOON, store.append(bulk(1))).await;
        let refused = refused.expect("an append does not hang");
        let Err(AppendError::Store(error)) = refused else {
            panic!("there is no space for it: {refused:?}");
        };
        tells_a_full_disk(&error);
    }
    let log = check::read_log(&store).await;
    let stream = &bulk(1).writes[0].stream;
    let there = log.iter().filter(|event| event.stream == *stream);
    assert_eq!(there.count(), 0, "it was refused");

    disk.free();
    let freed = Instant::now();
    let after = settle(&store, bulk(1)).await;
    caught_up(&app, after.position).await;
    let resumed = freed.elapsed();
    println!("appended and up to date {resumed:.1?} after there was space");
    assert!(resumed < RESUMED_WITHIN, "{resumed:?}");
    let (mut acked, _) = load.end().await;
    let log = check::read_log(&store).await;
    assert_eq!(complaint(&log, 1, &acked), None);
    caught_up(&app, head(&store).await).await;
    check_rows(&app, &log).await;
    // Had something been acknowledged that was refused, the same comparison would say so.
    acked.insert((WRITERS + 2, 0), head(&store).await.get());
    assert!(complaint(&log, 1, &acked).is_some());
    app.shutdown().await;
}

fn tells_a_full_disk(error: &StoreError) {
    let kind = (error.kind(), error.is_transient());
    assert_eq!(kind, (StoreErrorKind::StorageFull, true), "{error:?}");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("free some space"), "{cause}");
}

/// Without space for its write-ahead log the server stops, and does not start again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_stopped_for_want_of_space_loses_nothing() {
    let mut disk = FullDisk::new();
    let store = open(&disk.cluster.url()).await;
    let app = start(&store).await;
    let load = Load::begin(&store, 1, WRITERS);
    let before = settle(&store, bulk(0)).await;
    caught_up(&app, before.position).await;

    disk.fill("pg_wal");
    let stops = async {
        // Several times as much as the log has space for.
        for number in 1.. {
            match store.append(bulk(number)).await {
                Ok(_) => {}
                Err(AppendError::Store(error) | AppendError::Unknown(error)) => {
                    assert!(error.is_transient(), "{error:?}");
                    return number;
                }
                Err(other) => panic!("it is not the store that fails: {other:?}"),
            }
        }
        unreachable!("there is no end of numbers")
    };
    let stopped = timeout(SOON, stops).await.expect("the log is full");
    disk.free();
    // As an operator does, when the space is there.
    disk.cluster.kill9();
    disk.cluster.start();
    let back = Instant::now();
    let after = settle(&store, bulk(stopped)).await;
    caught_up(&app, after.position).await;
    let resumed = back.elapsed();
    println!("appended and up to date {resumed:.1?} after the server was back");
    assert!(resumed < RESUMED_WITHIN, "{resumed:?}");
    let (acked, repeated) = load.end().await;
    println!("{repeated} deposits answered when they were repeated");
    let log = check::read_log(&store).await;
    assert_eq!(complaint(&log, 1, &acked), None);
    caught_up(&app, head(&store).await).await;
    check_rows(&app, &log).await;
    app.shutdown().await;
}
