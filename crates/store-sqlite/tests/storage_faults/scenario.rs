//! What happens to a store on a disk that fails.

use std::collections::BTreeMap;

use annals_core::{AppendError, EventStore as _, StoreErrorKind};

use crate::{
    disk::{Disk, EIO, ENOSPC, EROFS},
    ledger::{Ledger, describe, open, read_log},
};

/// How often the disk fails, each time at another byte of a commit.
const FAILURES: usize = 60;
/// What fits before it fails: from nothing to several commits.
const MOST_BYTES: usize = 80_000;

pub(crate) fn play(name: &str, seed: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime starts");
    let disk = Disk::new();
    runtime.block_on(async {
        match name {
            "full" => fail_often(&disk, seed, Fault::Writes(ENOSPC)).await,
            "read-only" => fail_often(&disk, seed, Fault::Writes(EROFS)).await,
            "sync" => fail_often(&disk, seed, Fault::Syncs(EIO)).await,
            "opening" => opening(&disk).await,
            other => panic!("there is no scenario {other:?}"),
        }
    });
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Writes(i32),
    Syncs(i32),
}

/// Lets the disk fail and heal again and again under appends.
async fn fail_often(disk: &Disk, seed: u64, fault: Fault) {
    let store = open(disk.directory()).await.expect("the store opens");
    let mut ledger = Ledger::new(store, seed);
    ledger.check().await;
    let mut messages: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..FAILURES {
        match fault {
            Fault::Writes(errno) => disk.fail_writes(errno, ledger.choices.below(MOST_BYTES)),
            Fault::Syncs(errno) => disk.fail_syncs(errno),
        }
        let errors = until_it_fails(&mut ledger).await;
        for error in &errors {
            expect_typed(error, fault);
            *messages.entry(describe(error)).or_default() += 1;
        }
        // What fails once more fails in the same way, and readers are not concerned.
        for error in ledger.retry().await {
            expect_typed(&error, fault);
        }
        ledger.check().await;
        disk.heal();
        let errors = ledger.retry().await;
        assert!(errors.is_empty(), "the disk works again: {errors:?}");
        ledger.check().await;
    }
    println!(
        "{fault:?}: {} appends acknowledged; errors:",
        ledger.acked.len()
    );
    for (message, count) in messages {
        println!("{count:5} x failed to: {message}");
    }
    ledger.store.close().await;
    ledger.store = open(disk.directory()).await.expect("the store opens again");
    ledger.check().await;
    ledger.store.close().await;
}

async fn until_it_fails(ledger: &mut Ledger) -> Vec<AppendError> {
    for _ in 0..1_000 {
        let errors = ledger.append_some().await;
        if !errors.is_empty() {
            return errors;
        }
    }
    panic!("the disk never failed");
}

fn expect_typed(error: &AppendError, fault: Fault) {
    let (AppendError::Store(cause) | AppendError::Unknown(cause)) = error else {
        panic!("not an error of the store: {error:?}");
    };
    let kinds: &[StoreErrorKind] = match fault {
        Fault::Writes(ENOSPC) => &[StoreErrorKind::StorageFull],
        Fault::Writes(EROFS) => &[StoreErrorKind::ReadOnly, StoreErrorKind::Unavailable],
        Fault::Writes(_) | Fault::Syncs(_) => &[StoreErrorKind::Unavailable],
    };
    assert!(kinds.contains(&cause.kind()), "{fault:?}: {cause:?}");
}

/// Opens a store that is there, and one that is not, on disks that can't be written.
async fn opening(disk: &Disk) {
    let store = open(disk.directory()).await.expect("the store opens");
    let mut ledger = Ledger::new(store, 1);
    assert!(ledger.append_some().await.is_empty());
    ledger.store.close().await;
    let new = disk.directory().join("new");
    std::fs::create_dir(&new).expect("a new directory");
    let cases = [
        (ENOSPC, StoreErrorKind::StorageFull),
        (EROFS, StoreErrorKind::ReadOnly),
    ];
    for (errno, kind) in cases {
        for directory in [disk.directory(), &new] {
            disk.fail_writes(errno, 0);
            let outcome = open(directory).await;
            disk.heal();
            let error = outcome.expect_err("it can't be opened for writing");
            println!("{:?}: {}", error.kind(), describe(&error));
            assert_eq!(error.kind(), kind);
        }
    }
    ledger.store = open(disk.directory()).await.expect("the disk works again");
    let log = read_log(&ledger.store).await.expect("the log can be read");
    assert!(!log.is_empty());
    ledger.check().await;
    ledger.store.close().await;
    let store = open(&new)
        .await
        .expect("what failed before is no hindrance");
    store.close().await;
}
