//! One piece of another store's log: written and committed by itself.

use annals_core::{Position, RecordedAppend, StoreError, StoredEvent};

use super::{Import, Writer, behind};
use crate::transfer::{self, DOING, Piece};

impl Writer {
    #[tracing::instrument(name = "annals.import", skip_all, fields(events = import.events.len()))]
    pub(super) async fn import(&mut self, import: Import) {
        let Import {
            events,
            appends,
            reply,
        } = import;
        let imported = self.write_and_commit(&events, &appends).await;
        // Whoever asked may have gone away; the import is done all the same.
        reply.send(imported).ok();
    }

    async fn write_and_commit(
        &mut self,
        events: &[StoredEvent],
        appends: &[RecordedAppend],
    ) -> Result<Position, StoreError> {
        let installed = self.installed.clone();
        let head = loop {
            let conn = self.begin(DOING).await?;
            match transfer::write(conn, &installed, events, appends).await {
                Ok(Piece::Written(head)) => break head,
                Ok(Piece::Behind(projection)) => {
                    self.roll_back().await;
                    behind::catch_up(self, &projection).await?;
                }
                Err(error) => {
                    self.roll_back().await;
                    return Err(error);
                }
            }
        };
        self.commit(DOING).await?;
        self.tail.grown_to(head);
        Ok(head)
    }
}
