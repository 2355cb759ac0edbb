//! The reference model: what a store is, in the simplest words.

use annals_core::{
    Append, AppendError, AppendId, Appended, EventHeader, Fingerprint, LogRead, NewEvent, Position,
    StoredEvent, StreamName, StreamRead, Version, order::Direction,
};

/// A log in a vector, without any concurrency: what every store must look like from outside.
#[derive(Clone, Debug, Default)]
pub struct Model {
    base: Position,
    log: Vec<StoredEvent>,
    appends: Vec<(Append, Appended)>,
}

impl Model {
    /// An empty log whose first event comes right after this position.
    #[must_use]
    pub fn after(base: Position) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// The last event's position.
    #[must_use]
    pub fn head(&self) -> Position {
        self.log.last().map_or(self.base, |last| last.position)
    }

    /// All events.
    #[must_use]
    pub fn log(&self) -> &[StoredEvent] {
        &self.log
    }

    /// A stream's last version.
    #[must_use]
    pub fn stream_version(&self, stream: &StreamName) -> Version {
        let mut events = self.log.iter().filter(|event| event.stream == *stream);
        events
            .next_back()
            .map_or(Version::NONE, |event| event.version)
    }

    /// Appends as a store does.
    ///
    /// # Errors
    /// As a store answers.
    pub fn append(&mut self, append: Append) -> Result<Appended, AppendError> {
        append.validate()?;
        if let Some(earlier) = self.repeats(&append)? {
            return Ok(earlier);
        }
        for write in &append.writes {
            let actual = self.stream_version(&write.stream);
            if !write.expected.is_met_by(actual) {
                return Err(AppendError::Conflict {
                    stream: write.stream.clone(),
                    expected: write.expected,
                    actual,
                });
            }
        }
        if let Some(position) = self.in_the_way(&append) {
            return Err(AppendError::ConditionFailed { position });
        }
        let mut versions = Vec::new();
        for write in &append.writes {
            for event in &write.events {
                self.push(&write.stream, event, &append);
            }
            versions.push(self.stream_version(&write.stream));
        }
        let appended = Appended {
            position: self.head(),
            versions,
            repeated: false,
        };
        self.appends.push((append, appended.clone()));
        Ok(appended)
    }

    /// What an earlier append with this id brought about.
    #[must_use]
    pub fn find_append(&self, id: AppendId) -> Option<(Appended, Fingerprint)> {
        let mut appends = self.appends.iter();
        let found = appends.find(|(append, _)| append.id == Some(id));
        found.map(|(append, appended)| (appended.clone(), append.fingerprint))
    }

    /// The answer to an append that was there before.
    fn repeats(&self, append: &Append) -> Result<Option<Appended>, AppendError> {
        let again = |appended: &Appended| {
            Some(Appended {
                repeated: true,
                ..appended.clone()
            })
        };
        if let Some(id) = append.id
            && let Some((appended, fingerprint)) = self.find_append(id)
        {
            if fingerprint == append.fingerprint {
                return Ok(again(&appended));
            }
            return Err(AppendError::IdReused {
                kind: "append",
                id: id.uuid(),
            });
        }
        let known = append
            .writes
            .iter()
            .flat_map(|write| &write.events)
            .find(|event| self.log.iter().any(|stored| stored.id == event.id));
        let Some(known) = known else { return Ok(None) };
        let mut earlier = self.appends.iter();
        let same = earlier.find(|(earlier, _)| {
            let streams = |append: &Append| {
                let with_events = append
                    .writes
                    .iter()
                    .filter(|write| !write.events.is_empty());
                with_events
                    .map(|write| (write.stream.clone(), write.events.clone()))
                    .collect::<Vec<_>>()
            };
            streams(earlier) == streams(append)
        });
        same.map(|(_, appended)| again(appended))
            .ok_or(AppendError::IdReused {
                kind: "event",
                id: known.id.uuid(),
            })
    }

    fn in_the_way(&self, append: &Append) -> Option<Position> {
        let condition = append.condition.as_ref()?;
        let mut later = self
            .log
            .iter()
            .filter(|event| event.position > condition.after);
        let first = later.find(|event| condition.query.matches(event));
        first.map(|event| event.position)
    }

    fn push(&mut self, stream: &StreamName, event: &NewEvent, append: &Append) {
        let header = EventHeader {
            position: self.head().next(),
            stream: stream.clone(),
            version: self.stream_version(stream).next(),
            id: event.id,
            event_type: event.event_type.clone(),
            schema_version: event.schema_version,
            recorded_at: append.recorded_at,
            tags: event.tags.clone(),
            metadata: event.metadata.clone(),
        };
        self.log.push(StoredEvent {
            header: header.into(),
            payload: event.payload.clone(),
        });
    }

    /// A page of a stream.
    #[must_use]
    pub fn read_stream(&self, read: &StreamRead) -> Vec<StoredEvent> {
        let of_stream = |event: &&StoredEvent| event.stream == read.stream;
        let from = read.from;
        let events = self.log.iter().filter(of_stream);
        let page: Vec<_> = match read.direction {
            Direction::Forwards => events.filter(|event| event.version > from).collect(),
            Direction::Backwards => events
                .rev()
                .filter(|event| from == Version::NONE || event.version < from)
                .collect(),
        };
        page.into_iter().take(read.limit).cloned().collect()
    }

    /// The events of a page of the log.
    #[must_use]
    pub fn read_log(&self, read: &LogRead) -> Vec<StoredEvent> {
        let from = read.from;
        let events = self.log.iter().filter(|event| read.query.matches(event));
        let page: Vec<_> = match read.direction {
            Direction::Forwards => events.filter(|event| event.position > from).collect(),
            Direction::Backwards => events
                .rev()
                .filter(|event| from == Position::START || event.position < from)
                .collect(),
        };
        page.into_iter().take(read.limit).cloned().collect()
    }
}
