//! Puts pages together from what a store's statements find, and notices holes.
//!
//! Pure state machines: a store asks for the next slice, runs a statement for it, and hands over
//! what came, until there is no further slice.

#[cfg(test)]
mod tests;

use crate::{
    event::StoredEvent,
    order::{Direction, Position, Version},
    query::{LogRead, StreamRead},
    store::{LogPage, StoreError, StoreErrorKind},
};

/// How much one statement and one page may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most events of a page.
    pub page: usize,
    /// The most events of one statement.
    pub statement: usize,
    /// How many positions one statement looks through.
    pub reach: u64,
}

/// A part of the log for one statement: positions from `first` to `last`, both included, and at
/// most `limit` events, in the direction of the read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The lowest position.
    pub first: Position,
    /// The highest position.
    pub last: Position,
    /// At most so many events.
    pub limit: usize,
}

/// A page of the log in the making.
#[derive(Debug)]
pub struct LogPages<'r> {
    read: &'r LogRead,
    limits: Limits,
    head: Position,
    page: LogPage,
    done: bool,
}

impl<'r> LogPages<'r> {
    /// Begins a page of a log that ends at `head`.
    #[must_use]
    pub fn new(read: &'r LogRead, limits: Limits, head: Position) -> Self {
        let limits = Limits {
            page: limits.page.min(read.limit),
            ..limits
        };
        let end = head.next();
        let from_end = read.from == Position::START || read.from > end;
        let (scanned_to, at_end) = match read.direction {
            Direction::Forwards => (read.from, read.from >= head),
            Direction::Backwards if head == Position::START => (read.from, true),
            Direction::Backwards if from_end => (end, false),
            Direction::Backwards => (read.from, read.from <= Position::new(1)),
        };
        let page = LogPage {
            events: Vec::new(),
            scanned_to,
            at_end,
        };
        Self {
            read,
            limits,
            head,
            page,
            done: at_end || limits.page == 0,
        }
    }

    /// What the next statement is to find; none when the page is complete.
    #[must_use]
    pub fn next_slice(&self) -> Option<Slice> {
        if self.done {
            return None;
        }
        let (from, reach) = (self.page.scanned_to, self.limits.reach);
        let (first, last) = match self.read.direction {
            Direction::Forwards => (from.next(), from.plus(reach).min(self.head)),
            Direction::Backwards => (from.minus(reach).max(Position::new(1)), from.minus(1)),
        };
        let wanted = self.limits.page.saturating_sub(self.page.events.len());
        Some(Slice {
            first,
            last,
            limit: wanted.min(self.limits.statement),
        })
    }

    /// Takes in what a statement found; `cut_short` when more was found than could be handed over.
    ///
    /// # Errors
    /// When every event was asked for and one is missing.
    pub fn take_in(
        &mut self,
        slice: Slice,
        events: Vec<StoredEvent>,
        cut_short: bool,
    ) -> Result<(), StoreError> {
        let full = cut_short || events.len() >= slice.limit;
        if self.read.query.items.is_empty() {
            self.check(slice, &events, full)?;
        }
        let last = events.last().map(|event| event.position);
        self.page.events.extend(events);
        let forwards = self.read.direction == Direction::Forwards;
        let edge = if forwards { slice.last } else { slice.first };
        // What was cut off begins right after what came before, even if that is nothing.
        self.page.scanned_to = match full {
            true => last.unwrap_or(self.page.scanned_to),
            false => edge,
        };
        self.page.at_end = if forwards {
            self.page.scanned_to >= self.head
        } else {
            self.page.scanned_to <= Position::new(1)
        };
        self.done = self.page.at_end || cut_short || self.page.events.len() >= self.limits.page;
        Ok(())
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> LogPage {
        self.page
    }

    /// Positions are dense: a hole means that the log has lost something.
    fn check(&self, slice: Slice, events: &[StoredEvent], full: bool) -> Result<(), StoreError> {
        let (first, last) = (slice.first.get(), slice.last.get());
        let (from, count) = match self.read.direction {
            Direction::Forwards => (first, last.saturating_sub(first).saturating_add(1)),
            Direction::Backwards => (last, last.saturating_sub(first).saturating_add(1)),
        };
        let positions = events.iter().map(|event| event.position.get());
        let found = dense(self.read.direction, from, positions);
        let hole = match found {
            Err(hole) => Some(hole),
            Ok(next) if !full && (events.len() as u64) < count => Some(next),
            Ok(_) => None,
        };
        hole.map_or(Ok(()), |at| {
            let problem =
                format!("there is no event at position {at}, but the log goes on beyond it");
            Err(StoreError::new(StoreErrorKind::Corrupt, "read the log").caused_by(problem))
        })
    }
}

/// A page of a stream in the making.
#[derive(Debug)]
pub struct StreamPages<'r> {
    read: &'r StreamRead,
    limits: Limits,
    from: Version,
    events: Vec<StoredEvent>,
    done: bool,
}

impl<'r> StreamPages<'r> {
    /// Begins a page.
    #[must_use]
    pub fn new(read: &'r StreamRead, limits: Limits) -> Self {
        let limits = Limits {
            page: limits.page.min(read.limit),
            ..limits
        };
        Self {
            read,
            limits,
            from: read.from,
            events: Vec::new(),
            done: limits.page == 0,
        }
    }

    /// From where the next statement reads on, as in [`StreamRead::from`], and how many events at
    /// most; none when the page is complete.
    #[must_use]
    pub fn next_slice(&self) -> Option<(Version, usize)> {
        let wanted = self.limits.page.saturating_sub(self.events.len());
        (!self.done).then(|| (self.from, wanted.min(self.limits.statement)))
    }

    /// Takes in what a statement found; `cut_short` when more was found than could be handed over.
    ///
    /// # Errors
    /// When an event is missing: a stream's versions are dense.
    pub fn take_in(
        &mut self,
        limit: usize,
        events: Vec<StoredEvent>,
        cut_short: bool,
    ) -> Result<(), StoreError> {
        let direction = self.read.direction;
        let continued = !self.events.is_empty();
        let first = events.first().map(|event| event.version.get());
        let from = match direction {
            Direction::Forwards => self.from.next().get(),
            Direction::Backwards if continued => self.from.minus(1).get(),
            // Where a stream ends is for the store to say.
            Direction::Backwards => first.unwrap_or_default(),
        };
        let versions = events.iter().map(|event| event.version.get());
        let last_missing = |next: u64| {
            let ends = !cut_short && events.len() < limit;
            (ends && direction == Direction::Backwards && next > 0).then_some(next)
        };
        let hole = match dense(direction, from, versions) {
            Err(hole) => Some(hole),
            Ok(next) => last_missing(next),
        };
        if let Some(at) = hole {
            let problem = format!("version {at} of stream `{}` is missing", self.read.stream);
            let error = StoreError::new(StoreErrorKind::Corrupt, "read a stream");
            return Err(error.caused_by(problem));
        }
        self.done = cut_short || events.len() < limit;
        if let Some(last) = events.last() {
            self.from = last.version;
        }
        self.events.extend(events);
        // Before version 1 there is nothing, and zero would mean the stream's end.
        let at_first = direction == Direction::Backwards && self.from <= Version::new(1);
        self.done |= at_first || self.events.len() >= self.limits.page;
        Ok(())
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> Vec<StoredEvent> {
        self.events
    }
}

/// Whether numbers follow on each other beginning with `from`; answers the next one, or, as an
/// error, the first that is missing.
fn dense(direction: Direction, from: u64, numbers: impl Iterator<Item = u64>) -> Result<u64, u64> {
    let mut expected = from;
    for number in numbers {
        if number != expected {
            return Err(expected);
        }
        expected = match direction {
            Direction::Forwards => number.saturating_add(1),
            Direction::Backwards => number.saturating_sub(1),
        };
    }
    Ok(expected)
}
