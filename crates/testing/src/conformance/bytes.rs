//! What is written comes back exactly: payloads, names, metadata, times.

use annals_core::{AppendId, EventId, Expected, Metadata, NewEvent, StreamName, Tag, TraceContext};
use chrono::{DateTime, Utc};
use proptest::{
    arbitrary::any as arbitrary,
    collection, option,
    prelude::{Strategy, prop_oneof},
    sample::select,
    string::string_regex,
};

use super::{Subject, check::*, properties::check_property, sample::*};

/// A text that databases have stumbled over, without control characters.
fn awkward_text(max: usize) -> impl Strategy<Value = String> {
    let tricky = select(vec![
        "'; drop table events; --",
        "\"quoted\" \\ back\\slash",
        "100% _like_ [a-z]*?",
        "\u{1f9fe}\u{200d}\u{1f469} \u{feff}",
        "e\u{301} é ß İ ı",
        "a:b:c ${x} {{y}} $1 ?1 :name",
        "\u{202e}right to left",
        "\u{fffd}\u{ffff}\u{10ffff}",
    ]);
    let printable = string_regex("[^\\p{Cc}]{1,40}").expect("the pattern is valid");
    prop_oneof![tricky.prop_map(str::to_owned), printable].prop_map(move |mut text| {
        while text.len() > max {
            text.pop();
        }
        text
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let trace =
        (awkward_text(100), option::of(awkward_text(100))).prop_map(|(traceparent, tracestate)| {
            TraceContext {
                traceparent,
                tracestate,
            }
        });
    (
        option::of(awkward_text(100)),
        option::of(trace),
        collection::btree_map(awkward_text(60), awkward_text(200), 0..4),
    )
        .prop_map(|(actor, trace, extra)| Metadata {
            actor,
            trace,
            extra,
            ..event("thing.done").metadata
        })
}

fn new_event() -> impl Strategy<Value = NewEvent> {
    let tag = (awkward_text(100), awkward_text(150)).prop_map(|(key, value)| {
        Tag::new(&key.replace(':', "_"), value).expect("the halves are valid")
    });
    (
        collection::vec(arbitrary::<u8>(), 0..300),
        awkward_text(255),
        1..=u32::MAX,
        collection::vec(tag, 0..5),
        metadata(),
    )
        .prop_map(|(payload, name, schema_version, tags, metadata)| NewEvent {
            id: EventId::new(uuid()),
            event_type: event_type(&name),
            schema_version,
            payload,
            tags,
            metadata,
        })
}

/// Times from the year 1 to 9999, to the microsecond.
fn time() -> impl Strategy<Value = DateTime<Utc>> {
    (-62_135_596_800_000_000..=253_402_300_799_999_999_i64)
        .prop_map(|micros| DateTime::from_timestamp_micros(micros).expect("in range"))
}

pub async fn whatever_is_appended_comes_back_as_it_was(subject: Subject) {
    let names = awkward_text(200).prop_map(|id| format!("thing-{id}"));
    let input = (names, collection::vec(new_event(), 1..6), time());
    check_property(
        &subject,
        input,
        async |store, (name, events, recorded_at)| {
            let name = StreamName::parse(&name).expect("the name is valid");
            let mut append =
                annals_core::Append::to(name.clone(), Expected::Any, events.clone(), recorded_at);
            append.id = Some(AppendId::new(uuid()));
            // A shrunk case repeats event ids, which must then be for the same append.
            for event in &mut append.writes[0].events {
                event.id = EventId::new(uuid());
            }
            let sent = append.writes[0].events.clone();
            store.append(append).await.expect("the append is valid");
            let mut found = whole_stream(&*store, &name).await;
            let found = found.split_off(found.len() - sent.len());
            for (found, sent) in found.iter().zip(sent) {
                assert_eq!(found.stream, name);
                assert_eq!(found.recorded_at, recorded_at);
                let header = (*found.header).clone();
                let back = NewEvent {
                    id: header.id,
                    event_type: header.event_type,
                    schema_version: header.schema_version,
                    payload: found.payload.clone(),
                    tags: header.tags,
                    metadata: header.metadata,
                };
                assert_eq!(back, sent);
            }
            for tag in found.iter().flat_map(|event| &event.tags) {
                let found = matching(&*store, with_tag(tag.as_str()), 50).await;
                assert!(!found.is_empty(), "{tag} is found by itself");
            }
        },
    );
}

async fn assert_payload_returns(subject: &Subject, payload: Vec<u8>) {
    let event = NewEvent {
        payload: payload.clone(),
        ..event("thing.done")
    };
    let id = event.id;
    let store = &*subject.store;
    store
        .append(append("thing-1", Expected::Any, vec![event]))
        .await
        .unwrap();
    let last = whole_stream(store, &stream("thing-1")).await.pop().unwrap();
    assert_eq!(last.id, id);
    assert!(last.payload == payload, "the payload comes back as it was");
    let last = whole_log(store).await.pop().unwrap();
    assert!(last.payload == payload, "from the log too");
}

pub async fn payloads_that_are_no_text_or_no_json_come_back(subject: Subject) {
    let payloads: [&[u8]; 9] = [
        b"",
        b"\0",
        b"{\"a\":\"\\u0000\"}",
        b"{\"b\":1,\"a\":1.0,\"a\":1e400}",
        b"\xff\xfe\xfd",
        b"\xed\xa0\x80 a lone surrogate",
        b"{\"lone\":\"\\ud800\"}",
        b" { } \r\n",
        b"null",
    ];
    for payload in payloads {
        assert_payload_returns(&subject, payload.to_vec()).await;
    }
    assert_payload_returns(&subject, (0..=255).collect()).await;
}

pub async fn a_payload_of_a_mebibyte_comes_back(subject: Subject) {
    let payload = (0..1_048_576_u32)
        .map(|index| (index.wrapping_mul(31) >> 3).to_le_bytes()[0])
        .collect();
    assert_payload_returns(&subject, payload).await;
}

pub async fn names_of_the_greatest_length_come_back(subject: Subject) {
    let store = &*subject.store;
    let category = "c".repeat(64);
    let name = format!("{category}-{}", "é".repeat(127));
    let long_tag = format!("t:{}", "v".repeat(253));
    let long_type = "e".repeat(255);
    let event = tagged(&long_type, &[&long_tag]);
    store
        .append(append(&name, Expected::NoStream, vec![event]))
        .await
        .unwrap();
    let found = whole_stream(store, &stream(&name)).await.pop().unwrap();
    assert_eq!(found.stream.as_str(), name);
    assert_eq!(found.stream.category(), category);
    assert_eq!(found.event_type.as_str(), long_type);
    assert_eq!(found.tags, [tag(&long_tag)]);
    assert_eq!(matching(store, with_tag(&long_tag), 5).await.len(), 1);
    assert_eq!(matching(store, with_type(&long_type), 5).await.len(), 1);
}
