//! Whether a batch is in the log, after its commit's answer was lost.

use annals_core::{Position, StoreError, admission::Decided};
use sqlx::Row as _;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    commit::{DOING, PATIENCE},
    task::Writer,
};
use crate::{
    error::{failed, silent},
    event_row::clamped,
    retry::Attempts,
    sql,
};

/// All that a batch has written. A part of it proves nothing: whoever got no answer may have
/// repeated an append on another node, which committed it alone.
pub(super) struct Proof {
    pub(super) events: Vec<Uuid>,
    pub(super) versions: Vec<i64>,
    pub(super) appends: Vec<Uuid>,
}

impl Proof {
    pub(super) fn of(decided: &Decided<'_>) -> Self {
        let placed = || decided.placed.iter();
        let appends = decided.recorded.iter();
        Self {
            events: placed().map(|row| row.event.id.uuid()).collect(),
            versions: placed().map(|row| clamped(row.version.get())).collect(),
            appends: appends.map(|(id, ..)| id.uuid()).collect(),
        }
    }
}

/// What the log has of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of it, after this position; none for a batch without events.
    Whole(Option<Position>),
    /// Not all of it.
    Nothing,
}

/// Looks whether a commit came through whose answer was lost.
///
/// Looks under the append lock, as the lost transaction may not have ended yet.
pub(super) async fn look_for(writer: &mut Writer, proof: &Proof) -> Result<Found, StoreError> {
    let patience = writer.lock_timeout.saturating_add(PATIENCE);
    let mut attempts = Attempts::default();
    loop {
        let looked = timeout(patience, look_once(writer, proof)).await;
        match looked.unwrap_or_else(|_| Err(silent(DOING))) {
            Err(error) if attempts.go_on_after(&error).await => {}
            looked => return looked,
        }
    }
}

async fn look_once(writer: &mut Writer, proof: &Proof) -> Result<Found, StoreError> {
    let mut conn = writer.link.take().await?;
    let sql = writer.link.sql.clone();
    let opened = writer.link.open(&mut conn, false, Position::START).await;
    let (mut open, _) = opened.map_err(failed(DOING))?;
    let row = sql
        .query(sql::IS_COMMITTED)
        .bind(proof.events.clone())
        .bind(proof.versions.clone())
        .bind(proof.appends.clone());
    let row = row.fetch_one(open.conn()).await.map_err(failed(DOING))?;
    let before: Option<i64> = row.try_get(0).map_err(failed(DOING))?;
    let recorded: bool = row.try_get(1).map_err(failed(DOING))?;
    open.roll_back().await.map_err(failed(DOING))?;
    writer.link.put(conn);
    let before = before.and_then(|before| u64::try_from(before).ok());
    Ok(
        if recorded && (proof.events.is_empty() || before.is_some()) {
            Found::Whole(before.map(Position::new))
        } else {
            Found::Nothing
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use annals_core::{
        Append, CausationId, CorrelationId, EventId, EventStore as _, EventType, Expected,
        Metadata, NewEvent, StreamName,
    };
    use annals_testing::postgres::TestSchema;

    use super::*;
    use crate::{PostgresOptions, PostgresStore, open, tail::Tail, writer::Link};

    fn append(id: Uuid) -> Append {
        let event = NewEvent {
            id: EventId::new(id),
            event_type: EventType::new("account.opened").unwrap(),
            schema_version: 1,
            payload: Vec::new(),
            tags: Vec::new(),
            metadata: Metadata::caused_by(CausationId::new(id), CorrelationId::new(id)),
        };
        let stream = StreamName::parse("account-1").unwrap();
        let now = chrono::DateTime::UNIX_EPOCH;
        Append::to(stream, Expected::Any, vec![event], now)
    }

    #[tokio::test]
    async fn a_batch_of_which_another_node_repeated_a_part_is_not_committed() {
        let schema = TestSchema::create().await;
        let options = PostgresOptions::default;
        let other = PostgresStore::open(&schema.url(), options()).await.unwrap();
        let ids = [1, 2, 3].map(Uuid::from_u128);
        for id in &ids[1..] {
            other.append(append(*id)).await.unwrap();
        }
        let opened = open::open(&schema.url(), options()).await.unwrap();
        let sql = opened.connections.sql.clone();
        let link = Link::new(opened.connect, sql, &opened.begin, &opened.options);
        let tail = Arc::new(Tail::new(opened.options.poll_interval));
        let mut writer = Writer::new(link, Arc::default(), tail, &opened.options);
        let mut look = async |events: &[Uuid], versions: &[i64], appends: &[Uuid]| {
            let proof = Proof {
                events: events.to_vec(),
                versions: versions.to_vec(),
                appends: appends.to_vec(),
            };
            look_for(&mut writer, &proof).await.unwrap()
        };
        let at = |position| Found::Whole(Some(Position::new(position)));
        assert_eq!(look(&ids[1..], &[1, 2], &[]).await, at(0));
        assert_eq!(look(&ids[2..], &[2], &[]).await, at(1), "it stands there");
        assert_eq!(look(&[], &[], &[]).await, Found::Whole(None));
        let missing = [
            (
                &ids[..],
                &[1, 2, 3][..],
                &[][..],
                "the first one is nowhere",
            ),
            (
                &[ids[2], ids[1]],
                &[2, 1],
                &[],
                "they stand the other way round",
            ),
            (&ids[1..], &[2, 3], &[], "they have other versions"),
            (&ids[1..], &[1, 2], &ids, "no append is recorded"),
        ];
        for (events, versions, appends, why) in missing {
            assert_eq!(
                look(events, versions, appends).await,
                Found::Nothing,
                "{why}"
            );
        }
        other.close().await;
    }
}
