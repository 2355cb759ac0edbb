//! Takes packed pages apart.
//!
//! `sql/page.sql` writes each event as fields with a line feed after each: five numbers, four
//! texts, three ids, then the payload, whose length is the fifth number. The frame has no line
//! feed after the payload.

use std::{collections::HashMap, sync::Arc};

use annals_core::{
    CausationId, CorrelationId, EventHeader, EventId, EventType, Metadata, Position, StoredEvent,
    StreamName, Tag, TraceContext, Version,
};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A larger payload is left out of the frame; the statement has the same number.
pub(crate) const MAX_PACKED_PAYLOAD: usize = 32768;

/// An event from a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// The event; its payload is empty when it was left out.
    pub(crate) event: StoredEvent,
    /// How many bytes the payload has.
    pub(crate) payload_bytes: usize,
}

impl Unpacked {
    /// Whether the payload has still to be fetched.
    pub(crate) fn lacks_payload(&self) -> bool {
        self.payload_bytes > MAX_PACKED_PAYLOAD
    }
}

/// Bytes that are no frame; says what was expected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored event has no valid {0}")]
pub(crate) struct Malformed(&'static str);

/// What the column `metadata` holds: all but the two ids, which have columns of their own.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StoredMetadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<TraceContext>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    extra: std::collections::BTreeMap<String, String>,
}

/// The text of the column `metadata`; none when there is nothing to keep.
pub(crate) fn metadata_text(metadata: &Metadata) -> Result<Option<String>, serde_json::Error> {
    if metadata.actor.is_none() && metadata.trace.is_none() && metadata.extra.is_empty() {
        return Ok(None);
    }
    let stored = StoredMetadata {
        actor: metadata.actor.clone(),
        trace: metadata.trace.clone(),
        extra: metadata.extra.clone(),
    };
    serde_json::to_string(&stored).map(Some)
}

/// The text of the column `tags`; none when there are none.
pub(crate) fn tags_text(tags: &[Tag]) -> Result<Option<String>, serde_json::Error> {
    if tags.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(tags).map(Some)
}

/// Takes all frames of a page apart.
pub(crate) fn unpack(page: &[u8]) -> Result<Vec<Unpacked>, Malformed> {
    let mut frames = Frames {
        rest: page,
        streams: HashMap::new(),
        types: HashMap::new(),
    };
    let mut events = Vec::new();
    while !frames.rest.is_empty() {
        events.push(frames.event()?);
    }
    Ok(events)
}

/// The frames that are left, and the names met so far: most names of a page come many times.
struct Frames<'a> {
    rest: &'a [u8],
    streams: HashMap<&'a str, StreamName>,
    types: HashMap<&'a str, EventType>,
}

impl<'a> Frames<'a> {
    fn event(&mut self) -> Result<Unpacked, Malformed> {
        let position = Position::new(self.count("position")?);
        let version = Version::new(self.count("version")?);
        let schema_version = u32::try_from(self.count("schema version")?)
            .map_err(|_| Malformed("schema version"))?;
        let recorded_at =
            DateTime::from_timestamp_micros(self.number("time")?).ok_or(Malformed("time"))?;
        let payload_bytes = usize::try_from(self.count("payload length")?)
            .map_err(|_| Malformed("payload length"))?;
        let stream = self.stream()?;
        let event_type = self.event_type()?;
        let stored: StoredMetadata = self.json("metadata")?;
        let tags = self.json("tags")?;
        let id = EventId::new(self.id("id")?);
        let metadata = Metadata {
            correlation_id: CorrelationId::new(self.id("correlation id")?),
            causation_id: CausationId::new(self.id("causation id")?),
            actor: stored.actor,
            trace: stored.trace,
            extra: stored.extra,
        };
        let packed = if payload_bytes > MAX_PACKED_PAYLOAD {
            0
        } else {
            payload_bytes
        };
        let payload = self.take(packed, "payload")?.to_vec();
        let header = EventHeader {
            position,
            stream,
            version,
            id,
            event_type,
            schema_version,
            recorded_at,
            tags,
            metadata,
        };
        let event = StoredEvent {
            header: Arc::new(header),
            payload,
        };
        Ok(Unpacked {
            event,
            payload_bytes,
        })
    }

    fn stream(&mut self) -> Result<StreamName, Malformed> {
        let name = self.text("stream")?;
        if let Some(known) = self.streams.get(name) {
            return Ok(known.clone());
        }
        let stream = StreamName::parse(name).map_err(|_| Malformed("stream"))?;
        self.streams.insert(name, stream.clone());
        Ok(stream)
    }

    fn event_type(&mut self) -> Result<EventType, Malformed> {
        let name = self.text("type")?;
        if let Some(known) = self.types.get(name) {
            return Ok(known.clone());
        }
        let event_type = EventType::new(name).map_err(|_| Malformed("type"))?;
        self.types.insert(name, event_type.clone());
        Ok(event_type)
    }

    fn json<T: Default + Deserialize<'a>>(&mut self, what: &'static str) -> Result<T, Malformed> {
        match self.line(what)? {
            [] => Ok(T::default()),
            json => serde_json::from_slice(json).map_err(|_| Malformed(what)),
        }
    }

    fn id(&mut self, what: &'static str) -> Result<Uuid, Malformed> {
        let bytes = self.take(16, what)?;
        self.take(1, what)?;
        Uuid::from_slice(bytes).map_err(|_| Malformed(what))
    }

    fn count(&mut self, what: &'static str) -> Result<u64, Malformed> {
        u64::try_from(self.number(what)?).map_err(|_| Malformed(what))
    }

    fn number(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let line = self.line(what)?;
        let (negative, digits) = match line.split_first() {
            Some((b'-', digits)) => (true, digits),
            _ => (false, line),
        };
        if digits.is_empty() {
            return Err(Malformed(what));
        }
        let number = digits.iter().try_fold(0_i64, |number, byte| {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number.checked_mul(10)?.checked_add(i64::from(digit))
        });
        let number = number.ok_or(Malformed(what))?;
        Ok(if negative { -number } else { number })
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.line(what)?).map_err(|_| Malformed(what))
    }

    fn line(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or(Malformed(what))?, what)?;
        self.take(1, what)?;
        Ok(line)
    }

    fn take(&mut self, bytes: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed(what))?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = format!(
            "7\n2\n1\n-1\n{}\naccount-a\naccount.opened\n{{\"actor\":\"bob\"}}\n[\"owner:alice\"]\n",
            payload.len()
        )
        .into_bytes();
        for byte in [10, 0, 255] {
            frame.extend([byte; 16]);
            frame.push(b'\n');
        }
        if payload.len() <= MAX_PACKED_PAYLOAD {
            frame.extend(payload);
        }
        frame
    }

    #[test]
    fn frames_come_apart_whatever_bytes_ids_and_payload_have() {
        let page = [frame(b"\n\0\xff,"), frame(b"")].concat();
        let events = unpack(&page).unwrap();
        assert_eq!(events.len(), 2);
        let first = &events[0].event;
        assert_eq!(first.payload, b"\n\0\xff,");
        assert_eq!(first.position, Position::new(7));
        assert_eq!(first.version, Version::new(2));
        assert_eq!(first.id.uuid().as_bytes(), &[10; 16]);
        assert_eq!(first.metadata.causation_id.uuid().as_bytes(), &[255; 16]);
        assert_eq!(first.metadata.actor.as_deref(), Some("bob"));
        assert_eq!(first.tags, [Tag::parse("owner:alice").unwrap()]);
        assert_eq!(first.recorded_at.timestamp_micros(), -1);
        assert_eq!(events[1].event.payload, b"");
    }

    #[test]
    fn a_large_payload_is_left_to_be_fetched() {
        let events = unpack(&frame(&vec![1; MAX_PACKED_PAYLOAD + 1])).unwrap();
        assert!(events[0].lacks_payload());
        assert!(events[0].event.payload.is_empty());
    }

    #[test]
    fn a_frame_cut_off_anywhere_is_malformed() {
        let whole = frame(b"{}");
        for end in 1..whole.len() {
            assert!(unpack(&whole[..end]).is_err(), "cut off after {end} bytes");
        }
    }

    #[test]
    fn numbers_out_of_range_are_malformed() {
        let page = [b"99999999999999999999\n".as_slice(), &frame(b"")].concat();
        assert_eq!(unpack(&page).unwrap_err(), Malformed("position"));
    }
}
