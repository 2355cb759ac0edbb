//! Pages that end early.

use std::sync::Arc;

use chrono::DateTime;
use uuid::Uuid;

use super::*;
use crate::{
    event::EventHeader,
    id::{CausationId, CorrelationId, EventId},
    metadata::Metadata,
    name::{Category, EventType, StreamName},
    query::{Query, QueryItem},
};

const HEAD: Position = Position::new(100);
const LIMITS: Limits = Limits {
    page: 50,
    statement: 4,
    reach: 10,
};

fn event(position: u64) -> StoredEvent {
    let id = Uuid::from_u128(position.into());
    let header = EventHeader {
        position: Position::new(position),
        stream: StreamName::parse("account-1").unwrap(),
        version: Version::new(position),
        id: EventId::new(id),
        event_type: EventType::new("account.opened").unwrap(),
        schema_version: 1,
        recorded_at: DateTime::UNIX_EPOCH,
        tags: Vec::new(),
        metadata: Metadata::caused_by(CausationId::new(id), CorrelationId::new(id)),
    };
    StoredEvent {
        header: Arc::new(header),
        payload: Vec::new(),
    }
}

/// A page whose second statement finds an event that is too large to come with the first ones.
fn ends_before_a_large_event(read: &LogRead, first: [u64; 4]) -> LogPage {
    let mut pages = LogPages::new(read, LIMITS, HEAD);
    let slice = pages.next_slice().unwrap();
    let events = first.map(event).into();
    pages.take_in(slice, events, false).unwrap();
    let slice = pages.next_slice().unwrap();
    pages.take_in(slice, Vec::new(), true).unwrap();
    assert_eq!(pages.next_slice(), None);
    pages.finish()
}

#[test]
fn the_next_page_begins_with_the_event_that_was_too_large_for_this_one() {
    let accounts = || QueryItem::default().category(Category::new("account").unwrap());
    for query in [Query::any(), accounts().into()] {
        let read = LogRead::after(Position::START, 50).matching(query.clone());
        let page = ends_before_a_large_event(&read, [1, 2, 3, 4]);
        assert_eq!((page.scanned_to.get(), page.at_end), (4, false));
        let read = LogRead::before(Position::START, 50).matching(query);
        let page = ends_before_a_large_event(&read, [100, 99, 98, 97]);
        assert_eq!((page.scanned_to.get(), page.at_end), (97, false));
    }
}
