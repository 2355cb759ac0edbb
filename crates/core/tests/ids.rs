//! What `#[derive(Id)]` accepts, and that every way in checks it.

use annals_core::{ColumnType, ColumnValue, Id, Value};
use uuid::Uuid;

#[derive(Id, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[id(crate = annals_core)]
struct UserId(String);

#[derive(Id, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[id(crate = annals_core)]
struct AccountId(Uuid);

#[derive(Id, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[id(crate = annals_core)]
struct InvoiceNumber(u32);

fn refused() -> [String; 4] {
    [
        String::new(),
        "a\0b".into(),
        "line\nbreak".into(),
        "x".repeat(256),
    ]
}

#[test]
fn any_printable_text_of_up_to_255_bytes_is_an_id() {
    let texts = [
        "alice".to_owned(),
        "o'brien \"x\" -- ; drop".to_owned(),
        "größe-日本-🦀".to_owned(),
        "a-b:c/d".to_owned(),
        "x".repeat(255),
    ];
    for text in texts {
        let id: UserId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.as_ref(), text);
    }
}

#[test]
fn an_empty_or_long_text_and_control_characters_are_refused_by_every_way_in() {
    for text in refused() {
        assert!(UserId::from_text(&text).is_err(), "{text:?}");
        assert!(text.parse::<UserId>().is_err(), "{text:?}");
        assert!(UserId::from_value(Value::Text(text.clone())).is_err());
        assert!(serde_json::from_value::<UserId>(text.into()).is_err());
    }
}

#[test]
fn reading_json_says_what_is_wrong_with_the_id() {
    let error = serde_json::from_str::<UserId>(r#""a\u0000b""#).unwrap_err();
    let expected = UserId::from_text("a\0b").unwrap_err().to_string();
    assert!(error.to_string().starts_with(&expected), "{error}");

    let error = serde_json::from_str::<InvoiceNumber>(r#""seven""#).unwrap_err();
    let expected = "\"seven\" is not a valid InvoiceNumber: invalid digit found in string";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn an_id_that_could_not_be_read_back_is_not_written() {
    for text in refused() {
        assert!(serde_json::to_string(&UserId(text)).is_err());
    }
}

#[test]
fn all_ids_are_text_in_json_whatever_they_wrap() {
    let uuid = Uuid::from_u128(7);
    let json = serde_json::to_string(&(AccountId(uuid), InvoiceNumber(7))).unwrap();
    assert_eq!(json, r#"["00000000-0000-0000-0000-000000000007","7"]"#);
    let read: (AccountId, InvoiceNumber) = serde_json::from_str(&json).unwrap();
    assert_eq!(read, (AccountId(uuid), InvoiceNumber(7)));
}

#[test]
fn an_id_is_a_key_of_a_json_object() {
    let names = std::collections::BTreeMap::from([(InvoiceNumber(7), "first")]);
    assert_eq!(serde_json::to_string(&names).unwrap(), r#"{"7":"first"}"#);
}

#[test]
fn a_number_out_of_range_is_refused() {
    assert!("4294967296".parse::<InvoiceNumber>().is_err());
    assert!("-1".parse::<InvoiceNumber>().is_err());
}

#[test]
fn an_id_is_a_text_column() {
    assert_eq!(<InvoiceNumber as ColumnValue>::TYPE, ColumnType::Text);
    let value = InvoiceNumber(7).to_value();
    assert_eq!(value, Value::Text("7".into()));
    assert_eq!(InvoiceNumber::from_value(value), Ok(InvoiceNumber(7)));
    assert!(InvoiceNumber::from_value(Value::Integer(7)).is_err());
}

#[test]
fn display_honours_width() {
    assert_eq!(format!("[{:>3}]", InvoiceNumber(7)), "[  7]");
}
