//! Takes packed pages apart.
//!
//! `sql/page.sql` answers a page as one row, because sqlx takes longer to hand over a row than the
//! server to read it, and the server no longer to pack rows than to send them. Values come as
//! the bytes that the server sends; what does not have the form of its type is corruption.

use std::sync::Arc;

use annals_core::{
    CausationId, CorrelationId, EventHeader, EventId, EventType, Metadata, Position, StoreError,
    StoredEvent, StreamName, Tag, Version,
};
use chrono::{DateTime, Utc};
use sqlx::{
    Row as _,
    postgres::{PgRow, PgValueFormat},
};
use uuid::Uuid;

use crate::{error::failed, event_row::corrupt};

/// A larger payload is left out of the page; the statement has the same number.
const MAX_PACKED_PAYLOAD: usize = 16384;
/// What the texts of a page are separated by.
const SEPARATOR: char = '\u{1f}';
/// How many bytes the fixed columns of an event have.
const FIXED_BYTES: usize = 80;
/// Microseconds from 1970 to 2000, from where PostgreSQL counts.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// How many event types a reader remembers; programs seldom have more.
const KNOWN_TYPES: usize = 32;

/// An event from a page.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// The event; its payload is empty when it was left out.
    pub(crate) event: StoredEvent,
    /// Whether the payload has still to be fetched.
    pub(crate) lacks_payload: bool,
}

/// The events of the row that `sql/page.sql` answers.
///
/// `doing` says what is being done, as a fragment that fits "failed to ...".
pub(crate) fn unpack(row: &PgRow, doing: &'static str) -> Result<Vec<Unpacked>, StoreError> {
    let column = |index| column(row, index).map_err(failed(doing));
    let Some(fixed) = column(0)? else {
        return Ok(Vec::new());
    };
    let texts = [column(1)?, column(2)?, column(3)?, column(4)?];
    let payloads = column(5)?.unwrap_or_default();
    let events = events(fixed, texts.map(Option::unwrap_or_default), payloads);
    events.map_err(|error| corrupt(doing, error))
}

/// The events of a page: their fixed columns, streams, types, metadata and tags, payloads.
fn events(fixed: &[u8], texts: [&[u8]; 4], payloads: &[u8]) -> Result<Vec<Unpacked>, Malformed> {
    let [streams, types, metadata, tags] = texts.map(std::str::from_utf8);
    fn text(text: Result<&str, std::str::Utf8Error>) -> Result<&str, Malformed> {
        text.map_err(|_| Malformed("text"))
    }
    let mut page = Page {
        streams: text(streams)?.split(SEPARATOR),
        types: text(types)?.split(SEPARATOR),
        metadata: text(metadata)?.split(SEPARATOR),
        tags: text(tags)?.split(SEPARATOR),
        payloads,
        last_stream: None,
        known_types: Vec::new(),
    };
    let fixed = fixed.chunks(FIXED_BYTES);
    let events = fixed
        .map(|fixed| page.event(fixed))
        .collect::<Result<_, _>>()?;
    page.must_be_at_its_end()?;
    Ok(events)
}

/// The bytes of a column; none where it is NULL.
fn column(row: &PgRow, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.format() != PgValueFormat::Binary {
        return Err(sqlx::Error::Decode("the server does not send bytes".into()));
    }
    // NULL is the only error there is.
    Ok(value.as_bytes().ok())
}

/// A page is not what the statement packs; says what was expected.
#[derive(Debug, thiserror::Error)]
#[error("a stored event has no valid {0}")]
struct Malformed(&'static str);

/// What is left of a page, and the names met last: most names come many times.
struct Page<'r> {
    streams: std::str::Split<'r, char>,
    types: std::str::Split<'r, char>,
    metadata: std::str::Split<'r, char>,
    tags: std::str::Split<'r, char>,
    payloads: &'r [u8],
    last_stream: Option<StreamName>,
    known_types: Vec<EventType>,
}

impl Page<'_> {
    fn event(&mut self, fixed: &[u8]) -> Result<Unpacked, Malformed> {
        let mut fixed = Fixed(fixed);
        let position = Position::new(fixed.count("position")?);
        let version = Version::new(fixed.count("version")?);
        let schema_version = u32::from_be_bytes(fixed.take("schema version")?);
        let payload_bytes = usize::try_from(fixed.length()?);
        let payload_bytes = payload_bytes.map_err(|_| Malformed("payload length"))?;
        let id = EventId::new(fixed.uuid("id")?);
        let recorded_at = fixed.time()?;
        let correlation_id = CorrelationId::new(fixed.uuid("correlation id")?);
        let causation_id = CausationId::new(fixed.uuid("causation id")?);
        let lacks_payload = payload_bytes > MAX_PACKED_PAYLOAD;
        let packed = if lacks_payload { 0 } else { payload_bytes };
        let payload = self.payloads.split_off(..packed);
        let payload = payload.ok_or(Malformed("payload"))?.to_vec();
        let header = EventHeader {
            position,
            stream: self.stream()?,
            version,
            id,
            event_type: self.event_type()?,
            schema_version,
            recorded_at,
            tags: self.tags()?,
            metadata: self.metadata(correlation_id, causation_id)?,
        };
        Ok(Unpacked {
            event: StoredEvent {
                header: Arc::new(header),
                payload,
            },
            lacks_payload,
        })
    }

    fn stream(&mut self) -> Result<StreamName, Malformed> {
        let name = self.streams.next().ok_or(Malformed("stream"))?;
        if let Some(stream) = self.last_stream.as_ref().filter(|s| s.as_str() == name) {
            return Ok(stream.clone());
        }
        let stream = StreamName::parse(name).map_err(|_| Malformed("stream"))?;
        Ok(self.last_stream.insert(stream).clone())
    }

    fn event_type(&mut self) -> Result<EventType, Malformed> {
        let name = self.types.next().ok_or(Malformed("type"))?;
        let mut known = self.known_types.iter();
        if let Some(known) = known.find(|known| known.as_str() == name) {
            return Ok(known.clone());
        }
        let event_type = EventType::new(name).map_err(|_| Malformed("type"))?;
        if self.known_types.len() < KNOWN_TYPES {
            self.known_types.push(event_type.clone());
        }
        Ok(event_type)
    }

    fn tags(&mut self) -> Result<Vec<Tag>, Malformed> {
        match self.tags.next() {
            Some("") => Ok(Vec::new()),
            Some(tags) => serde_json::from_str(tags).map_err(|_| Malformed("tags")),
            None => Err(Malformed("tags")),
        }
    }

    fn metadata(
        &mut self,
        correlation_id: CorrelationId,
        causation_id: CausationId,
    ) -> Result<Metadata, Malformed> {
        let text = self.metadata.next().ok_or(Malformed("metadata"))?;
        let text = (!text.is_empty()).then_some(text);
        let metadata = Metadata::with_free_form(correlation_id, causation_id, text);
        metadata.map_err(|_| Malformed("metadata"))
    }

    /// There is neither more nor less of any column than of events.
    fn must_be_at_its_end(mut self) -> Result<(), Malformed> {
        let texts = [
            &mut self.streams,
            &mut self.types,
            &mut self.metadata,
            &mut self.tags,
        ];
        let left_over = texts.into_iter().any(|text| text.next().is_some());
        match left_over || !self.payloads.is_empty() {
            true => Err(Malformed("number of columns")),
            false => Ok(()),
        }
    }
}

/// The fixed columns of an event that are left, as the server sends them:
/// <https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES>.
struct Fixed<'r>(&'r [u8]);

impl Fixed<'_> {
    fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed(what))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self, what: &'static str) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.take(what)?))
    }

    fn count(&mut self, what: &'static str) -> Result<u64, Malformed> {
        u64::try_from(self.number(what)?).map_err(|_| Malformed(what))
    }

    fn length(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.take("payload length")?))
    }

    fn uuid(&mut self, what: &'static str) -> Result<Uuid, Malformed> {
        Ok(Uuid::from_bytes(self.take(what)?))
    }

    fn time(&mut self) -> Result<DateTime<Utc>, Malformed> {
        let since_epoch = self.number("time")?.checked_add(EPOCH_MICROS);
        since_epoch
            .and_then(DateTime::from_timestamp_micros)
            .ok_or(Malformed("time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(position: i64, payload_bytes: i32) -> Vec<u8> {
        let mut fixed = Vec::new();
        for number in [position, position + 10] {
            fixed.extend(number.to_be_bytes());
        }
        fixed.extend(2_u32.to_be_bytes());
        fixed.extend(payload_bytes.to_be_bytes());
        fixed.extend([7; 16]);
        fixed.extend(1_000_000_i64.to_be_bytes());
        fixed.extend([8; 16]);
        fixed.extend([9; 16]);
        fixed
    }

    const TEXTS: [&[u8]; 4] = [
        b"account-1\x1faccount-2",
        b"account.opened\x1faccount.opened",
        b"{\"actor\":\"alice\"}\x1f",
        b"\x1f[\"owner:bob\"]",
    ];

    #[test]
    fn a_page_is_taken_apart() {
        let mut both = [fixed(1, 3), fixed(2, 40_000)].concat();
        both[FIXED_BYTES + 16..][..4].copy_from_slice(&u32::MAX.to_be_bytes());
        let events = events(&both, TEXTS, b"{ }").unwrap();
        let [first, second] = events.try_into().unwrap();
        assert_eq!(first.event.payload, b"{ }");
        assert!(!first.lacks_payload);
        let header = &first.event.header;
        assert_eq!(header.position, Position::new(1));
        assert_eq!(header.version, Version::new(11));
        assert_eq!(header.stream.as_str(), "account-1");
        assert_eq!(header.schema_version, 2);
        assert_eq!(header.id.uuid(), Uuid::from_bytes([7; 16]));
        assert_eq!(header.recorded_at.to_rfc3339(), "2000-01-01T00:00:01+00:00");
        assert_eq!(header.metadata.actor.as_deref(), Some("alice"));
        assert!(header.tags.is_empty());
        assert!(second.lacks_payload && second.event.payload.is_empty());
        assert_eq!(second.event.stream.as_str(), "account-2");
        assert_eq!(second.event.schema_version, u32::MAX);
        assert_eq!(second.event.metadata.actor, None);
        assert_eq!(second.event.tags, [Tag::new("owner", "bob").unwrap()]);
    }

    #[test]
    fn what_does_not_fit_together_is_malformed() {
        let both = [fixed(1, 3), fixed(2, 0)].concat();
        let one_name: [&[u8]; 4] = [b"account-1", TEXTS[1], TEXTS[2], TEXTS[3]];
        let no_stream: [&[u8]; 4] = [b"account-1\x1fnothing", TEXTS[1], TEXTS[2], TEXTS[3]];
        let no_text: [&[u8]; 4] = [TEXTS[0], b"\xff", TEXTS[2], TEXTS[3]];
        let no_json: [&[u8]; 4] = [TEXTS[0], TEXTS[1], b"{\x1f", TEXTS[3]];
        let cut = &both[..both.len() - 1];
        let negative = [fixed(1, -1), fixed(2, 0)].concat();
        let below_zero = [fixed(-1, 3), fixed(2, 0)].concat();
        let cases: [(&[u8], _, &[u8], _); 10] = [
            (&both, TEXTS, b"{ }", true),
            (&both, one_name, b"{ }", false),
            (&both, no_stream, b"{ }", false),
            (&both, no_text, b"{ }", false),
            (&both, no_json, b"{ }", false),
            (&both, TEXTS, b"{}", false),
            (&both, TEXTS, b"{ } ", false),
            (cut, TEXTS, b"{ }", false),
            (&negative, TEXTS, b"", false),
            (&below_zero, TEXTS, b"{ }", false),
        ];
        for (number, (fixed, texts, payloads, sound)) in cases.into_iter().enumerate() {
            assert_eq!(
                events(fixed, texts, payloads).is_ok(),
                sound,
                "case {number}"
            );
        }
        assert!(
            events(&fixed(1, 3), TEXTS, b"{ }").is_err(),
            "more names than events"
        );
    }
}
