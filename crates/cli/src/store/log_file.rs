//! A log as a file: JSON Lines, described in the guide's chapter on moving a log.
//!
//! One line tells what the file is, one each event, one what each append with an id brought
//! about, and the last one what there must have been.

mod read;
mod write;

use std::{borrow::Cow, sync::Arc};

use annals_core::{
    AppendId, EventHeader, EventId, EventType, Fingerprint, Metadata, Position, RecordedAppend,
    StoredEvent, StreamName, Tag, Version,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, SubsecRound as _, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(super) use read::{Content, Piece, ReadError, Source};
pub(super) use write::Destination;

/// The version of the file's format, which rises when an older release could not read a file.
const FORMAT: u32 = 1;

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a> {
    /// The first line: what the file is.
    Log(Header),
    /// An event.
    #[serde(borrow)]
    Event(Box<EventLine<'a>>),
    /// What an append with an id brought about.
    Append(AppendLine),
    /// The last line: what there must have been.
    End(Totals),
}

/// What the file is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    pub(super) head: Position,
}

impl Header {
    pub(super) fn new(head: Position) -> Self {
        Self {
            format: FORMAT,
            head,
        }
    }
}

/// What a file holds: how many lines of each kind, and the digest of their bytes in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) events: u64,
    pub(super) appends: u64,
    pub(super) sha256: String,
}

/// An event, with its payload as text where it is UTF-8.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventLine<'a> {
    position: Position,
    stream: StreamName,
    version: Version,
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    schema_version: u32,
    recorded_at: DateTime<Utc>,
    tags: Cow<'a, [Tag]>,
    metadata: Cow<'a, Metadata>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl<'a> EventLine<'a> {
    fn new(event: &'a StoredEvent) -> Self {
        let payload = std::str::from_utf8(&event.payload).ok().map(Cow::Borrowed);
        let encode = || BASE64_STANDARD.encode(&event.payload);
        Self {
            position: event.position,
            stream: event.stream.clone(),
            version: event.version,
            id: event.id,
            event_type: event.event_type.clone(),
            schema_version: event.schema_version,
            // What a store keeps.
            recorded_at: event.recorded_at.trunc_subsecs(6),
            tags: Cow::Borrowed(&event.tags),
            metadata: Cow::Borrowed(&event.metadata),
            payload_base64: payload.is_none().then(encode),
            payload,
        }
    }

    fn into_event(self) -> Result<StoredEvent, String> {
        let payload = match (self.payload, self.payload_base64) {
            (Some(text), None) => text.into_owned().into_bytes(),
            (None, Some(base64)) => BASE64_STANDARD
                .decode(base64)
                .map_err(|error| format!("the payload is not base64: {error}"))?,
            _ => return Err("it needs either `payload` or `payload_base64`".to_owned()),
        };
        let header = EventHeader {
            position: self.position,
            stream: self.stream,
            version: self.version,
            id: self.id,
            event_type: self.event_type,
            schema_version: self.schema_version,
            recorded_at: self.recorded_at,
            tags: self.tags.into_owned(),
            metadata: self.metadata.into_owned(),
        };
        Ok(StoredEvent {
            header: Arc::new(header),
            payload,
        })
    }
}

/// What an append with an id brought about; the fingerprint is 32 hexadecimal digits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AppendLine {
    id: AppendId,
    fingerprint: String,
    position: Position,
    versions: Vec<Version>,
}

impl AppendLine {
    fn new(append: &RecordedAppend) -> Self {
        Self {
            id: append.id,
            fingerprint: format!("{:032x}", u128::from_be_bytes(append.fingerprint)),
            position: append.position,
            versions: append.versions.clone(),
        }
    }

    fn into_append(self) -> Result<RecordedAppend, String> {
        let digits = Some(&self.fingerprint).filter(|digits| digits.len() == 32);
        let fingerprint = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        let fingerprint: Fingerprint = fingerprint
            .ok_or("the fingerprint is not 32 hexadecimal digits")?
            .to_be_bytes();
        Ok(RecordedAppend {
            id: self.id,
            fingerprint,
            position: self.position,
            versions: self.versions,
        })
    }
}

/// The bytes of a line, its line feed included.
pub(super) fn encode(line: &Line<'_>, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    buffer.clear();
    serde_json::to_writer(&mut *buffer, line)?;
    buffer.push(b'\n');
    Ok(())
}

/// Counts and digests the lines of a log, whichever store it is in.
///
/// The digest is that of the bytes which `store export` writes for events and appends, so
/// changing a line's form changes the digest of every log.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    events: u64,
    appends: u64,
    digest: Sha256,
    buffer: Vec<u8>,
}

impl Tally {
    /// Takes in an event, and answers its line.
    pub(super) fn event(&mut self, event: &StoredEvent) -> std::io::Result<&[u8]> {
        encode(
            &Line::Event(Box::new(EventLine::new(event))),
            &mut self.buffer,
        )?;
        self.events += 1;
        self.digest.update(&self.buffer);
        Ok(&self.buffer)
    }

    /// Takes in an append, and answers its line.
    pub(super) fn append(&mut self, append: &RecordedAppend) -> std::io::Result<&[u8]> {
        encode(&Line::Append(AppendLine::new(append)), &mut self.buffer)?;
        self.appends += 1;
        self.digest.update(&self.buffer);
        Ok(&self.buffer)
    }

    /// What was taken in.
    pub(super) fn totals(&self) -> Totals {
        let digest = self.digest.clone().finalize();
        Totals {
            events: self.events,
            appends: self.appends,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}
