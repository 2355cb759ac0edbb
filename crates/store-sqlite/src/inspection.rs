//! What operators ask about the store's own tables.

use annals_core::{Position, StoreError, TagMismatch};
use sqlx::{Row as _, SqliteConnection};

use crate::{error::failed, sql};

/// The first tags on which events and the index of tags disagree.
pub(crate) async fn tag_mismatches(
    conn: &mut SqliteConnection,
    limit: usize,
) -> Result<Vec<TagMismatch>, StoreError> {
    const DOING: &str = "compare the index of tags with the events";
    let rows = sqlx::query(sql::TAG_MISMATCHES)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await
        .map_err(failed(DOING))?;
    rows.iter()
        .map(|row| {
            let position: i64 = row.try_get(0)?;
            Ok(TagMismatch {
                position: Position::new(u64::try_from(position).unwrap_or_default()),
                tag: row.try_get(1)?,
                missing: row.try_get(2)?,
            })
        })
        .collect::<Result<_, _>>()
        .map_err(failed(DOING))
}
