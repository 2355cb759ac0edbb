//! Taking in a piece of another store's log.

use super::log::Log;
use crate::{
    event::StoredEvent,
    order::Position,
    store::StoreError,
    transfer::{RecordedAppend, check_piece, refused},
};

impl Log {
    /// Decides on a piece of another log, without changing anything; answers where it ends.
    pub(super) fn check_import(
        &self,
        events: &[StoredEvent],
        appends: &[RecordedAppend],
    ) -> Result<Position, StoreError> {
        let end = check_piece(self.head(), events, appends, |stream| self.version(stream))?;
        for event in events {
            if let Some(position) = self.position_of(event.id) {
                let id = event.id;
                return Err(refused(format!(
                    "event id {id} is in the log already, at position {position}"
                )));
            }
        }
        for append in appends {
            if self.find_append(append.id).is_some() {
                let id = append.id;
                return Err(refused(format!("append id {id} is in the store already")));
            }
        }
        Ok(end)
    }

    /// Writes what was decided on.
    pub(super) fn import(&mut self, events: Vec<StoredEvent>, appends: Vec<RecordedAppend>) {
        self.push(events);
        for append in appends {
            let fingerprint = append.fingerprint;
            self.remember(append.id, append.appended(), fingerprint);
        }
    }
}
