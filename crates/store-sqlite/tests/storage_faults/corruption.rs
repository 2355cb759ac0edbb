//! Files with damaged pages.
//!
//! SQLite keeps no checksums of pages in the database file, so damage within a payload can't be
//! noticed by reading; that is counted and printed, not refused. Everything else must be a typed
//! error or whole and dense.

use std::{
    collections::BTreeMap,
    fs, panic,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use annals_core::{
    AppendError, EventStore as _, LogRead, Position, QueryItem, StoreError, StoreErrorKind,
    StoredEvent, StreamRead, Tag, Version,
};
use tempfile::TempDir;

use crate::ledger::{self, Ledger, describe, open, read_log};
use annals_testing::seed::Seed;

const MUTATIONS: u64 = 200;
const PAGE: usize = 4096;
/// The name of the threads that the store runs on.
const WORKER: &str = "damaged-store";
/// A damaged file must not make anything run for ever.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What became of the mutated files.
#[derive(Default)]
struct Tally {
    refused: usize,
    unharmed: usize,
    unnoticed: usize,
    /// Whose log ends earlier, as if the last events had never been.
    shorter: usize,
    messages: BTreeMap<String, usize>,
}

pub(crate) fn run(seed: u64) {
    let started = Instant::now();
    let panics = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&panics);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // The test's own thread fails by itself, and other tests are none of its business.
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        if name == WORKER || name.starts_with("sqlx") {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        before(info);
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(WORKER)
        .enable_time()
        .build()
        .expect("a runtime starts");
    let tally = runtime.block_on(async {
        let directory = TempDir::new().expect("a temporary directory");
        let (bytes, log) = original(directory.path(), seed).await;
        let mut tally = Tally::default();
        for number in 0..MUTATIONS {
            let directory = TempDir::new().expect("a temporary directory");
            let mut choices = Seed::apart(seed, number + 1);
            let mut bytes = bytes.clone();
            let damage = mutate(&mut bytes, &mut choices);
            fs::write(directory.path().join("store.db"), &bytes).expect("a file is written");
            let probe = probe(directory.path(), &log, &mut choices, &mut tally);
            let ended = tokio::time::timeout(TIME_LIMIT, probe).await;
            assert!(ended.is_ok(), "mutation {number} hangs: {damage}");
            let panics = panics.load(Ordering::Relaxed);
            assert_eq!(panics, 0, "mutation {number} panics: {damage}");
        }
        tally
    });
    println!(
        "{MUTATIONS} mutations: {} refused, {} whole, {} with changed bytes that nobody can notice, \
         {} that lack the last events, in {:.1?}",
        tally.refused,
        tally.unharmed,
        tally.unnoticed,
        tally.shorter,
        started.elapsed()
    );
    for (message, count) in &tally.messages {
        println!("{count:5} x {message}");
    }
    assert!(tally.refused > 0, "no damage was noticed");
}

/// Damage that SQLite describes as something else: as a file that it may not write, as one of
/// another format, or as a statement that is wrong.
pub(crate) async fn in_disguise(seed: u64) {
    let directory = TempDir::new().expect("a temporary directory");
    let (healthy, log) = original(directory.path(), seed).await;
    let set = |at: usize, byte: u8| {
        let mut bytes = healthy.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        ("the write version", set(18, 7)),
        ("the read version", set(19, 7)),
        ("the schema's format", set(47, 7)),
        ("a column's name", misspelt(&healthy, "causation_id")),
        ("a table's name", misspelt(&healthy, "event_tags")),
    ];
    for (what, bytes) in cases {
        let directory = TempDir::new().expect("a temporary directory");
        fs::write(directory.path().join("store.db"), &bytes).expect("a file is written");
        let mut tally = Tally::default();
        let mut choices = Seed::apart(seed, 0);
        probe(directory.path(), &log, &mut choices, &mut tally).await;
        assert_eq!(tally.refused, 1, "damage to {what}: {:?}", tally.messages);
    }
}

/// The file with another first letter wherever a name stands.
fn misspelt(bytes: &[u8], name: &str) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(name.as_bytes()) {
            bytes[at] = b'_';
        }
    }
    bytes
}

/// A healthy store's file and its log.
async fn original(directory: &Path, seed: u64) -> (Vec<u8>, Vec<StoredEvent>) {
    let store = open(directory).await.expect("the store opens");
    let mut ledger = Ledger::new(store, seed);
    for _ in 0..40 {
        assert!(ledger.append_some().await.is_empty());
    }
    let log = read_log(&ledger.store).await.expect("the log can be read");
    ledger.store.close().await;
    let bytes = fs::read(directory.join("store.db")).expect("the file is there");
    (bytes, log)
}

/// Damages the file in one of several ways; says how.
fn mutate(bytes: &mut Vec<u8>, choices: &mut Seed) -> String {
    let pages = bytes.len() / PAGE;
    // The first pages hold the schema and the roots, where damage does most.
    let among = if choices.chance(1, 3) {
        pages.min(16)
    } else {
        pages
    };
    let page = choices.below(among);
    let range = page * PAGE..(page + 1) * PAGE;
    match choices.below(5) {
        0 => {
            let count = 1 + choices.below(16);
            for _ in 0..count {
                bytes[range.start + choices.below(PAGE)] = choices.take(1)[0];
            }
            format!("{count} bytes of page {page}")
        }
        1 => {
            // Where a page says what it holds and where.
            let count = 1 + choices.below(4);
            for _ in 0..count {
                bytes[range.start + choices.below(64)] = choices.take(1)[0];
            }
            format!("{count} bytes of the head of page {page}")
        }
        2 => {
            bytes[range].copy_from_slice(&choices.take(PAGE));
            format!("random bytes in page {page}")
        }
        3 => {
            let other = choices.below(pages);
            let copy = bytes[other * PAGE..(other + 1) * PAGE].to_vec();
            bytes[range].copy_from_slice(&copy);
            format!("page {other} in the place of page {page}")
        }
        _ => {
            bytes.truncate(range.start + choices.below(PAGE));
            format!("cut off in page {page}")
        }
    }
}

/// Does everything one can do with a store.
async fn probe(directory: &Path, log: &[StoredEvent], choices: &mut Seed, tally: &mut Tally) {
    let mut errors = Vec::new();
    let mut changed = false;
    match open(directory).await {
        Err(error) => errors.push(error),
        Ok(store) => {
            match read_log(&store).await {
                Ok(found) => {
                    let dense = (1..)
                        .zip(&found)
                        .all(|(at, event)| event.position.get() == at);
                    assert!(dense, "a log with holes is handed out");
                    changed |= found != log;
                    tally.shorter += usize::from(found.len() < log.len());
                }
                Err(error) => errors.push(error),
            }
            let stream = log[choices.below(log.len())].stream.clone();
            let read = StreamRead::after(stream, Version::NONE, 1_000);
            errors.extend(store.read_stream(read).await.err());
            let tag = Tag::parse("owner:1").expect("a valid tag");
            let query = QueryItem::default().tag(tag);
            let read = LogRead::after(Position::START, 1_000).matching(query);
            errors.extend(store.read_log(read).await.err());
            match store.append(ledger::append(choices)).await {
                Ok(_) => {}
                Err(AppendError::Store(error) | AppendError::Unknown(error)) => errors.push(error),
                Err(other) => {
                    errors.push(StoreError::new(StoreErrorKind::Other, "append").caused_by(other))
                }
            }
            store.close().await;
        }
    }
    for error in &errors {
        // Where the number of the newest migration is hit, the file is from the future; where the
        // list of tables is, it is another application's.
        let is_known = match error.kind() {
            StoreErrorKind::Corrupt | StoreErrorKind::NewerSchema => true,
            StoreErrorKind::Invalid => describe(error).contains("another application"),
            _ => false,
        };
        assert!(is_known, "damage is {error:?}");
        let message = format!("{:?}: {}", error.kind(), describe(error));
        let message = message.replace(&*directory.to_string_lossy(), "...");
        *tally.messages.entry(message).or_default() += 1;
    }
    match (errors.is_empty(), changed) {
        (false, _) => tally.refused += 1,
        (true, false) => tally.unharmed += 1,
        (true, true) => tally.unnoticed += 1,
    }
}
