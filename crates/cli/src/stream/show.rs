//! `stream show`: the events of one stream.

use annals_core::{Store, StoredEvent, StreamRead, Version};

use super::ShowArgs;
use crate::{
    error::CliError,
    event_line::{EventDocument, payload},
    output::Output,
    shown::time,
};

const PAGE: u64 = 500;

pub(super) async fn run(store: &dyn Store, args: ShowArgs, output: Output) -> Result<(), CliError> {
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut from = Version::NONE;
    let mut list = output.list();
    while left > 0 {
        let limit = usize::try_from(left.min(PAGE)).unwrap_or(usize::MAX);
        let stream = args.stream.clone();
        let read = match args.backwards {
            true => StreamRead::before(stream, from, limit),
            false => StreamRead::after(stream, from, limit),
        };
        let events = store.read_stream(read).await?;
        // A page of large events is shorter than was asked for: only an empty one is the end.
        let Some(last) = events.last() else {
            break;
        };
        from = last.version;
        for event in &events {
            list.item(&EventDocument::new(event), || text(event))?;
        }
        left = left.saturating_sub(u64::try_from(events.len()).unwrap_or(u64::MAX));
        // Backwards, version 0 would mean the end of the stream again.
        if args.backwards && from == Version::new(1) {
            break;
        }
    }
    if list.is_empty() && left > 0 {
        let stream = args.stream.to_string();
        return Err(CliError::NoSuchStream { stream });
    }
    list.end()
}

fn text(event: &StoredEvent) -> String {
    format!(
        "{:>6}  {:>9}  {}  {}  {}",
        event.version,
        event.position,
        time(event.recorded_at),
        event.event_type,
        payload(event)
    )
}
