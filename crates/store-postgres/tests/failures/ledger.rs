//! Writers under load, what they were told, and whether the log agrees.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use annals_core::StoredEvent;
use annals_postgres::PostgresStore;
use tokio::task::JoinSet;

use crate::accounts::{AccountEvent, deposit, settle};

/// The place of each deposit that was acknowledged, by account and number.
pub(crate) type Acked = HashMap<(u64, u64), u64>;

/// Writers that deposit one after the other, each on an account of its own, until they are to end.
pub(crate) struct Load {
    ended: Arc<AtomicBool>,
    writers: JoinSet<(Acked, usize)>,
}

impl Load {
    /// Begins with the accounts 0, 1, 2 ...
    pub(crate) fn begin(store: &PostgresStore, ids: u64, writers: u64) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let writers = (0..writers)
            .map(|account| write(store.clone(), ids, account, Arc::clone(&ended)))
            .collect();
        Self { ended, writers }
    }

    /// What was acknowledged, and how much of it had been committed before it was tried again.
    pub(crate) async fn end(mut self) -> (Acked, usize) {
        self.ended.store(true, Ordering::Relaxed);
        let (mut acked, mut repeated) = (Acked::new(), 0);
        while let Some(writer) = self.writers.join_next().await {
            let (more, again) = writer.expect("a writer does not panic");
            acked.extend(more);
            repeated += again;
        }
        (acked, repeated)
    }
}

async fn write(
    store: PostgresStore,
    ids: u64,
    account: u64,
    ended: Arc<AtomicBool>,
) -> (Acked, usize) {
    let (mut acked, mut repeated) = (Acked::new(), 0);
    for number in 0.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let appended = settle(&store, deposit(ids, account, number)).await;
        acked.insert((account, number), appended.position.get());
        repeated += usize::from(appended.repeated);
    }
    (acked, repeated)
}

/// What is lost, doubled or at another place than was acknowledged.
pub(crate) fn complaint(log: &[StoredEvent], ids: u64, acked: &Acked) -> Option<String> {
    let mut seen = HashSet::new();
    if let Some(double) = log.iter().find(|event| !seen.insert(event.id)) {
        return Some(format!("{} is there twice", double.position));
    }
    doubled(log).or_else(|| {
        acked.iter().find_map(|(&(account, number), &position)| {
            let wanted = deposit(ids, account, number).writes[0].events[0].id;
            let found = log
                .get(usize::try_from(position).ok()? - 1)
                .map(|event| event.id);
            (found != Some(wanted)).then(|| format!("deposit {number} to {account} is lost"))
        })
    })
}

/// A deposit that is there twice, be it under another id.
pub(crate) fn doubled(log: &[StoredEvent]) -> Option<String> {
    let mut seen = HashSet::new();
    let double = log.iter().find(|stored| {
        let event = stored.decode::<AccountEvent>().unwrap().unwrap();
        let AccountEvent::Deposited { number } = event.event;
        !seen.insert((stored.stream.clone(), number))
    })?;
    Some(format!(
        "the deposit at {} was made before",
        double.position
    ))
}
