//! What to read: a stream, or the part of the log that matches a query.

use crate::{
    append::MAX_PAYLOAD_BYTES,
    event::{EventHeader, StoredEvent},
    name::{Category, EventType, StreamName, Tag},
    order::{Direction, Position, Version},
};

/// A page of small events is never cut short before it has so many.
pub const WHOLE_PAGE: usize = 1_000;

/// Selects events of the log: those that match at least one of its items.
///
/// A query without items matches every event.
///
/// ```
/// use annals_core::{Category, EventType, Query, QueryItem, Tag};
///
/// let query = Query::any()
///     .or(QueryItem::default().event_type(EventType::new("account.opened")?).tag(Tag::parse("owner:alice")?))
///     .or(QueryItem::default().category(Category::new("transfer")?));
/// # Ok::<_, annals_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The alternatives.
    pub items: Vec<QueryItem>,
}

impl Query {
    /// Every event of the log.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Adds an alternative.
    #[must_use]
    pub fn or(mut self, item: QueryItem) -> Self {
        self.items.push(item);
        self
    }

    /// Whether an event matches.
    #[must_use]
    pub fn matches(&self, event: &EventHeader) -> bool {
        let category = event.stream.category();
        self.items.is_empty()
            || self
                .items
                .iter()
                .any(|item| item.matches(category, &event.event_type, &event.tags))
    }
}

impl From<QueryItem> for Query {
    fn from(item: QueryItem) -> Self {
        Self { items: vec![item] }
    }
}

/// One alternative of a [`Query`]: one of these categories, and one of these types, and all of
/// these tags. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryItem {
    /// The stream's category is one of these.
    pub categories: Vec<Category>,
    /// The event type is one of these.
    pub types: Vec<EventType>,
    /// The event has all of these.
    pub tags: Vec<Tag>,
}

impl QueryItem {
    /// Allows a category.
    #[must_use]
    pub fn category(mut self, category: Category) -> Self {
        self.categories.push(category);
        self
    }

    /// Allows an event type.
    #[must_use]
    pub fn event_type(mut self, event_type: EventType) -> Self {
        self.types.push(event_type);
        self
    }

    /// Asks for a tag.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Whether an event with these properties matches.
    #[must_use]
    pub fn matches(&self, category: &str, event_type: &EventType, tags: &[Tag]) -> bool {
        let category_fits =
            self.categories.is_empty() || self.categories.iter().any(|c| c.as_str() == category);
        let type_fits = self.types.is_empty() || self.types.contains(event_type);
        category_fits && type_fits && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

/// A page of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRead {
    /// The stream.
    pub stream: StreamName,
    /// Forwards: only versions above this one. Backwards: only versions below it, where
    /// [`Version::NONE`] stands for the end of the stream.
    pub from: Version,
    /// Which way.
    pub direction: Direction,
    /// At most this many events.
    pub limit: usize,
}

impl StreamRead {
    /// The events after a version, oldest first.
    #[must_use]
    pub fn after(stream: StreamName, version: Version, limit: usize) -> Self {
        Self {
            stream,
            from: version,
            direction: Direction::Forwards,
            limit,
        }
    }

    /// The events before a version ([`Version::NONE`]: before the end), newest first.
    #[must_use]
    pub fn before(stream: StreamName, version: Version, limit: usize) -> Self {
        Self {
            stream,
            from: version,
            direction: Direction::Backwards,
            limit,
        }
    }

    /// Whether the stream ended with the page that this read was answered with; if not, it may
    /// have, and another read tells.
    ///
    /// See what [`read_stream`](crate::EventStore::read_stream) says about short pages.
    #[must_use]
    pub fn ends_with(&self, page: &[StoredEvent]) -> bool {
        let bytes = || page.iter().map(|event| event.payload.len()).sum::<usize>();
        page.len() < self.limit.min(WHOLE_PAGE) && bytes() < MAX_PAYLOAD_BYTES
    }
}

/// A page of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRead {
    /// Which events.
    pub query: Query,
    /// Forwards: only positions above this one. Backwards: only positions below it, where
    /// [`Position::START`] stands for the end of the log.
    pub from: Position,
    /// Which way.
    pub direction: Direction,
    /// At most this many events.
    pub limit: usize,
}

impl LogRead {
    /// The events after a position, oldest first.
    #[must_use]
    pub fn after(position: Position, limit: usize) -> Self {
        Self {
            query: Query::any(),
            from: position,
            direction: Direction::Forwards,
            limit,
        }
    }

    /// The events before a position ([`Position::START`]: before the end), newest first.
    #[must_use]
    pub fn before(position: Position, limit: usize) -> Self {
        Self {
            query: Query::any(),
            from: position,
            direction: Direction::Backwards,
            limit,
        }
    }

    /// Only events that match.
    #[must_use]
    pub fn matching(mut self, query: impl Into<Query>) -> Self {
        self.query = query.into();
        self
    }
}
