//! What operators ask about the store's own tables.

use annals_core::{Position, StoreError, TableSize, TagMismatch};
use sqlx::Row as _;

use crate::{error::failed, event_row::number, sql, transaction::Session};

/// What each table of the schema takes on disk, the largest first.
pub(crate) async fn table_sizes(session: &mut Session<'_>) -> Result<Vec<TableSize>, StoreError> {
    const DOING: &str = "measure the tables";
    let rows = session
        .sql
        .query(sql::TABLE_SIZES)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    rows.iter()
        .map(|row| {
            Ok(TableSize {
                table: row.try_get(0).map_err(failed(DOING))?,
                bytes: number(row, 1, DOING)?,
            })
        })
        .collect()
}

/// The first tags on which events and the index of tags disagree.
pub(crate) async fn tag_mismatches(
    session: &mut Session<'_>,
    limit: usize,
) -> Result<Vec<TagMismatch>, StoreError> {
    const DOING: &str = "compare the index of tags with the events";
    session.pulse.takes_long();
    let rows = session
        .sql
        .query(sql::TAG_MISMATCHES)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    rows.iter()
        .map(|row| {
            Ok(TagMismatch {
                position: Position::new(number(row, 0, DOING)?),
                tag: row.try_get(1).map_err(failed(DOING))?,
                missing: row.try_get(2).map_err(failed(DOING))?,
            })
        })
        .collect()
}
