//! Tables, projections and steps to test with.

use annals_core::{
    Changes, Checkpoint, Column, ColumnType, Commit, CommitError, Fence, ProjectionRecord,
    ProjectionSpec, RebuildRecord, Row, Store, TableSpec, Target, Value,
};

use super::sample::{now, position};

const fn column(name: &'static str, column_type: ColumnType) -> Column {
    Column {
        name,
        column_type,
        nullable: false,
        key: false,
    }
}

pub(super) const fn key(name: &'static str, column_type: ColumnType) -> Column {
    Column {
        key: true,
        ..column(name, column_type)
    }
}

pub(super) const fn nullable(name: &'static str, column_type: ColumnType) -> Column {
    Column {
        nullable: true,
        ..column(name, column_type)
    }
}

/// One text key and one number.
pub(super) const COUNTS: TableSpec = TableSpec {
    name: "suite_counts",
    columns: &[
        key("name", ColumnType::Text),
        column("count", ColumnType::Integer),
    ],
};

/// A key of three columns that do not stand together, and a column of every type. Some names
/// are words of SQL.
pub(super) const WIDE: TableSpec = TableSpec {
    name: "suite_wide",
    columns: &[
        key("group", ColumnType::Text),
        column("order", ColumnType::Integer),
        key("number", ColumnType::Integer),
        nullable("real", ColumnType::Real),
        nullable("text", ColumnType::Text),
        nullable("blob", ColumnType::Blob),
        nullable("integer", ColumnType::Integer),
        key("bytes", ColumnType::Blob),
    ],
};

pub(super) fn spec_of(name: &str, table: TableSpec) -> ProjectionSpec {
    ProjectionSpec {
        name: name.to_owned(),
        fingerprint: "first".to_owned(),
        table: Some(table),
        inline: false,
    }
}

/// The projection that most scenarios are about.
pub(super) fn counts() -> ProjectionSpec {
    spec_of("counts", COUNTS)
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(super) fn row(name: &str, count: i64) -> Row {
    vec![text(name), Value::Integer(count)]
}

pub(super) fn upserts(rows: &[(&str, i64)]) -> Changes {
    Changes {
        upserts: rows.iter().map(|(name, count)| row(name, *count)).collect(),
        deletes: Vec::new(),
    }
}

pub(super) fn upserted(rows: &[Row]) -> Changes {
    Changes {
        upserts: rows.to_vec(),
        deletes: Vec::new(),
    }
}

/// The same step on rows of this table.
pub(super) fn on(table: TableSpec, mut step: Commit) -> Commit {
    step.rows = step.rows.map(|(_, changes)| (table, changes));
    step
}

pub(super) const fn at(number: u64) -> Checkpoint {
    Checkpoint {
        position: position(number),
        event_id: None,
    }
}

/// A step of a live table from where its record stands.
pub(super) fn live_step(record: &ProjectionRecord, to: u64, changes: Changes) -> Commit {
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: record.checkpoint.position,
    };
    step(&record.name, Target::Live, fence, to, changes)
}

/// A step of a rebuild from where its record stands.
pub(super) fn rebuild_step(
    name: &str,
    rebuild: &RebuildRecord,
    to: u64,
    changes: Changes,
) -> Commit {
    let fence = Fence {
        epoch: rebuild.epoch,
        checkpoint: rebuild.checkpoint.position,
    };
    step(name, Target::Rebuild, fence, to, changes)
}

fn step(name: &str, target: Target, fence: Fence, to: u64, changes: Changes) -> Commit {
    Commit {
        projection: name.to_owned(),
        target,
        fence,
        rows: Some((COUNTS, changes)),
        checkpoint: at(to),
        park: Vec::new(),
        unpark: Vec::new(),
        now: now(),
    }
}

/// The record as it is stored; the projection is known to be there.
pub(super) async fn record(store: &dyn Store, name: &str) -> ProjectionRecord {
    let record = store.projection(name).await.expect("it can be read");
    record.unwrap_or_else(|| panic!("projection `{name}` is there"))
}

/// All rows of the table, in order.
pub(super) async fn all_rows(store: &dyn Store, table: &TableSpec, target: Target) -> Vec<Row> {
    let rows = store.scan_rows(table, target, None, 100_000).await;
    rows.expect("the rows can be read")
}

#[track_caller]
pub(super) fn assert_fenced(result: Result<(), CommitError>) {
    assert!(
        matches!(result, Err(CommitError::Fenced { .. })),
        "expected to be fenced off, got {result:?}"
    );
}
