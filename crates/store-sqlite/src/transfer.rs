//! Moving a log from one store to another.

use annals_core::{
    AppendId, Position, RecordedAppend, StoreError, StoredEvent, Version,
    transfer::{check_piece, not_folded, refused},
};
use sqlx::SqliteConnection;

use crate::{
    append::heads,
    error::{failed, is_unique_violation},
    insert,
    log::clamped,
    projections::inline::{Installed, fold_inline},
    repeat, sql,
};

pub(crate) const DOING: &str = "import a piece of a log";

/// The most appends that one read answers.
const MAX_APPENDS: usize = 10_000;

/// A page of what appends with an id brought about, in the order of their ids.
pub(crate) async fn appends(
    conn: &mut SqliteConnection,
    after: Option<AppendId>,
    limit: usize,
) -> Result<Vec<RecordedAppend>, StoreError> {
    const DOING: &str = "read the appends";
    let after = after.map_or_else(Vec::new, |id| id.uuid().as_bytes().to_vec());
    let limit = i64::try_from(limit.min(MAX_APPENDS)).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql::APPENDS)
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await
        .map_err(failed(DOING))?;
    rows.iter()
        .map(|row| repeat::recorded(row, DOING))
        .collect()
}

/// What became of a piece of another log.
pub(crate) enum Piece {
    /// It is written, up to this position.
    Written(Position),
    /// This inline projection has to catch up first; the caller rolls back.
    Behind(Installed),
}

/// Writes a piece of another log in the caller's write transaction.
pub(crate) async fn write(
    conn: &mut SqliteConnection,
    installed: &[Installed],
    events: &[StoredEvent],
    appends: &[RecordedAppend],
) -> Result<Piece, StoreError> {
    let mut streams: Vec<_> = events.iter().map(|event| &event.stream).collect();
    streams.sort_unstable();
    streams.dedup();
    let (head, versions) = heads(conn, streams).await?;
    let before = Position::new(u64::try_from(head).unwrap_or_default());
    let end = check_piece(before, events, appends, |stream| {
        let version = versions.get(stream).copied().unwrap_or_default();
        Version::new(u64::try_from(version).unwrap_or_default())
    })?;
    // Positions and versions were checked under the lock, so only an id can be there already.
    insert::events(conn, clamped(before.get()), events)
        .await
        .map_err(taken_or_failed("event"))?;
    insert::appends(conn, appends)
        .await
        .map_err(taken_or_failed("append"))?;
    if events.is_empty() {
        return Ok(Piece::Written(end));
    }
    let folded = fold_inline(conn, installed, before, events).await;
    let behind = folded.map_err(not_folded)?;
    Ok(behind.map_or(Piece::Written(end), Piece::Behind))
}

fn taken_or_failed(kind: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| {
        if is_unique_violation(&error) {
            refused(format!("one of its {kind} ids is in the store already"))
        } else {
            failed(DOING)(error)
        }
    }
}
