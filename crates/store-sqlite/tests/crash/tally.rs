//! The read model of the workload: what each stream holds. Small, but wrong as soon as one event
//! is folded twice or not at all.

use std::collections::BTreeMap;

use annals_core::{
    Changes, Checkpoint, Commit, EventStore, Fence, LogRead, Position, ProjectionSpec,
    ProjectionStore, ReadModel, Target,
};
use annals_sqlite::SqliteStore;
use chrono::Utc;

use crate::{history::FoundEvent, store::describe};

pub(crate) const PROJECTION: &str = "tally";

/// Events folded at once; small, so that there are many commits.
const PAGE: usize = 25;

/// What is known of one stream.
#[derive(ReadModel, Clone, Debug, PartialEq, Eq)]
#[read_model(crate = annals_core)]
pub(crate) struct Tally {
    #[key]
    pub(crate) stream: String,
    pub(crate) events: i64,
    pub(crate) bytes: i64,
    pub(crate) position: Position,
}

/// Rows by stream.
pub(crate) type Rows = BTreeMap<String, Tally>;

/// The read model of these events.
pub(crate) fn fold<'e>(events: impl IntoIterator<Item = &'e FoundEvent>) -> Rows {
    let mut rows = Rows::new();
    for event in events {
        let size = event.payload.len();
        count(
            &mut rows,
            &event.stream,
            size,
            Position::new(event.position),
        );
    }
    rows
}

fn count(rows: &mut Rows, stream: &str, bytes: usize, position: Position) {
    let row = rows.entry(stream.to_owned()).or_insert_with(|| Tally {
        stream: stream.to_owned(),
        events: 0,
        bytes: 0,
        position,
    });
    row.events += 1;
    row.bytes += i64::try_from(bytes).unwrap_or(i64::MAX);
    row.position = position;
}

/// What the projection is, to the store.
pub(crate) fn spec() -> ProjectionSpec {
    ProjectionSpec {
        name: PROJECTION.to_owned(),
        fingerprint: "1".to_owned(),
        table: Some(Tally::TABLE),
        inline: false,
    }
}

/// Folds the next page of the log and commits it. Answers the new checkpoint, and none at the
/// end of the log.
pub(crate) async fn fold_page(store: &SqliteStore) -> Result<Option<u64>, String> {
    let record = store
        .projection(PROJECTION)
        .await
        .map_err(|e| describe(&e))?
        .ok_or("the projection is not registered")?;
    let from = record.checkpoint.position;
    let page = store
        .read_log(LogRead::after(from, PAGE))
        .await
        .map_err(|e| describe(&e))?;
    let Some(last) = page.events.last() else {
        return Ok(None);
    };
    let checkpoint = Checkpoint {
        position: last.position,
        event_id: Some(last.id),
    };
    let keys: Vec<_> = page
        .events
        .iter()
        .map(|event| event.stream.to_string())
        .collect::<std::collections::BTreeSet<_>>()
        .iter()
        .map(Tally::key_values)
        .collect();
    let mut rows = Rows::new();
    for row in store
        .rows(&Tally::TABLE, Target::Live, &keys)
        .await
        .map_err(|e| describe(&e))?
    {
        let row = Tally::from_row(row).map_err(|e| describe(&e))?;
        rows.insert(row.stream.clone(), row);
    }
    for event in &page.events {
        let size = event.payload.len();
        count(&mut rows, event.stream.as_str(), size, event.position);
    }
    let changes = Changes {
        upserts: rows.values().map(Tally::to_row).collect(),
        deletes: Vec::new(),
    };
    let commit = Commit {
        projection: PROJECTION.to_owned(),
        target: Target::Live,
        fence: Fence {
            epoch: record.epoch,
            checkpoint: from,
        },
        rows: Some((Tally::TABLE, changes)),
        checkpoint,
        park: Vec::new(),
        unpark: Vec::new(),
        now: Utc::now(),
    };
    store.commit(commit).await.map_err(|e| describe(&e))?;
    Ok(Some(checkpoint.position.get()))
}
