//! An aggregate's state from its stream.

use std::sync::Arc;

use annals_core::{
    Aggregate, Category, DecodeError, Event, EventStore, Id, InvalidName, Position, StoredEvent,
    StreamName, StreamRead, Version,
};

use super::error::LoadError;

/// Streams of any length are read in pages, so that memory stays bounded.
const PAGE: usize = 1_000;

/// An aggregate's state as of a version of its stream.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    /// The state; `A::default()` when the stream has no events.
    pub state: Arc<A>,
    /// The version of the last event that the state includes.
    pub version: Version,
    /// That event's place in the log, where it is known: a state from a snapshot does not know.
    pub position: Position,
}

impl<A: Aggregate> Loaded<A> {
    /// The state before anything happened.
    pub(crate) fn empty() -> Self {
        Self {
            state: Arc::default(),
            version: Version::NONE,
            position: Position::START,
        }
    }

    /// Applies what came after, up to `last` where given; tells whether there was anything.
    pub(crate) async fn catch_up(
        &mut self,
        store: &dyn EventStore,
        stream: &StreamName,
        last: Option<Version>,
    ) -> Result<bool, LoadError> {
        let before = self.version;
        loop {
            let wanted = last.map_or(u64::MAX, |last| {
                last.get().saturating_sub(self.version.get())
            });
            let limit = usize::try_from(wanted).unwrap_or(PAGE).min(PAGE);
            if limit == 0 {
                break;
            }
            let read = StreamRead::after(stream.clone(), self.version, limit);
            let events = store.read_stream(read.clone()).await?;
            self.evolve_stored(&events)?;
            if read.ends_with(&events) {
                break;
            }
        }
        Ok(self.version != before)
    }

    /// Applies events that this process has just decided and appended.
    pub(crate) fn evolve_decided(
        &mut self,
        events: &[A::Event],
        version: Version,
        position: Position,
    ) {
        let state = Arc::make_mut(&mut self.state);
        events.iter().for_each(|event| state.evolve(event));
        self.version = version;
        self.position = position;
    }

    fn evolve_stored(&mut self, events: &[StoredEvent]) -> Result<(), LoadError> {
        if events.is_empty() {
            return Ok(()); // spares a copy of a state that somebody else looks at
        }
        let state = Arc::make_mut(&mut self.state);
        for stored in events {
            state.evolve(&decode::<A>(stored)?);
            self.version = stored.version;
            self.position = stored.position;
        }
        Ok(())
    }
}

fn decode<A: Aggregate>(stored: &StoredEvent) -> Result<A::Event, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        stream: stored.stream.clone(),
        version: stored.version,
        source,
    };
    // A stream is its aggregate's own: a type that the aggregate does not know is never skipped.
    stored
        .decode::<A::Event>()
        .map_err(unreadable)?
        .map(|recorded| recorded.event)
        .ok_or_else(|| {
            unreadable(DecodeError::UnknownType {
                event_type: stored.event_type.as_str().to_owned(),
                stream: stored.stream.clone(),
            })
        })
}

/// The stream of an aggregate instance.
pub(crate) fn stream_of<A: Aggregate>(id: &A::Id) -> Result<StreamName, InvalidName> {
    StreamName::parse(&format!(
        "{}-{}",
        Category::new(A::Event::CATEGORY)?,
        id.to_text()
    ))
}
