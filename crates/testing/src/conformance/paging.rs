//! What a page of the log says about the rest of it.

use annals_core::{LogPage, LogRead, Position, Query, Store};

use super::{Subject, check::*, sample::*};

/// Every seventh of 100 events is wanted, the last one is at position 98.
async fn sparse(store: &dyn Store) -> Query {
    for number in 1..=100 {
        let name = if number % 7 == 0 {
            "thing.wanted"
        } else {
            "thing.other"
        };
        let append = append("thing-1", annals_core::Expected::Any, vec![event(name)]);
        store.append(append).await.unwrap();
    }
    with_type("thing.wanted")
}

fn wanted() -> Vec<u64> {
    (1..=14).map(|number| number * 7).collect()
}

async fn page(store: &dyn Store, read: LogRead) -> LogPage {
    store.read_log(read).await.unwrap()
}

pub async fn pages_of_every_size_join_to_the_whole(subject: Subject) {
    let store = &*subject.store;
    let query = sparse(store).await;
    for limit in [1, 2, 3, 7, 13, 14, 15, 99, 100, 101, 1_000] {
        let found = matching(store, query.clone(), limit).await;
        assert_eq!(positions(&found), wanted(), "in pages of {limit}");
        let all = matching(store, Query::any(), limit).await;
        assert_eq!(
            positions(&all),
            (1..=100).collect::<Vec<_>>(),
            "in pages of {limit}"
        );
    }
}

pub async fn pages_join_to_the_whole_backwards_too(subject: Subject) {
    let store = &*subject.store;
    let query = sparse(store).await;
    for limit in [1, 2, 13, 14, 15, 1_000] {
        let mut found = Vec::new();
        let mut from = Position::START;
        loop {
            let read = LogRead::before(from, limit).matching(query.clone());
            let page = page(store, read).await;
            assert!(page.events.len() <= limit);
            found.extend(positions(&page.events));
            if page.at_end {
                break;
            }
            assert!(
                from == Position::START || page.scanned_to < from,
                "each page leads further"
            );
            assert_ne!(
                page.scanned_to,
                Position::START,
                "which would be the end of the log again"
            );
            from = page.scanned_to;
        }
        let mut expected = wanted();
        expected.reverse();
        assert_eq!(found, expected, "in pages of {limit}");
    }
}

pub async fn a_page_at_the_end_was_looked_through_up_to_the_head(subject: Subject) {
    let store = &*subject.store;
    let query = sparse(store).await;
    let last = page(store, LogRead::after(position(91), 5).matching(query)).await;
    assert_eq!(positions(&last.events), [98]);
    assert!(last.at_end);
    assert_eq!(
        last.scanned_to,
        position(100),
        "what follows 98 was looked at too"
    );
}

pub async fn a_full_page_does_not_skip_what_it_did_not_answer(subject: Subject) {
    let store = &*subject.store;
    let query = sparse(store).await;
    let first = page(store, LogRead::after(Position::START, 2).matching(query)).await;
    assert_eq!(positions(&first.events), [7, 14]);
    assert!(!first.at_end);
    let reach = first.scanned_to.get();
    assert!(
        (14..21).contains(&reach),
        "read on from {reach}, and 21 is still ahead"
    );
}

pub async fn a_page_of_an_unfiltered_log_is_full_unless_it_is_the_last(subject: Subject) {
    let store = &*subject.store;
    sparse(store).await;
    for (after, limit) in [(0, 10), (45, 10), (89, 10), (91, 10), (0, 1_000)] {
        let read = page(store, LogRead::after(position(after), limit)).await;
        let left = usize::try_from(100 - after).unwrap();
        assert_eq!(read.events.len(), left.min(limit));
        assert_eq!(
            read.scanned_to,
            position(after + u64::try_from(left.min(limit)).unwrap())
        );
        if left > limit {
            assert!(!read.at_end, "{left} were left");
        }
        if left < limit {
            assert!(read.at_end, "a short page ends the log");
        }
    }
}

pub async fn a_page_of_no_events_leads_nowhere(subject: Subject) {
    let store = &*subject.store;
    sparse(store).await;
    let nothing = page(store, LogRead::after(position(40), 0)).await;
    assert_eq!(nothing.events, []);
    assert_eq!(
        nothing.scanned_to,
        position(40),
        "nothing was looked through"
    );
    assert!(!nothing.at_end);
}

pub async fn a_reader_at_the_head_stays_there(subject: Subject) {
    let store = &*subject.store;
    sparse(store).await;
    let nothing = page(store, LogRead::after(position(100), 10)).await;
    assert_eq!(nothing.events, []);
    assert_eq!(nothing.scanned_to, position(100));
    assert!(nothing.at_end);
    let unmatched = LogRead::after(Position::START, 10).matching(with_type("thing.never"));
    let unmatched = page(store, unmatched).await;
    assert_eq!(unmatched.events, []);
    assert!(unmatched.scanned_to > Position::START);
}

pub async fn a_page_of_an_empty_log_is_its_end(subject: Subject) {
    let store = &*subject.store;
    for read in [
        LogRead::after(Position::START, 10),
        LogRead::before(Position::START, 10),
    ] {
        let nothing = page(store, read).await;
        assert_eq!(nothing.events, []);
        assert_eq!(nothing.scanned_to, Position::START);
        assert!(nothing.at_end);
    }
}
