//! Appends of unknown outcome: what has become of them is found out by repeating them.

use std::time::Duration;

use annals_core::{Append, AppendError, Appended, LogRead, Store};

/// How often an append of unknown outcome is repeated to settle it, with growing pauses.
const ATTEMPTS: u32 = 6;

/// Appends; an unknown outcome is settled by repeating the append with the same event ids.
///
/// The answer is repeated only if somebody else has carried the append out before.
pub(super) async fn append(store: &dyn Store, append: Append) -> Result<Appended, AppendError> {
    let first = store.append(append.clone()).await;
    let Err(AppendError::Unknown(_)) = first else {
        return first;
    };
    let mut outcome = first;
    for attempt in 0..ATTEMPTS {
        let Err(AppendError::Unknown(_)) = outcome else {
            break;
        };
        tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
        outcome = store.append(append.clone()).await;
    }
    let mut appended = outcome?;
    appended.repeated = appended.repeated && !is_own(store, &append, &appended).await;
    Ok(appended)
}

/// Whether what was carried out is this very append, rather than another one of the same id.
async fn is_own(store: &dyn Store, append: &Append, appended: &Appended) -> bool {
    let mut events = append.writes.iter().flat_map(|write| &write.events);
    let Some(last) = events.next_back() else {
        return false;
    };
    let there = LogRead::after(appended.position.minus(1), 1);
    // Where that can't be read now, the append is known to be in the log all the same.
    let found = store.read_log(there).await.ok();
    found.is_some_and(|page| page.events.first().map(|event| event.id) == Some(last.id))
}
