//! A process that follows the log.

use annals_core::{EventStore, LogRead, Position};
use tokio::sync::watch;

use super::{Journal, Seen};

/// Journals the log page by page, as a projection reads it, up to where it is told to stop; see
/// [`ready`](super::ready).
///
/// # Panics
/// When the store fails, or nobody is there any more to tell.
pub async fn follow(
    store: &impl EventStore,
    journal: &Journal,
    page_size: usize,
    mut until: watch::Receiver<u64>,
) {
    let mut cursor = Position::START;
    loop {
        let page = store.read_log(LogRead::after(cursor, page_size)).await;
        let page = page.expect("the log can be read");
        let seen: Vec<_> = page.events.iter().map(Seen::from).collect();
        journal.add(&seen);
        cursor = page.events.last().map_or(cursor, |event| event.position);
        let known = *until.borrow_and_update();
        if known > 0 && cursor.get() >= known {
            return;
        }
        if seen.is_empty() {
            tokio::select! {
                grown = store.wait_beyond(cursor) => { grown.expect("the log can be watched"); }
                told = until.changed() => told.expect("the test goes on talking"),
            }
        }
    }
}
