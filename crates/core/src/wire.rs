//! The payload of one enum variant, without its name: the name is the event type.
//!
//! serde writes an enum as `{"Deposited":{...}}`. The log keeps `{...}` as payload and the
//! name as event type, so these adapters drop the outer layer on the way out and supply it on
//! the way in, in one pass and without an intermediate value.

pub(crate) mod read;
pub(crate) mod write;

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::{read::variant_from_slice, write::variant_to_vec};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Unit,
        Newtype(u32),
        Tuple(u32, String),
        Struct { a: u32, b: Option<String> },
    }

    #[test]
    fn every_variant_form_round_trips_without_its_name() {
        let cases = [
            ("Unit", Shape::Unit, "{}"),
            ("Newtype", Shape::Newtype(7), "7"),
            ("Tuple", Shape::Tuple(7, "x".into()), r#"[7,"x"]"#),
            (
                "Struct",
                Shape::Struct { a: 7, b: None },
                r#"{"a":7,"b":null}"#,
            ),
        ];
        for (name, shape, json) in cases {
            let payload = variant_to_vec(&shape).unwrap();
            assert_eq!(String::from_utf8_lossy(&payload), json);
            assert_eq!(variant_from_slice::<Shape>(name, &payload).unwrap(), shape);
        }
    }

    #[test]
    fn what_follows_the_payload_is_an_error() {
        assert!(variant_from_slice::<Shape>("Newtype", b"7 8").is_err());
        assert!(variant_from_slice::<Shape>("Unit", b"{} x").is_err());
    }

    #[test]
    fn only_enums_are_events() {
        assert!(variant_to_vec(&7_u32).is_err());
    }
}
