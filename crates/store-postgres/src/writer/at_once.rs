//! A batch that is decided on trust, then written and committed with one statement.
//!
//! Nothing waits for this process while the append lock is held: neither another process when
//! this one is slow, nor the next batch for two more round trips.

use std::time::Duration;

use annals_core::{
    Append, Position, StoreError, StreamName, Version,
    admission::{Decided, Facts, decide, streams},
};
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use tokio::time::{Instant, timeout};

use super::{
    commit::{DOING, PATIENCE, Ready, Undone},
    task::Writer,
};
use crate::{
    error::{failed, is_read_only, is_unique_violation, silent},
    insert::{AtOnce, Known, NewRow, insert_at_once, recorded},
    pulse::UNWATCHED,
    transaction::{Session, millis},
};

/// How long it is not tried again after it came to nothing under the lock, as it does for as long
/// as any inline projection is on record, which another program may have left there.
const IN_VAIN: Duration = Duration::from_secs(1);

/// Tries to append a batch with one statement; none, with nothing written, when it has to be
/// decided under the lock.
pub(super) async fn attempt(
    writer: &mut Writer,
    appends: &[&Append],
) -> Result<Option<Ready>, Undone> {
    let Some((decided, claims)) = decided_on_trust(writer, appends) else {
        return Ok(None);
    };
    let known = Known {
        position: writer.heads.known(),
        id: writer.heads.known_id(),
        streams: claims,
    };
    let mut conn = writer.link.take().await?;
    let sql = writer.link.sql.clone();
    let mut session = Session {
        conn: &mut conn,
        sql: &sql,
        pulse: &UNWATCHED,
    };
    let rows = decided.placed.iter().map(NewRow::from);
    let recorded = recorded(&decided.recorded);
    let lock_timeout = millis(writer.lock_timeout).to_string();
    let written = insert_at_once(
        &mut session,
        rows,
        &recorded,
        known,
        &lock_timeout,
        writer.notify,
    );
    let patience = writer.lock_timeout.saturating_add(PATIENCE);
    let written = timeout(patience, written).await;
    match written {
        Ok(Ok(AtOnce::Written { before })) => {
            writer.link.put(conn);
            writer.learn(&decided, before);
            Ok(Ready::of(decided, None).found(Some(before)))
        }
        Ok(Ok(AtOnce::Mistaken)) => {
            writer.link.put(conn);
            Err(Undone::Mistrust)
        }
        Ok(Ok(AtOnce::InVain)) => {
            writer.link.put(conn);
            writer.not_at_once = Some(Instant::now() + IN_VAIN);
            Ok(None)
        }
        Ok(Err(error)) if is_unique_violation(&error) => {
            writer.link.put(conn);
            Err(Undone::Mistrust)
        }
        Ok(Err(error)) if is_refused(&error) => {
            let error = failed(DOING)(error);
            if !is_read_only(&error) {
                writer.link.put(conn);
            }
            Err(Undone::Store(error))
        }
        Ok(Err(error)) => Err(lost(decided, failed(DOING)(error))),
        Err(_) => Err(lost(decided, silent(DOING))),
    }
}

/// What becomes of the batch in an empty log, and the claims it rests on: streams are where they are
/// remembered, or further if the callers say so. None when its decisions rest on more, or it is not
/// wholly let in.
fn decided_on_trust<'a>(
    writer: &Writer,
    appends: &[&'a Append],
) -> Option<(Decided<'a>, Vec<(&'a StreamName, Version)>)> {
    let in_vain = |until: Instant| Instant::now() < until;
    let has_conditions = appends.iter().any(|append| append.condition.is_some());
    if !writer.at_once
        || writer.not_at_once.is_some_and(in_vain)
        || has_conditions
        || !writer.installed().is_empty()
    {
        return None;
    }
    let claims = writer.heads.claims(appends)?;
    let remembered = |stream| Some((Clone::clone(stream), writer.heads.get(stream)?));
    let claimed = claims
        .iter()
        .map(|(stream, version)| (Clone::clone(*stream), *version));
    let versions = streams(appends)
        .into_iter()
        .filter_map(remembered)
        .chain(claimed);
    let facts = Facts {
        head: Position::START,
        versions: versions.collect(),
        ..Facts::default()
    };
    let decided = decide(&facts, appends);
    (decided.is_all_new() && !decided.placed.is_empty()).then_some((decided, claims))
}

fn lost(decided: Decided<'_>, error: StoreError) -> Undone {
    Undone::AtCommit(Box::new(Ready::of(decided, None)), error)
}

/// Whether the server rolled the statement's transaction back: whatever comes after the commit is
/// no error of this severity any more.
fn is_refused(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    let error = error.and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    error.is_some_and(|error| error.severity() == PgSeverity::Error)
}
