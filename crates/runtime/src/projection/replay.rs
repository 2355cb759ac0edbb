//! Reading a part of the log ahead of who folds it.

use std::{
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

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
/// A part of large events comes as several pages, of which only the first is read ahead.
pub(super) fn pages(
    store: &Arc<dyn Store>,
    after: Position,
    until: Position,
    how: ReadAhead,
) -> impl Stream<Item = Result<Arc<Page>, StoreError>> + Send + use<> {
    let size = u64::try_from(how.page_size.max(1)).unwrap_or(u64::MAX);
    let parts = std::iter::successors(Some(after.next()), move |first| Some(first.plus(size)))
        .take_while(move |first| *first <= until)
        .map(move |first| first..=first.plus(size - 1).min(until));
    let reader = Reader {
        store: Arc::clone(store),
        decoder: how.decoder,
    };
    let first_pages = parts.map({
        let reader = reader.clone();
        move |part| reader.clone().read_in_task(part)
    });
    stream::iter(first_pages)
        .buffered(how.parallel.max(1))
        .flat_map(move |first| reader.clone().whole_part(first))
}

/// Reads and decodes pages.
#[derive(Clone, Debug)]
struct Reader {
    store: Arc<dyn Store>,
    decoder: fn(&Page),
}

type Part = RangeInclusive<Position>;

/// A page from the beginning of a part, and what is left of the part.
type Cut = (Arc<Page>, Option<Part>);

/// Where the pages of a part go on.
enum Next {
    Read(Result<Cut, StoreError>),
    ToRead(Part),
}

impl Reader {
    /// All pages of a part whose first page is read.
    fn whole_part(
        self,
        first: Result<Cut, StoreError>,
    ) -> impl Stream<Item = Result<Arc<Page>, StoreError>> + Send {
        let pages = stream::unfold(Some(Next::Read(first)), move |next| {
            let reader = self.clone();
            async move {
                let read = match next? {
                    Next::Read(read) => read,
                    Next::ToRead(part) => reader.read_in_task(part).await,
                };
                Some(match read {
                    Ok((page, left)) => (Ok(page), left.map(Next::ToRead)),
                    Err(error) => (Err(error), None),
                })
            }
        });
        pages.boxed()
    }

    async fn read_in_task(self, part: Part) -> Result<Cut, StoreError> {
        let reading = tokio::spawn(self.read(part));
        reading.await.unwrap_or_else(|error| {
            Err(StoreError::new(StoreErrorKind::Other, "read the log").caused_by(error))
        })
    }

    async fn read(self, part: Part) -> Result<Cut, StoreError> {
        let before = part.start().minus(1);
        let limit = usize::try_from(part.end().get() - before.get()).unwrap_or(usize::MAX);
        let read = LogRead::after(before, limit);
        let events = self.store.read_log(read).await?.events;
        check_dense(before, &events)?;
        let Some(reached) = events.last().map(|event| event.position) else {
            return Err(StoreError::new(
                StoreErrorKind::Corrupt,
                format!(
                    "read position {} of the log: it ends before it",
                    part.start()
                ),
            ));
        };
        let page = Arc::new(Page::new(events));
        // On this thread, whose caches have the page already.
        if catch_unwind(AssertUnwindSafe(|| (self.decoder)(&page))).is_err() {
            // The code that decodes panics: it will again for who folds the page, and is reported
            // there.
            tracing::debug!(first = part.start().get(), "decoding ahead failed");
        }
        let left = (reached < *part.end()).then(|| reached.next()..=*part.end());
        Ok((page, left))
    }
}
