//! `stream list`: streams, the most recently written first.

use std::collections::HashSet;

use annals_core::{LogRead, Position, QueryItem, Store, StoreError, StoredEvent, StreamName};
use serde::Serialize;

use super::ListArgs;
use crate::{
    error::CliError,
    output::Output,
    shown::{count, time},
    table::{Align, Table},
};

const PAGE: usize = 1_000;

#[derive(Serialize)]
struct Streams {
    streams: Vec<Listed>,
    /// What `--before` takes for the next page, if there may be one.
    before: Option<Position>,
}

#[derive(Serialize)]
struct Listed {
    stream: StreamName,
    /// How many events it has: the version of the last one.
    events: u64,
    /// Where its last event stands.
    position: Position,
    /// When that was recorded.
    last: String,
}

pub(super) async fn run(store: &dyn Store, args: ListArgs, output: Output) -> Result<(), CliError> {
    let found = find(store, &args).await?;
    output.answer(&found, || text(&found))
}

async fn find(store: &dyn Store, args: &ListArgs) -> Result<Streams, StoreError> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut seen = HashSet::new();
    let mut streams = Vec::new();
    let mut from = Position::new(args.before.unwrap_or(0));
    loop {
        let mut read = LogRead::before(from, PAGE);
        if let Some(category) = &args.category {
            read = read.matching(QueryItem::default().category(category.clone()));
        }
        let page = store.read_log(read).await?;
        for event in &page.events {
            if seen.contains(&event.stream) || is_on_earlier_page(store, args, event).await? {
                continue;
            }
            seen.insert(event.stream.clone());
            streams.push(listed(event));
            if streams.len() >= limit {
                let before = Some(event.position).filter(|position| position.get() > 1);
                return Ok(Streams { streams, before });
            }
        }
        // Position 0 would mean the end of the log again.
        if page.at_end || page.scanned_to <= Position::new(1) {
            return Ok(Streams {
                streams,
                before: None,
            });
        }
        from = page.scanned_to;
    }
}

/// Whether a stream has later events than those looked at, and so was listed before.
async fn is_on_earlier_page(
    store: &dyn Store,
    args: &ListArgs,
    event: &StoredEvent,
) -> Result<bool, StoreError> {
    if args.before.is_none() {
        return Ok(false);
    }
    Ok(store.stream_version(&event.stream).await? != event.version)
}

fn listed(event: &StoredEvent) -> Listed {
    Listed {
        stream: event.stream.clone(),
        events: event.version.get(),
        position: event.position,
        last: time(event.recorded_at),
    }
}

fn text(found: &Streams) -> String {
    if found.streams.is_empty() {
        return "no streams".to_owned();
    }
    let mut table = Table::new([
        ("stream", Align::Left),
        ("events", Align::Right),
        ("position", Align::Right),
        ("last event", Align::Left),
    ]);
    for stream in &found.streams {
        table.row([
            stream.stream.as_str().to_owned(),
            count(stream.events),
            count(stream.position.get()),
            stream.last.clone(),
        ]);
    }
    match found.before {
        Some(before) => format!("{table}\nmore with --before {before}"),
        None => table.to_string(),
    }
}
