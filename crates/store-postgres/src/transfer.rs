//! Moving a log, as it is, from one store to another.

use std::{collections::HashMap, sync::Arc};

use annals_core::{
    AppendId, Position, RecordedAppend, StoreError, StoredEvent, StreamName, Version,
    transfer::{check_piece, not_folded, refused},
};

use crate::{
    PostgresStore, Shared,
    append::{ROUNDS, never_caught_up},
    error::{failed, is_unique_violation},
    facts::{self, found_append},
    insert::{NewRow, insert},
    lock::lock_log,
    log,
    projections::inline::{self, Installed},
    retry::Failure,
    sql,
    transaction::Session,
};

const IMPORT: &str = "import a piece of a log";

/// What appends brought about, in the order of their ids.
pub(crate) async fn appends(
    session: &mut Session<'_>,
    after: Option<AppendId>,
    limit: usize,
) -> Result<Vec<RecordedAppend>, StoreError> {
    const DOING: &str = "read the appends";
    let limit = limit.min(annals_core::append::MAX_EVENTS);
    let rows = session
        .sql
        .query(sql::LIST_APPENDS)
        .bind(after.map(AppendId::uuid))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    rows.iter()
        .map(|row| {
            let (id, (fingerprint, appended)) = found_append(row, DOING)?;
            Ok(RecordedAppend::new(id, fingerprint, &appended))
        })
        .collect()
}

/// Takes in a piece of another log, in a transaction of its own.
pub(crate) async fn import(
    store: &PostgresStore,
    events: Vec<StoredEvent>,
    appends: Vec<RecordedAppend>,
) -> Result<Position, StoreError> {
    let piece = Arc::new((events, appends));
    let mut rounds = 0..ROUNDS;
    let head = loop {
        let shared = Arc::clone(&store.shared);
        let imported = store.transaction(IMPORT, Arc::clone(&piece), move |session, piece| {
            let shared = Arc::clone(&shared);
            Box::pin(async move { take_in(session, &shared, &piece.0, &piece.1).await })
        });
        match imported.await {
            Ok(head) => break head,
            Err(Undone::Behind(projection)) => match rounds.next() {
                Some(_) => inline::catch_up(store, &projection).await?,
                None => return Err(never_caught_up(IMPORT)),
            },
            Err(Undone::Store(error)) => return Err(error),
        }
    };
    store.shared.tail.grown_to(head);
    Ok(head)
}

/// Why a piece was not taken in.
enum Undone {
    /// This inline projection has to catch up first.
    Behind(Installed),
    /// It is refused, or the store failed.
    Store(StoreError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure for Undone {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Behind(_) => None,
            Self::Store(error) => Some(error),
        }
    }
}

async fn take_in(
    session: &mut Session<'_>,
    shared: &Shared,
    events: &[StoredEvent],
    appends: &[RecordedAppend],
) -> Result<Position, Undone> {
    lock_log(session, IMPORT).await?;
    let installed = shared.installed();
    let before = log::head(session).await?;
    let versions = versions_before(session, events).await?;
    let version = |stream: &StreamName| versions.get(stream).copied();
    let head = check_piece(before, events, appends, |stream| {
        version(stream).unwrap_or_default()
    })?;
    write(session, events, appends, shared.notify).await?;
    if installed.is_empty() || events.is_empty() {
        return Ok(head);
    }
    let folded = inline::fold_inline(session, &installed, before, events).await;
    match folded.map_err(not_folded)? {
        None => Ok(head),
        Some(behind) => Err(Undone::Behind(behind)),
    }
}

async fn versions_before(
    session: &mut Session<'_>,
    events: &[StoredEvent],
) -> Result<HashMap<StreamName, Version>, StoreError> {
    let mut streams: Vec<&StreamName> = events.iter().map(|event| &event.stream).collect();
    streams.sort_unstable();
    streams.dedup();
    facts::versions(session, &streams).await
}

async fn write(
    session: &mut Session<'_>,
    events: &[StoredEvent],
    appends: &[RecordedAppend],
    notify: bool,
) -> Result<(), StoreError> {
    let rows = events.iter().map(NewRow::from);
    let written = insert(session, rows, appends, notify).await;
    written.map_err(|error| {
        if is_unique_violation(&error) {
            refused("an event id or append id of it is in the log already")
        } else {
            failed(IMPORT)(error)
        }
    })
}
