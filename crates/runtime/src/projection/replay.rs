//! Reading a part of the log ahead of who folds it.

use std::{ops::RangeInclusive, sync::Arc};

use annals_core::{LogRead, Page, Position, Store, StoreError, StoreErrorKind};
use futures_util::{Stream, StreamExt, stream};

use super::shared_log::check_dense;

/// How to read ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadAhead {
    /// How many events a page has.
    pub(super) page_size: usize,
    /// How many pages are read and decoded at the same time.
    pub(super) parallel: usize,
    /// Decodes a page.
    pub(super) decoder: fn(&Page),
}

/// The pages after one position up to another, in order, already decoded.
///
/// Positions are dense, so the parts can be read side by side without asking where they begin.
pub(super) fn pages(
    store: &Arc<dyn Store>,
    after: Position,
    until: Position,
    how: ReadAhead,
) -> impl Stream<Item = Result<Arc<Page>, StoreError>> + Send + use<> {
    let store = Arc::clone(store);
    let size = u64::try_from(how.page_size.max(1)).unwrap_or(u64::MAX);
    let parts = std::iter::successors(Some(after.next()), move |first| Some(first.plus(size)))
        .take_while(move |first| *first <= until)
        .map(move |first| first..=first.plus(size - 1).min(until));
    let pages = parts.map(move |part| {
        let store = Arc::clone(&store);
        async move {
            let reading = tokio::spawn(read_part(store, part, how.decoder));
            reading.await.unwrap_or_else(|error| {
                let error = StoreError::new(StoreErrorKind::Other, "read the log").caused_by(error);
                Err(error)
            })
        }
    });
    stream::iter(pages).buffered(how.parallel.max(1))
}

async fn read_part(
    store: Arc<dyn Store>,
    part: RangeInclusive<Position>,
    decoder: fn(&Page),
) -> Result<Arc<Page>, StoreError> {
    let before = part.start().minus(1);
    let mut reached = before;
    let mut events = Vec::new();
    while reached < *part.end() {
        let limit = usize::try_from(part.end().get() - reached.get()).unwrap_or(usize::MAX);
        let read = store.read_log(LogRead::after(reached, limit)).await?.events;
        let Some(last) = read.last() else {
            return Err(StoreError::new(
                StoreErrorKind::Corrupt,
                format!(
                    "read position {} of the log: it ends before it",
                    reached.next()
                ),
            ));
        };
        reached = last.position;
        events.extend(read);
    }
    check_dense(before, &events)?;
    let page = Arc::new(Page::new(events));
    let decoding = Arc::clone(&page);
    if tokio::task::spawn_blocking(move || decoder(&decoding))
        .await
        .is_err()
    {
        // The code that decodes panics: it will again for who folds the page, and is reported there.
        tracing::debug!(first = part.start().get(), "decoding ahead failed");
    }
    Ok(page)
}
