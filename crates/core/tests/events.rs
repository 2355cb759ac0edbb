//! What `#[derive(Event)]` and `#[derive(EventSet)]` write into a log, and read back.

use annals_core::{DecodeError, Event, EventSet, UpcastError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    Opened {
        #[event(tag)]
        owner: String,
        #[event(tag = "branch")]
        office: Option<u32>,
    },
    #[event(name = "account.credited", formerly = "account.paid_in")]
    #[event(formerly = "account.deposited")]
    Deposited(#[event(tag = "cents")] i64),
    #[event(version = 3, upcast(cents_from_euros, upcasters::add_currency))]
    FeeCharged {
        cents: i64,
        currency: String,
    },
    Moved(u32, String),
    Closed,
}

fn cents_from_euros(old: &mut Value) -> Result<(), UpcastError> {
    let euros = old["euros"].as_i64().ok_or("no euros")?;
    *old = json!({ "cents": euros * 100 });
    Ok(())
}

mod upcasters {
    use super::*;

    pub(super) fn add_currency(old: &mut Value) -> Result<(), UpcastError> {
        old["currency"] = json!("EUR");
        Ok(())
    }
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "http_call")]
enum CallEvent {
    HTTPRequestSent,
}

#[derive(EventSet, Clone, Debug, PartialEq)]
#[event_set(crate = annals_core)]
enum BankEvent {
    Account(AccountEvent),
    Call(CallEvent),
}

#[derive(EventSet, Clone, Debug, PartialEq)]
#[event_set(crate = annals_core)]
enum Everything {
    Bank(BankEvent),
}

fn fee(cents: i64) -> AccountEvent {
    AccountEvent::FeeCharged {
        cents,
        currency: "EUR".into(),
    }
}

fn opened(owner: &str, office: Option<u32>) -> AccountEvent {
    AccountEvent::Opened {
        owner: owner.into(),
        office,
    }
}

#[test]
fn wire_names_are_category_and_snake_case_unless_given() {
    let names: Vec<_> = BankEvent::schemas().iter().map(|it| it.name).collect();
    assert_eq!(
        names,
        [
            "account.opened",
            "account.credited",
            "account.fee_charged",
            "account.moved",
            "account.closed",
            "http_call.http_request_sent",
        ]
    );
}

#[test]
fn every_variant_comes_back_as_it_was_written() {
    let events = [
        opened("alice", Some(3)),
        AccountEvent::Deposited(5),
        fee(7),
        AccountEvent::Moved(1, "x".into()),
        AccountEvent::Closed,
    ];
    for event in events {
        let schema = event.schema();
        let payload = event.encode().unwrap();
        let read = AccountEvent::decode(schema.name, schema.version, &payload).unwrap();
        assert_eq!(read, Some(event));
    }
}

#[test]
fn an_older_name_is_still_read() {
    for name in ["account.credited", "account.paid_in", "account.deposited"] {
        let event = AccountEvent::decode(name, 1, b"5").unwrap();
        assert_eq!(event, Some(AccountEvent::Deposited(5)), "{name}");
    }
}

#[test]
fn an_old_payload_takes_every_step_that_is_left() {
    let read = |version, payload: &[u8]| {
        AccountEvent::decode("account.fee_charged", version, payload).unwrap()
    };
    assert_eq!(read(1, br#"{"euros":5}"#), Some(fee(500)));
    assert_eq!(read(2, br#"{"cents":7}"#), Some(fee(7)));
    assert_eq!(read(3, br#"{"cents":7,"currency":"EUR"}"#), Some(fee(7)));
}

#[test]
fn an_upcaster_may_refuse() {
    let error = AccountEvent::decode("account.fee_charged", 1, b"{}").unwrap_err();
    assert!(matches!(error, DecodeError::Upcast { from: 1, .. }));
}

#[test]
fn what_a_newer_release_wrote_is_refused() {
    let error = AccountEvent::decode("account.closed", 2, b"{}").unwrap_err();
    assert!(matches!(
        error,
        DecodeError::NewerSchema {
            stored: 2,
            known: 1,
            ..
        }
    ));
}

#[test]
fn a_payload_without_the_fields_is_refused() {
    let error = AccountEvent::decode("account.opened", 1, b"{}").unwrap_err();
    assert!(matches!(error, DecodeError::Payload { .. }));
}

#[test]
fn tags_come_from_marked_fields_and_an_empty_option_gives_none() {
    let tags = |event: AccountEvent| {
        let tags = event.tags().unwrap();
        tags.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(tags(opened("alice", Some(3))), ["owner:alice", "branch:3"]);
    assert_eq!(tags(opened("alice", None)), ["owner:alice"]);
    assert_eq!(tags(AccountEvent::Deposited(5)), ["cents:5"]);
    assert_eq!(tags(AccountEvent::Closed), [""; 0]);
}

#[test]
fn a_text_that_can_not_be_a_tag_is_an_error() {
    for owner in [String::new(), "a\0b".into(), "x".repeat(256)] {
        assert!(opened(&owner, None).tags().is_err(), "{owner:?}");
    }
}

#[test]
fn a_union_reads_what_any_member_knows_and_nothing_else() {
    let read = |name| BankEvent::decode(name, 1, b"{}").unwrap();
    assert_eq!(
        read("http_call.http_request_sent"),
        Some(CallEvent::HTTPRequestSent.into())
    );
    assert_eq!(read("account.closed"), Some(AccountEvent::Closed.into()));
    assert_eq!(read("weather.changed"), None);
}

#[test]
fn a_union_passes_on_what_a_member_can_not_read() {
    assert!(BankEvent::decode("account.opened", 1, b"{}").is_err());
}

#[test]
fn a_union_of_unions_covers_all_categories() {
    assert_eq!(Everything::categories(), ["account", "http_call"]);
    let event = Everything::decode("account.closed", 1, b"{}").unwrap();
    let expected = BankEvent::Account(AccountEvent::Closed);
    assert_eq!(event, Some(Everything::Bank(expected)));
}
