//! What becomes of appends.

use uuid::Uuid;

use super::*;
use crate::{
    id::{CausationId, CorrelationId},
    metadata::Metadata,
    name::{EventType, Tag},
    order::Expected,
    query::{Query, QueryItem},
};

fn event(id: u128) -> NewEvent {
    let id = Uuid::from_u128(id);
    NewEvent {
        id: EventId::new(id),
        event_type: EventType::new("account.opened").unwrap(),
        schema_version: 1,
        payload: b"{}".to_vec(),
        tags: vec![Tag::parse("owner:alice").unwrap()],
        metadata: Metadata::caused_by(CausationId::new(id), CorrelationId::new(id)),
    }
}

fn stream(name: &str) -> StreamName {
    StreamName::parse(name).unwrap()
}

fn append(name: &str, expected: Expected, ids: &[u128]) -> Append {
    let events = ids.iter().copied().map(event).collect();
    Append::to(stream(name), expected, events, DateTime::UNIX_EPOCH)
}

/// A log of ten events, the last three of them in `account-a`.
fn facts() -> Facts {
    Facts {
        head: Position::new(10),
        versions: HashMap::from([(stream("account-a"), Version::new(3))]),
        ..Facts::default()
    }
}

fn summary(decided: &Decided<'_>) -> Vec<String> {
    let outcomes = decided.outcomes.iter();
    outcomes
        .map(|outcome| match outcome {
            Ok(appended) => {
                let versions: Vec<_> = appended.versions.iter().map(|v| v.get()).collect();
                let repeated = if appended.repeated { " again" } else { "" };
                format!("{} {versions:?}{repeated}", appended.position)
            }
            Err(error) => error.to_string(),
        })
        .collect()
}

#[test]
fn appends_of_a_batch_see_those_before_them() {
    let appends = [
        append("account-a", Expected::Exact(Version::new(3)), &[1, 2]),
        append("account-a", Expected::Exact(Version::new(3)), &[3]),
        append("account-b", Expected::NoStream, &[4]),
        append("account-b", Expected::NoStream, &[5]),
        append("account-a", Expected::StreamExists, &[6]),
    ];
    let decided = decide(&facts(), &appends.each_ref());
    assert_eq!(
        summary(&decided),
        [
            "12 [5]",
            "stream `account-a` is at version 5, not at version 3",
            "13 [1]",
            "stream `account-b` is at version 1, not at no stream",
            "14 [6]",
        ]
    );
    let positions: Vec<_> = decided.placed.iter().map(|p| p.position.get()).collect();
    assert_eq!(positions, [11, 12, 13, 14]);
    assert!(!decided.is_all_new());
}

#[test]
fn conditions_see_the_log_and_the_batch() {
    let query = Query::from(QueryItem::default().tag(Tag::parse("owner:alice").unwrap()));
    let unless = |name: &str, id, after| {
        append(name, Expected::Any, &[id]).unless(query.clone(), Position::new(after))
    };
    let appends = [
        unless("account-b", 1, 10),
        unless("account-c", 2, 10),
        unless("account-d", 3, 11),
        unless("account-e", 4, 5),
    ];
    let mut facts = facts();
    facts.matches.insert(3, Position::new(7));
    let decided = decide(&facts, &appends.each_ref());
    assert_eq!(
        summary(&decided),
        [
            "11 [1]",
            "the append's condition failed: a matching event stands at position 11",
            "12 [1]",
            "the append's condition failed: a matching event stands at position 7",
        ]
    );
}

#[test]
fn appends_with_a_known_id_are_repeated_or_refused() {
    let id = |number| AppendId::new(Uuid::from_u128(number));
    let new = |number, event, print| {
        append("account-a", Expected::Any, &[event]).once(id(number), [print; 16])
    };
    let appends = [new(1, 1, 1), new(1, 2, 1), new(1, 3, 2), new(2, 4, 7)];
    let mut facts = facts();
    let before = Appended {
        position: Position::new(4),
        versions: vec![Version::new(2)],
        repeated: false,
    };
    facts.appends.insert(id(2), ([7; 16], before));
    let decided = decide(&facts, &appends.each_ref());
    let reused = format!(
        "append id {} was used before for something else",
        id(1).uuid()
    );
    assert_eq!(
        summary(&decided),
        ["11 [4]", "11 [4] again", &reused, "4 [2] again"]
    );
    assert_eq!(decided.recorded.len(), 1);
}

#[test]
fn known_events_are_repeated_or_refused() {
    let original = append("account-a", Expected::NoStream, &[1, 2]).and(
        stream("account-b"),
        Expected::Any,
        Vec::new(),
    );
    let mut changed = append("account-a", Expected::Any, &[1, 2]);
    changed.writes[0].events[1].payload = b"[]".to_vec();
    let partly = append("account-a", Expected::Any, &[9, 2]);
    let mut facts = facts();
    for (version, event) in (1..).zip(&original.writes[0].events) {
        let placed = Placed {
            position: Position::new(version + 7),
            version: Version::new(version),
            stream: &original.writes[0].stream,
            event,
            recorded_at: original.recorded_at,
        };
        facts.events.insert(event.id, placed.stored());
    }
    let at = (stream("account-b"), Position::new(9));
    facts.versions_at.insert(at, Version::new(5));
    let in_batch = append("account-c", Expected::NoStream, &[20]).and(
        stream("account-a"),
        Expected::Any,
        Vec::new(),
    );
    let decided = decide(
        &facts,
        &[&original, &changed, &partly, &in_batch, &in_batch],
    );
    let reused = format!(
        "event id {} was used before for something else",
        Uuid::from_u128(2)
    );
    assert_eq!(
        summary(&decided),
        [
            "9 [2, 5] again",
            &reused,
            &reused,
            "11 [1, 3]",
            "11 [1, 3] again"
        ]
    );
    assert_eq!(decided.placed.len(), 1);
}

#[test]
fn an_append_without_events_only_checks_and_records() {
    let id = AppendId::new(Uuid::from_u128(1));
    let check = append("account-a", Expected::StreamExists, &[]).once(id, [0; 16]);
    let decided = decide(&facts(), &[&check]);
    assert_eq!(summary(&decided), ["10 [3]"]);
    assert!(decided.placed.is_empty() && decided.writes());
}

#[test]
fn streams_are_named_once() {
    let appends = [
        append("account-a", Expected::Any, &[1]),
        append("account-a", Expected::Any, &[2]).and(
            stream("account-b"),
            Expected::Any,
            Vec::new(),
        ),
    ];
    let streams = streams(&appends.each_ref());
    assert_eq!(streams, [&stream("account-a"), &stream("account-b")]);
}
