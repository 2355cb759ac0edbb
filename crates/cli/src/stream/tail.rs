//! `stream tail`: the end of the log, and what comes from now on.

use annals_core::{LogRead, Position, Query, QueryItem, Store, StoreError, StoredEvent};

use super::{TailArgs, just_before};
use crate::{
    error::{CliError, print_line},
    event_line::{EventDocument, payload},
    output::Output,
    shown::time,
    signal::stop_requested,
};

/// How many events are shown unless a position is given.
const LAST: usize = 20;
const PAGE: usize = 500;

pub(super) async fn run(store: &dyn Store, args: TailArgs, output: Output) -> Result<(), CliError> {
    tokio::select! {
        shown = tail(store, args, output) => shown,
        // It goes on until it is stopped, so that is its proper end.
        () = stop_requested() => Ok(()),
    }
}

async fn tail(store: &dyn Store, args: TailArgs, output: Output) -> Result<(), CliError> {
    let query = match &args.event_type {
        Some(event_type) => QueryItem::default().event_type(event_type.clone()).into(),
        None => Query::any(),
    };
    if let Some(event_type) = &args.event_type
        && last_events(store, &query, store.head().await?, 1)
            .await?
            .is_empty()
    {
        // Not an answer, and no error: it may come yet.
        print_line(&format!(
            "no event of type `{event_type}` has been recorded so far"
        ));
    }
    let mut at = match args.from {
        Some(position) => just_before(position),
        None => show_last(store, &query, output).await?,
    };
    loop {
        let page = store
            .read_log(LogRead::after(at, PAGE).matching(query.clone()))
            .await?;
        for event in &page.events {
            show(event, output)?;
        }
        at = at.max(page.scanned_to);
        if page.at_end {
            if !args.follow {
                return Ok(());
            }
            store.wait_beyond(at).await?;
        }
    }
}

/// Shows the last few events, and answers from where to go on.
async fn show_last(store: &dyn Store, query: &Query, output: Output) -> Result<Position, CliError> {
    let head = store.head().await?;
    let events = last_events(store, query, head, LAST).await?;
    for event in events.iter().rev() {
        show(event, output)?;
    }
    Ok(head)
}

/// The last few events up to `head`, newest first.
async fn last_events(
    store: &dyn Store,
    query: &Query,
    head: Position,
    limit: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut events = Vec::new();
    let mut from = head.next();
    // Position 0 would mean the end of the log again.
    while events.len() < limit && from > Position::new(1) {
        let read = LogRead::before(from, limit - events.len()).matching(query.clone());
        let page = store.read_log(read).await?;
        events.extend(page.events);
        if page.at_end {
            break;
        }
        from = page.scanned_to;
    }
    Ok(events)
}

fn show(event: &StoredEvent, output: Output) -> Result<(), CliError> {
    output.answer(&EventDocument::new(event), || {
        format!(
            "{:>9}  {}  {}@{}  {}  {}",
            event.position,
            time(event.recorded_at),
            event.stream,
            event.version,
            event.event_type,
            payload(event)
        )
    })
}
