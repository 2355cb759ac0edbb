//! What must be true of the log, given what the processes were told.

use std::collections::{BTreeSet, HashMap};

use annals_core::{EventStore, LogRead, Position, StoredEvent, StreamName};

use super::{Acked, Numbered, Seen};

/// Reads the whole log, and checks that positions and versions are dense.
///
/// # Panics
/// When it can't be read, or they are not.
pub async fn read_log(store: &impl EventStore) -> Vec<StoredEvent> {
    let mut log: Vec<StoredEvent> = Vec::new();
    loop {
        let from = log.last().map_or(Position::START, |event| event.position);
        let page = store.read_log(LogRead::after(from, 1_000)).await;
        let page = page.expect("the log can be read");
        log.extend(page.events);
        if page.at_end {
            break;
        }
    }
    let mut versions: HashMap<&StreamName, u64> = HashMap::new();
    for (position, event) in (1..).zip(&log) {
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        assert_eq!(event.position.get(), position, "positions are dense");
        assert_eq!(
            event.version.get(),
            *version,
            "versions of `{}` are dense",
            event.stream
        );
    }
    log
}

/// Checks that the log consists of the wanted appends, by writer and index: each acknowledged
/// once, each there once and whole, at the place that was acknowledged.
///
/// # Panics
/// When it does not.
pub fn appends(
    log: &[StoredEvent],
    numbered: &Numbered,
    wanted: impl IntoIterator<Item = (u64, u64)>,
    acks: &[Acked],
) {
    let mut by_append = HashMap::new();
    for ack in acks {
        let earlier = by_append.insert((ack.writer, ack.index), ack);
        assert!(earlier.is_none(), "acknowledged twice: {ack:?}");
    }
    let mut events = 0;
    for (writer, index) in wanted {
        let append = numbered.append(writer, index);
        let ack = by_append
            .remove(&(writer, index))
            .unwrap_or_else(|| panic!("append {index} of {writer} was never acknowledged"));
        let end = usize::try_from(ack.position).expect("positions are small");
        let wanted = append
            .writes
            .iter()
            .flat_map(|write| write.events.iter().map(|event| (&write.stream, event)));
        let found = &log[end - append.event_count()..end];
        for (found, (stream, event)) in found.iter().zip(wanted) {
            assert_eq!((&found.stream, found.id), (stream, event.id), "{ack:?}");
            assert_eq!(found.payload, event.payload, "{ack:?}");
        }
        let last_versions = append.writes.iter().map(|write| {
            let mut mine = found
                .iter()
                .rev()
                .filter(|event| event.stream == write.stream);
            mine.next().map_or(0, |event| event.version.get())
        });
        assert!(last_versions.eq(ack.versions.iter().copied()), "{ack:?}");
        events += append.event_count();
    }
    assert!(
        by_append.is_empty(),
        "acknowledged, but never asked for: {by_append:?}"
    );
    assert_eq!(log.len(), events, "the log has what nobody appended");
}

/// Whether a reader saw exactly what is there, in order.
///
/// # Errors
/// How many it missed, saw twice or saw too early.
pub fn tail(seen: &[Seen], there: &[Seen]) -> Result<(), String> {
    if seen == there {
        return Ok(());
    }
    let (seen_set, there_set): (BTreeSet<_>, BTreeSet<_>) =
        (seen.iter().collect(), there.iter().collect());
    let missed = there_set.difference(&seen_set).count();
    let strange = seen_set.difference(&there_set).count();
    let backwards = seen.windows(2).filter(|pair| pair[0] >= pair[1]).count();
    Err(format!(
        "of {} events it saw {}: {missed} missed, {strange} that are not there, {backwards} out of \
         order or twice",
        there.len(),
        seen.len()
    ))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_reader_that_misses_doubles_or_reorders_is_caught() {
        let event = |position| Seen(position, Uuid::from_u128(position.into()));
        let there = [1, 2, 3].map(event);
        assert_eq!(tail(&there, &there), Ok(()));
        for seen in [
            vec![1, 2],
            vec![1, 3],
            vec![1, 2, 2, 3],
            vec![2, 1, 3],
            vec![1, 2, 3, 4],
        ] {
            let seen: Vec<_> = seen.into_iter().map(event).collect();
            tail(&seen, &there).expect_err("it differs");
        }
    }
}
