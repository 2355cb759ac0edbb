//! A stored event as operators see it.

use std::borrow::Cow;

use annals_core::{Metadata, StoredEvent, Tag};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::shown::{plain, time};

/// A stored event as a JSON object, with its payload as it was written.
#[derive(Serialize)]
pub(crate) struct EventDocument<'a> {
    position: u64,
    stream: &'a str,
    version: u64,
    id: String,
    #[serde(rename = "type")]
    event_type: &'a str,
    schema_version: u32,
    recorded_at: String,
    tags: &'a [Tag],
    metadata: &'a Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    /// Where the payload is not JSON: its bytes, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_bytes: Option<String>,
}

impl<'a> EventDocument<'a> {
    pub(crate) fn new(event: &'a StoredEvent) -> Self {
        let payload = json(&event.payload);
        let payload_bytes = payload.is_none().then(|| hexadecimal(&event.payload));
        Self {
            position: event.position.get(),
            stream: event.stream.as_str(),
            version: event.version.get(),
            id: event.id.to_string(),
            event_type: event.event_type.as_str(),
            schema_version: event.schema_version,
            recorded_at: time(event.recorded_at),
            tags: &event.tags,
            metadata: &event.metadata,
            payload,
            payload_bytes,
        }
    }
}

/// The payload on one line of text.
pub(crate) fn payload(event: &StoredEvent) -> String {
    match json(&event.payload) {
        Some(json) => plain(json.get()),
        None => format!("0x{}", hexadecimal(&event.payload)),
    }
}

/// The payload as JSON on one line, if it is JSON: numbers, key order and all are left alone.
fn json(payload: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(payload).ok()?;
    // JSON allows line breaks between its tokens only, where a space will do as well.
    let line = match text.contains(['\n', '\r']) {
        true => Cow::Owned(text.replace(['\n', '\r'], " ")),
        false => Cow::Borrowed(text),
    };
    RawValue::from_string(line.into_owned()).ok()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_as_it_is_but_on_one_line() {
        let text = "{\"b\": 1.50,\r\n \"a\": 12345678901234567890}";
        let line = json(text.as_bytes()).map(|json| json.get().to_owned());
        let expected = "{\"b\": 1.50,   \"a\": 12345678901234567890}";
        assert_eq!(line.as_deref(), Some(expected));
    }

    #[test]
    fn bytes_that_are_no_json_are_shown_in_hexadecimal() {
        assert!(json(b"\x00\xff").is_none());
        assert!(json(b"\"a\nb\" x").is_none());
        assert_eq!(hexadecimal(b"\x00\xff"), "00ff");
    }
}
