//! Reading the whole log, page by page, under a meter.

use std::time::Duration;

use annals_core::{LogRead, Position, Store, StoreError, StoredEvent};

use crate::meter::Meter;

const PAGE: usize = 2_000;

/// Reads the log from the beginning to where it ends now.
pub(super) struct WholeLog<'a> {
    store: &'a dyn Store,
    meter: Meter,
    at: Position,
    head: Position,
}

impl<'a> WholeLog<'a> {
    pub(super) async fn open(store: &'a dyn Store, doing: &str) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            meter: Meter::new(doing, "events"),
            at: Position::START,
            head: store.head().await?,
        })
    }

    /// Up to where it is read.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// Where the log ends as far as it is read.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// How long reading has taken so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.meter.elapsed()
    }

    /// The next events, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<StoredEvent>>, StoreError> {
        let left = self.head.get().saturating_sub(self.at.get());
        let limit = usize::try_from(left).unwrap_or(PAGE).min(PAGE);
        if limit == 0 {
            return Ok(None);
        }
        let page = self.store.read_log(LogRead::after(self.at, limit)).await?;
        let Some(last) = page.events.last() else {
            return Ok(None);
        };
        self.at = last.position;
        self.meter.at(self.at.get(), self.head.get());
        Ok(Some(page.events))
    }
}
