//! Snapshots: one cached state a stream.

use annals_core::{Snapshot, SnapshotStore, StoreError, StreamName, Version};
use async_trait::async_trait;

use crate::{
    PostgresStore,
    error::failed,
    event_row::{clamped, column, number},
    sql,
};

#[async_trait]
impl SnapshotStore for PostgresStore {
    async fn snapshot(
        &self,
        stream: &StreamName,
        schema: &str,
    ) -> Result<Option<Snapshot>, StoreError> {
        const DOING: &str = "read a snapshot";
        let input = (stream.clone(), schema.to_owned());
        self.read(DOING, input, |session, (stream, schema)| {
            Box::pin(async move {
                let row = session
                    .sql
                    .query(sql::SNAPSHOT)
                    .bind(stream.as_str().to_owned())
                    .bind(schema.clone())
                    .fetch_optional(&mut *session.conn)
                    .await
                    .map_err(failed(DOING))?;
                let Some(row) = row else {
                    return Ok(None);
                };
                Ok(Some(Snapshot {
                    version: Version::new(number(&row, 0, DOING)?),
                    schema: schema.clone(),
                    state: column(&row, 1, DOING)?,
                }))
            })
        })
        .await
    }

    async fn save_snapshot(
        &self,
        stream: &StreamName,
        snapshot: Snapshot,
    ) -> Result<(), StoreError> {
        const DOING: &str = "save a snapshot";
        let input = (stream.clone(), snapshot);
        self.transaction(DOING, input, |session, (stream, snapshot)| {
            Box::pin(async move {
                session
                    .sql
                    .query(sql::SAVE_SNAPSHOT)
                    .bind(stream.as_str().to_owned())
                    .bind(snapshot.schema.clone())
                    .bind(clamped(snapshot.version.get()))
                    .bind(snapshot.state.clone())
                    .execute(&mut *session.conn)
                    .await
                    .map_err(failed(DOING))?;
                Ok(())
            })
        })
        .await
    }
}
