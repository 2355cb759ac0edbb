//! Pages of the log, decoded once for all who read them.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    event::{DecodeError, EventSet, Recorded, StoredEvent},
    order::Position,
};

/// What a stored event is to a reader of `E`.
#[derive(Debug)]
pub enum Decoded<E> {
    /// One of `E`.
    Event(Recorded<E>),
    /// Of a category that `E` is not about.
    Foreign,
    /// Of a category that `E` is about, but of a type that `E` does not have.
    Unknown,
    /// One of `E`, but unreadable.
    Unreadable(DecodeError),
}

/// Consecutive events of the log, decoded at most once per event set however many read them.
pub struct Page {
    events: Vec<StoredEvent>,
    decoded: Mutex<Vec<(TypeId, Arc<dyn Any + Send + Sync>)>>,
}

impl Page {
    /// A page of these events, which follow each other in the log.
    #[must_use]
    pub fn new(events: Vec<StoredEvent>) -> Self {
        Self {
            events,
            decoded: Mutex::default(),
        }
    }

    /// The events as they are stored.
    #[must_use]
    pub fn events(&self) -> &[StoredEvent] {
        &self.events
    }

    /// The first event's position, unless the page is empty.
    #[must_use]
    pub fn first(&self) -> Option<Position> {
        self.events.first().map(|event| event.position)
    }

    /// The last event's position, unless the page is empty.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.events.last().map(|event| event.position)
    }

    /// The events as `E`; the first call for an `E` decodes, later ones share the result.
    #[must_use]
    pub fn decode<E: EventSet>(&self) -> Arc<[Decoded<E>]> {
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        let known = decoded
            .iter()
            .find(|(type_id, _)| *type_id == TypeId::of::<E>());
        if let Some(shared) = known.and_then(|(_, any)| any.downcast_ref::<Arc<[Decoded<E>]>>()) {
            return Arc::clone(shared);
        }
        let categories = E::categories();
        let fresh: Arc<[Decoded<E>]> = self
            .events
            .iter()
            .map(|event| decode_one(event, &categories))
            .collect();
        decoded.push((TypeId::of::<E>(), Arc::new(Arc::clone(&fresh))));
        fresh
    }
}

fn decode_one<E: EventSet>(event: &StoredEvent, categories: &[&str]) -> Decoded<E> {
    match event.decode::<E>() {
        Ok(Some(recorded)) => Decoded::Event(recorded),
        Ok(None) if categories.contains(&event.stream.category()) => Decoded::Unknown,
        Ok(None) => Decoded::Foreign,
        Err(error) => Decoded::Unreadable(error),
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("first", &self.first())
            .field("last", &self.last())
            .finish()
    }
}
