//! `store stats`: count what the store holds.

use std::{collections::HashMap, ffi::OsString, path::Path};

use annals_core::{EventType, Position, ProjectionState, Store, StoredEvent, TableSize, Version};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::log::WholeLog;
use crate::{
    error::CliError,
    options::{OperatorOptions, sqlite_path},
    output::Output,
    shown::{count, size, time},
    table::{Align, Table},
};

/// How many event types people are shown; scripts get all of them.
const SHOWN_TYPES: usize = 20;

#[derive(Serialize)]
struct Stats {
    kind: &'static str,
    events: u64,
    streams: u64,
    head: Position,
    payload_bytes: u64,
    /// What the store takes on disk, where that can be told.
    disk_bytes: Option<u64>,
    /// The same by table, the largest first, where that can be told.
    tables: Vec<TableSize>,
    first: Option<String>,
    last: Option<String>,
    /// The most frequent one first.
    types: Vec<TypeCount>,
    projections: Vec<ProjectionStats>,
}

#[derive(Serialize)]
struct ProjectionStats {
    name: String,
    state: ProjectionState,
    checkpoint: Position,
    /// How many events of those counted it has not folded.
    lag: u64,
}

#[derive(Serialize)]
struct TypeCount {
    #[serde(rename = "type")]
    event_type: EventType,
    events: u64,
}

#[derive(Default)]
struct Counted {
    events: u64,
    streams: u64,
    payload_bytes: u64,
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    types: HashMap<EventType, u64>,
}

pub(super) async fn run(
    store: &dyn Store,
    options: &OperatorOptions,
    output: Output,
) -> Result<(), CliError> {
    let mut log = WholeLog::open(store, "counting").await?;
    let mut counted = Counted::default();
    while let Some(events) = log.next().await? {
        events.iter().for_each(|event| counted.add(event));
    }
    let head = log.head();
    drop(log);
    let mut stats = counted.stats(store.kind(), head);
    stats.tables = store.table_sizes().await?;
    let file = options.store.as_deref().and_then(sqlite_path);
    stats.disk_bytes = match file {
        Some(path) => size_on_disk(&path),
        None if stats.tables.is_empty() => None,
        None => Some(stats.tables.iter().map(|table| table.bytes).sum()),
    };
    stats.projections = projections(store, head).await?;
    output.answer(&stats, || text(&stats))
}

async fn projections(store: &dyn Store, head: Position) -> Result<Vec<ProjectionStats>, CliError> {
    let records = store.projections().await?.into_iter();
    let stats = records.map(|record| {
        let checkpoint = record.checkpoint.position;
        ProjectionStats {
            name: record.name,
            state: record.state,
            checkpoint,
            lag: head.get().saturating_sub(checkpoint.get()),
        }
    });
    Ok(stats.collect())
}

impl Counted {
    fn add(&mut self, event: &StoredEvent) {
        self.events += 1;
        // Every stream has one first event, so counting those needs no list of streams.
        self.streams += u64::from(event.version == Version::new(1));
        self.payload_bytes += u64::try_from(event.payload.len()).unwrap_or(0);
        self.first.get_or_insert(event.recorded_at);
        self.last = Some(event.recorded_at);
        match self.types.get_mut(&event.event_type) {
            Some(count) => *count += 1,
            None => {
                self.types.insert(event.event_type.clone(), 1);
            }
        }
    }

    fn stats(self, kind: &'static str, head: Position) -> Stats {
        let mut types: Vec<TypeCount> = self
            .types
            .into_iter()
            .map(|(event_type, events)| TypeCount { event_type, events })
            .collect();
        types.sort_by(|a, b| {
            b.events
                .cmp(&a.events)
                .then(a.event_type.cmp(&b.event_type))
        });
        Stats {
            kind,
            events: self.events,
            streams: self.streams,
            head,
            payload_bytes: self.payload_bytes,
            disk_bytes: None,
            tables: Vec::new(),
            first: self.first.map(time),
            last: self.last.map(time),
            types,
            projections: Vec::new(),
        }
    }
}

/// The size of a SQLite file and of the files that belong to it.
fn size_on_disk(path: &Path) -> Option<u64> {
    let main = std::fs::metadata(path).ok()?.len();
    let beside = ["-wal", "-shm"].into_iter().filter_map(|suffix| {
        let mut name = OsString::from(path);
        name.push(suffix);
        Some(std::fs::metadata(name).ok()?.len())
    });
    Some(main + beside.sum::<u64>())
}

fn text(stats: &Stats) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut facts = Table::new([("store", Align::Left), (stats.kind, Align::Right)]);
    let mut fact = |name: &str, value: String| facts.row([name.to_owned(), value]);
    fact("events", count(stats.events));
    fact("streams", count(stats.streams));
    fact("head", count(stats.head.get()));
    fact("payloads", size(stats.payload_bytes));
    if let Some(bytes) = stats.disk_bytes {
        fact("on disk", size(bytes));
    }
    fact("first event", or_none(&stats.first));
    fact("last event", or_none(&stats.last));
    let parts = [
        Some(facts.to_string()),
        types(&stats.types),
        tables(&stats.tables),
        projections_table(&stats.projections),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("\n\n")
}

fn types(types: &[TypeCount]) -> Option<String> {
    let mut table = Table::new([("type", Align::Left), ("events", Align::Right)]);
    for TypeCount { event_type, events } in types.iter().take(SHOWN_TYPES) {
        table.row([event_type.to_string(), count(*events)]);
    }
    let shown = match types.len().saturating_sub(SHOWN_TYPES) {
        0 => table.to_string(),
        more => format!("{table}\nand {more} more types (--json shows all)"),
    };
    (!types.is_empty()).then_some(shown)
}

fn tables(sizes: &[TableSize]) -> Option<String> {
    let mut table = Table::new([("table", Align::Left), ("on disk", Align::Right)]);
    for TableSize { table: name, bytes } in sizes {
        table.row([name.clone(), size(*bytes)]);
    }
    (!sizes.is_empty()).then(|| table.to_string())
}

fn projections_table(projections: &[ProjectionStats]) -> Option<String> {
    let mut table = Table::new([
        ("projection", Align::Left),
        ("state", Align::Left),
        ("checkpoint", Align::Right),
        ("lag", Align::Right),
    ]);
    for projection in projections {
        table.row([
            projection.name.clone(),
            projection.state.as_str().to_owned(),
            count(projection.checkpoint.get()),
            count(projection.lag),
        ]);
    }
    (!projections.is_empty()).then(|| table.to_string())
}
