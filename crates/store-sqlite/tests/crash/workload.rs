//! What the recorded process does: appends in groups, folds a read model between them, and
//! writes down what the store has acknowledged.

use std::path::Path;

use annals_core::EventStore as _;
use futures_util::future::{join_all, try_join};

use crate::{
    history::History,
    recording::{Ack, AckLog},
    store::{self, Durability},
    tally,
};
use annals_testing::seed::Seed;

/// How many appends may wait at once, and so go into one commit.
const GROUP: usize = 6;

/// Up to this share of the appends, the write-ahead log is also emptied from outside, as another
/// process with settings of its own may do: so the small recording sees it wrap many times. The
/// rest is left to the store's own settings.
const EMPTIED_SHARE: (usize, usize) = (2, 3);
const EMPTIED_EVERY: usize = 5;

/// Runs it all in an empty directory.
pub(crate) async fn run(
    directory: &Path,
    seed: u64,
    appends: usize,
    durability: Durability,
) -> Result<(), String> {
    let history = History::new(seed, appends);
    let acks = AckLog::create(directory)?;
    let store = store::create(directory, durability).await?;
    let mut choices = Seed::apart(seed, u64::MAX - 1);
    let mut done = 0;
    for group in 1_usize.. {
        let end = appends.min(done + 1 + choices.below(GROUP));
        let appending = join_all((done..end).map(|index| {
            let (append, store, acks) = (history.appends[index].clone(), &store, &acks);
            async move {
                let appended = store.append(append).await;
                let appended = appended.map_err(|e| store::describe(&e))?;
                let position = appended.position.get();
                acks.acknowledge(Ack::Append { index, position })
            }
        }));
        let folding = async {
            if choices.chance(1, 2)
                && let Some(position) = tally::fold_page(&store).await?
            {
                acks.acknowledge(Ack::Checkpoint { position })?;
            }
            Ok::<_, String>(())
        };
        let appending = async { appending.await.into_iter().collect::<Result<(), _>>() };
        try_join(appending, folding).await?;
        done = end;
        if done == appends {
            break;
        }
        let (numerator, denominator) = EMPTIED_SHARE;
        if done * denominator < appends * numerator && group.is_multiple_of(EMPTIED_EVERY) {
            store::empty_wal(directory).await?;
        }
    }
    store.close().await;
    Ok(())
}
