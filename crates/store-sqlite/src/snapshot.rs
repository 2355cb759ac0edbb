//! Snapshots: one cached state a stream.

use annals_core::{Snapshot, SnapshotStore, StoreError, StreamName, Version};
use async_trait::async_trait;
use sqlx::Row;

use crate::{
    SqliteStore,
    error::failed,
    log::{clamped, number},
    sql,
};

#[async_trait]
impl SnapshotStore for SqliteStore {
    async fn snapshot(
        &self,
        stream: &StreamName,
        schema: &str,
    ) -> Result<Option<Snapshot>, StoreError> {
        const DOING: &str = "read a snapshot";
        let row = sqlx::query(sql::SNAPSHOT)
            .bind(stream.as_str())
            .bind(schema)
            .fetch_optional(self.readers())
            .await
            .map_err(failed(DOING))?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(Snapshot {
            version: Version::new(number(&row, 0, DOING)?),
            schema: schema.to_owned(),
            state: row.try_get(1).map_err(failed(DOING))?,
        }))
    }

    async fn save_snapshot(
        &self,
        stream: &StreamName,
        snapshot: Snapshot,
    ) -> Result<(), StoreError> {
        const DOING: &str = "save a snapshot";
        let stream = stream.clone();
        self.transaction(DOING, move |conn| {
            Box::pin(async move {
                sqlx::query(sql::SAVE_SNAPSHOT)
                    .bind(stream.as_str())
                    .bind(snapshot.schema)
                    .bind(clamped(snapshot.version.get()))
                    .bind(snapshot.state)
                    .execute(conn)
                    .await
                    .map_err(failed(DOING))?;
                Ok(())
            })
        })
        .await
    }
}
