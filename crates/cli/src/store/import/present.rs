//! What an interrupted import has left: the file must begin with it.

use std::{collections::VecDeque, path::Path};

use annals_core::{AppendId, LogRead, Position, RecordedAppend, Store, StoreError, StoredEvent};

use super::other_log;
use crate::error::CliError;

/// How many appends are read at a time.
const PAGE: usize = 2_000;

/// The events and appends that were in the store before the import.
pub(super) struct Present<'a> {
    store: &'a dyn Store,
    pub(super) head: Position,
    last_append: Option<AppendId>,
    /// Appends that were read but not compared yet.
    appends: VecDeque<RecordedAppend>,
    /// Whether there are no more appends to read.
    appends_read: bool,
}

impl<'a> Present<'a> {
    pub(super) async fn of(store: &'a dyn Store) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            head: store.head().await?,
            last_append: None,
            appends: VecDeque::new(),
            appends_read: false,
        })
    }

    /// Takes off the events that are there already, and checks that they are the same.
    pub(super) async fn skip_events(
        &self,
        mut events: Vec<StoredEvent>,
        path: &Path,
    ) -> Result<Vec<StoredEvent>, CliError> {
        let new = events.partition_point(|event| event.position <= self.head);
        let new = events.split_off(new);
        let mut rest = events.as_slice();
        while let Some(first) = rest.first() {
            let read = LogRead::after(first.position.minus(1), rest.len());
            let page = self.store.read_log(read).await?.events;
            let same = rest
                .iter()
                .zip(&page)
                .take_while(|(one, other)| one == other);
            let same = same.count();
            if same == 0 || same < page.len() {
                let position = first.position.plus(same as u64);
                let problem = format!("the store has another event at position {position}");
                return Err(other_log(path, problem));
            }
            rest = rest.get(same..).unwrap_or_default();
        }
        Ok(new)
    }

    /// Takes off the appends that are there already, and checks that they are the same.
    pub(super) async fn skip_appends(
        &mut self,
        appends: Vec<RecordedAppend>,
        path: &Path,
    ) -> Result<Vec<RecordedAppend>, CliError> {
        let mut appends = appends.into_iter().peekable();
        while let Some(append) = appends.peek() {
            let Some(present) = self.next_append().await? else {
                break;
            };
            if present != *append {
                return Err(other_log(path, another(present.id)));
            }
            appends.next();
        }
        Ok(appends.collect())
    }

    /// Checks that the file had everything that was there.
    pub(super) async fn check_end(&mut self, path: &Path) -> Result<(), CliError> {
        match self.next_append().await? {
            Some(append) => Err(other_log(path, another(append.id))),
            None => Ok(()),
        }
    }

    /// The next append that was there; none any more once there was none, because those that are
    /// there by then have been imported.
    async fn next_append(&mut self) -> Result<Option<RecordedAppend>, StoreError> {
        if self.appends.is_empty() && !self.appends_read {
            let page = self.store.appends(self.last_append, PAGE).await?;
            self.appends_read = page.is_empty();
            self.appends = page.into();
        }
        let next = self.appends.pop_front();
        if let Some(append) = &next {
            self.last_append = Some(append.id);
        }
        Ok(next)
    }
}

fn another(id: AppendId) -> String {
    format!("the store knows append id {id}, and the file does not have it there")
}
