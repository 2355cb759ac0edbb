//! JSON in one form, whatever order the keys of its objects have.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A JSON value that is written with the keys of all objects in order.
///
/// `serde_json` itself does so unless some crate of the application turns on its feature
/// `preserve_order`, which a later release may do or not: what was told by the bytes before must
/// be told by the same bytes then.
pub(super) struct Canonical<'a>(pub(super) &'a Value);

impl Canonical<'_> {
    /// The text, without spaces.
    pub(super) fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| (key, Canonical(value)));
                serializer.collect_map(fields.collect::<BTreeMap<_, _>>())
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Canonical)),
            simple => simple.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `--features serde_json/preserve_order`, it is this module alone that puts the keys in order.
    #[test]
    fn the_order_of_keys_makes_no_difference() {
        let text = |json: &str| Canonical(&serde_json::from_str(json).unwrap()).text();
        let one = text(r#"{"to":{"id":"b","at":[{"y":1,"x":2}]},"cents":30}"#).unwrap();
        let other = text(r#"{"cents":30,"to":{"at":[{"x":2,"y":1}],"id":"b"}}"#).unwrap();
        assert_eq!(one, other);
        assert_eq!(one, r#"{"cents":30,"to":{"at":[{"x":2,"y":1}],"id":"b"}}"#);
    }

    /// Which is how fingerprints were made before: those in the log stay as they are.
    #[test]
    fn it_is_what_serde_json_writes_of_ordered_keys() {
        let json = r#"{"a":[null,true,-1,1.5,18446744073709551615,"ä\n"],"b":{},"c":{"d":[]}}"#;
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(Canonical(&value).text().unwrap(), json);
        assert_eq!(value.to_string(), json);
    }
}
