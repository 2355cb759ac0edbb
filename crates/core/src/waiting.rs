//! Events that are applied when their checkpoint is committed, by whoever runs its own
//! statements.

use std::{collections::HashSet, fmt, ops::Range, sync::Arc};

use crate::{
    decode::{Decoded, Page},
    event::{EventSet, Recorded},
    name::StreamName,
    projection::UnknownEvents,
    projector::{FoldError, relevant},
};

/// The events that a projection takes in since its last commit.
pub struct Waiting<E> {
    pages: Vec<Taken<E>>,
}

/// What is taken in of a page: its events, and the indexes of those that count.
type Taken<E> = (Arc<[Decoded<E>]>, Vec<usize>);

impl<E> Default for Waiting<E> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<E: EventSet> Waiting<E> {
    /// Takes some of a page's events in, leaving out those of parked streams.
    ///
    /// # Errors
    /// Names the first event that the projection can't take in.
    pub fn take_in(
        &mut self,
        projection: &str,
        unknown: UnknownEvents,
        page: &Page,
        events: Range<usize>,
        parked: &HashSet<StreamName>,
    ) -> Result<(), FoldError> {
        let decoded = page.decode::<E>();
        let mut indexes = Vec::new();
        let both = page.events().iter().zip(decoded.iter()).enumerate();
        for (index, (stored, decoded)) in both.take(events.end).skip(events.start) {
            if !parked.contains(&stored.stream)
                && relevant(projection, stored, decoded, unknown)?.is_some()
            {
                indexes.push(index);
            }
        }
        self.pages.push((decoded, indexes));
        Ok(())
    }

    /// The events, in order.
    pub fn events(&self) -> impl Iterator<Item = &Recorded<E>> {
        self.pages.iter().flat_map(|(decoded, indexes)| {
            indexes
                .iter()
                .filter_map(|index| match decoded.get(*index) {
                    Some(Decoded::Event(event)) => Some(event),
                    _ => None,
                })
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.iter().map(|(_, indexes)| indexes.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.pages.clear();
    }
}

impl<E: EventSet> fmt::Debug for Waiting<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiting").field(&self.len()).finish()
    }
}
