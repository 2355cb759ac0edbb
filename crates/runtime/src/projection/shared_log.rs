//! The newest part of the log, read and decoded once for all projections of a node.

use std::{collections::VecDeque, sync::Arc};

use annals_core::{
    Checkpoint, EventId, LogRead, Page, Position, Store, StoreError, StoreErrorKind, StoredEvent,
};
use tokio::sync::Mutex;

/// How many pages are kept for those who follow a little behind.
const KEPT_PAGES: usize = 64;
/// How many bytes of payload are kept for them.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Reads the log in pages that its readers share.
#[derive(Debug)]
pub(crate) struct SharedLog {
    store: Arc<dyn Store>,
    page_size: usize,
    recent: Mutex<Recent>,
}

/// What follows a position: the events of `page` from index `start` on.
#[derive(Clone, Debug)]
pub(crate) struct Following {
    pub(crate) page: Arc<Page>,
    pub(crate) start: usize,
}

#[derive(Debug, Default)]
struct Recent {
    pages: VecDeque<Kept>,
    events: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    page: Arc<Page>,
    /// The event before it.
    after: Option<EventId>,
    bytes: usize,
}

impl SharedLog {
    pub(super) fn new(store: Arc<dyn Store>, page_size: usize) -> Self {
        Self {
            store,
            page_size: page_size.max(1),
            recent: Mutex::default(),
        }
    }

    /// The events after one, or `None` at the end of the log.
    ///
    /// Requests queue behind each other, so that a page is read once however many want it. A page
    /// that was read before is only for those who have seen the event that it followed: when the
    /// log was restored meanwhile, others may stand in its place.
    pub(crate) async fn after(&self, last: Checkpoint) -> Result<Option<Following>, StoreError> {
        let mut recent = self.recent.lock().await;
        if let Some(following) = recent.after(last) {
            return Ok(Some(following));
        }
        let read = LogRead::after(last.position, self.page_size);
        let events = self.store.read_log(read).await?.events;
        check_dense(last.position, &events)?;
        if events.is_empty() {
            return Ok(None);
        }
        let page = Arc::new(Page::new(events));
        recent.keep(Arc::clone(&page), last.event_id, self.page_size);
        Ok(Some(Following { page, start: 0 }))
    }

    /// Forgets the pages that were read before, which may be of another log than what is read from
    /// now on: when a backup is restored, other events may follow the same one.
    pub(super) async fn forget(&self) {
        *self.recent.lock().await = Recent::default();
    }

    /// Whether a page has as many events as one read gives, so that more may follow.
    pub(super) fn is_full(&self, page: &Page) -> bool {
        page.events().len() >= self.page_size
    }
}

impl Recent {
    fn after(&self, last: Checkpoint) -> Option<Following> {
        let wanted = last.position.next();
        self.pages
            .iter()
            .rev()
            .find_map(|Kept { page, after, .. }| {
                let start = wanted.get().checked_sub(page.first()?.get())?;
                let start = usize::try_from(start).ok()?;
                page.events().get(start)?;
                let before = match start.checked_sub(1) {
                    Some(before) => page.events().get(before).map(|event| event.id),
                    None => *after,
                };
                (before == last.event_id).then(|| Following {
                    page: Arc::clone(page),
                    start,
                })
            })
    }

    fn keep(&mut self, page: Arc<Page>, after: Option<EventId>, page_size: usize) {
        let bytes = page.events().iter().map(|event| event.payload.len()).sum();
        self.events += page.events().len();
        self.bytes += bytes;
        self.pages.push_back(Kept { page, after, bytes });
        while self.pages.len() > 1
            && (self.pages.len() > KEPT_PAGES
                || self.bytes > KEPT_BYTES
                || self.events > 4 * page_size)
        {
            if let Some(Kept { page, bytes, .. }) = self.pages.pop_front() {
                self.events -= page.events().len();
                self.bytes -= bytes;
            }
        }
    }
}

/// Checks that nothing is missing from a page that was read after a position.
///
/// # Errors
/// [`StoreErrorKind::Corrupt`] when it has a hole.
pub(super) fn check_dense(after: Position, events: &[StoredEvent]) -> Result<(), StoreError> {
    let mut expected = after.next();
    for event in events {
        if event.position != expected {
            let found = event.position;
            return Err(StoreError::new(
                StoreErrorKind::Corrupt,
                format!(
                    "read position {expected} of the log: position {found} stands in its place"
                ),
            ));
        }
        expected = expected.next();
    }
    Ok(())
}
