//! Reading streams and the log.

use annals_core::{
    Direction, LogPage, LogRead, Position, Query, StoreError, StoreErrorKind, StoredEvent,
    StreamName, StreamRead, Version,
};
use sqlx::{Row, SqliteConnection};

use crate::{
    error::failed_on_own,
    frame::{self, Unpacked},
    matching::{Cut, Stretch, by_tags, matching},
    sql::{self, Bind, Filter, bound},
};

/// The most events that one read answers.
const MAX_EVENTS: usize = 10_000;
/// The most events that one statement packs.
const PAGE_EVENTS: usize = 2_000;
/// A read ends early when its payloads come to this much.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// How much of the log one statement looks through for a query that no index serves.
const SCAN_EVENTS: i64 = 50_000;

const READ_LOG: &str = "read the log";
const READ_STREAM: &str = "read a stream";

/// What one statement found.
struct Found {
    events: Vec<StoredEvent>,
    /// The head of the log as the statement saw it.
    head: i64,
    /// Whether events were left out because they would have been too much.
    cut_short: bool,
}

/// One statement's worth of reading.
struct Slice {
    filter: Filter,
    order: &'static str,
    limit: usize,
}

pub(crate) async fn head(conn: &mut SqliteConnection) -> Result<Position, StoreError> {
    const DOING: &str = "read the head of the log";
    let row = sqlx::query(sql::HEAD)
        .fetch_one(&mut *conn)
        .await
        .map_err(failed_on_own(DOING))?;
    Ok(Position::new(number(&row, 0, DOING)?))
}

pub(crate) async fn stream_version(
    conn: &mut SqliteConnection,
    stream: &StreamName,
) -> Result<Version, StoreError> {
    const DOING: &str = "read the version of a stream";
    let row = sqlx::query(sql::STREAM_VERSION)
        .bind(stream.as_str())
        .fetch_one(&mut *conn)
        .await
        .map_err(failed_on_own(DOING))?;
    Ok(Version::new(number(&row, 0, DOING)?))
}

/// The events after a position, at most as many as one read answers.
pub(crate) async fn after(
    conn: &mut SqliteConnection,
    position: Position,
    limit: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let page = read_log(conn, &LogRead::after(position, limit)).await?;
    Ok(page.events)
}

/// A page of one stream.
#[tracing::instrument(name = "annals.read_stream", skip_all, fields(stream = %read.stream, from = read.from.get()))]
pub(crate) async fn read_stream(
    conn: &mut SqliteConnection,
    read: &StreamRead,
) -> Result<Vec<StoredEvent>, StoreError> {
    let limit = read.limit.min(MAX_EVENTS);
    let mut events: Vec<StoredEvent> = Vec::new();
    let mut from = read.from;
    let mut bytes = 0;
    while events.len() < limit {
        let wanted = (limit - events.len()).min(PAGE_EVENTS);
        let slice = stream_slice(read, from, wanted);
        let found = fetch(conn, slice, &mut bytes, READ_STREAM).await?;
        check_versions(read, from, &found.events)?;
        let ended = found.events.len() < wanted || found.cut_short;
        let Some(last) = found.events.last() else {
            break;
        };
        from = last.version;
        events.extend(found.events);
        // Before version 1 there is nothing, and zero would mean the stream's end.
        if ended || (read.direction == Direction::Backwards && from.get() <= 1) {
            break;
        }
    }
    Ok(events)
}

fn stream_slice(read: &StreamRead, from: Version, limit: usize) -> Slice {
    let mut filter = Filter::default();
    filter.push("e.stream = {}", [Bind::Text(read.stream.to_string())]);
    let order = match read.direction {
        Direction::Forwards => {
            filter.push(" AND e.version > {}", [Bind::Integer(clamped(from.get()))]);
            "e.version"
        }
        Direction::Backwards => {
            if from != Version::NONE {
                filter.push(" AND e.version < {}", [Bind::Integer(clamped(from.get()))]);
            }
            "e.version DESC"
        }
    };
    Slice {
        filter,
        order,
        limit,
    }
}

/// A stream's versions are dense; anything else was not written by a store.
fn check_versions(
    read: &StreamRead,
    from: Version,
    events: &[StoredEvent],
) -> Result<(), StoreError> {
    let versions = events.iter().map(|event| event.version.get());
    let Some(at) = first_hole(read.direction, from.get(), versions) else {
        return Ok(());
    };
    let problem = format!("version {at} of stream `{}` is missing", read.stream);
    Err(StoreError::new(StoreErrorKind::Corrupt, READ_STREAM).caused_by(problem))
}

/// The first number that is missing from consecutive ones after (or before) `from`, where zero
/// backwards stands for the end, whatever it is.
fn first_hole(direction: Direction, from: u64, numbers: impl Iterator<Item = u64>) -> Option<u64> {
    let mut expected = match direction {
        Direction::Forwards => from.checked_add(1),
        Direction::Backwards => None,
    };
    for number in numbers {
        if let Some(expected) = expected
            && number != expected
        {
            return Some(expected);
        }
        expected = match direction {
            Direction::Forwards => number.checked_add(1),
            Direction::Backwards => number.checked_sub(1),
        };
    }
    None
}

/// A page of the log.
#[tracing::instrument(name = "annals.read_log", skip_all, fields(from = read.from.get(), limit = read.limit))]
pub(crate) async fn read_log(
    conn: &mut SqliteConnection,
    read: &LogRead,
) -> Result<LogPage, StoreError> {
    let limit = read.limit.min(MAX_EVENTS);
    let mut page = LogPage {
        events: Vec::new(),
        scanned_to: read.from,
        at_end: false,
    };
    if read.direction == Direction::Backwards {
        let head = head(conn).await?;
        let end = Position::new(head.get().saturating_add(1));
        if read.from == Position::START || read.from > end {
            page.scanned_to = end;
        }
    }
    let mut bytes = 0;
    loop {
        let wanted = (limit - page.events.len()).min(PAGE_EVENTS);
        let stretch = next_stretch(read, page.scanned_to);
        let slice = log_slice(&read.query, read.direction, stretch, wanted)?;
        let found = fetch(conn, slice, &mut bytes, READ_LOG).await?;
        let cut_short = found.cut_short;
        let full = found.events.len() == wanted || cut_short;
        take_in(read, &mut page, stretch, found, full)?;
        if page.at_end || cut_short || page.events.len() >= limit {
            return Ok(page);
        }
    }
}

/// The part of the log that the next statement looks through.
fn next_stretch(read: &LogRead, from: Position) -> Stretch {
    let from = clamped(from.get());
    let scan = !read.query.items.is_empty() && !by_tags(&read.query);
    let reach = if scan { SCAN_EVENTS } else { i64::MAX };
    match read.direction {
        Direction::Forwards => Stretch {
            first: from.saturating_add(1),
            last: from.saturating_add(reach),
        },
        Direction::Backwards => Stretch {
            first: from.saturating_sub(reach).max(1),
            last: from.saturating_sub(1),
        },
    }
}

fn log_slice(
    query: &Query,
    direction: Direction,
    stretch: Stretch,
    limit: usize,
) -> Result<Slice, StoreError> {
    let order = match direction {
        Direction::Forwards => "e.position",
        Direction::Backwards => "e.position DESC",
    };
    let cut = Cut {
        order: match direction {
            Direction::Forwards => "ASC",
            Direction::Backwards => "DESC",
        },
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
    };
    Ok(Slice {
        filter: matching(query, stretch, cut)?,
        order,
        limit,
    })
}

/// Adds what a statement found to the page, and notes how far the log has been looked through.
fn take_in(
    read: &LogRead,
    page: &mut LogPage,
    stretch: Stretch,
    found: Found,
    full: bool,
) -> Result<(), StoreError> {
    let from = page.scanned_to;
    let last = found.events.last().map(|event| event.position);
    if read.query.items.is_empty() {
        check_positions(read.direction, from, &found, full)?;
    }
    page.events.extend(found.events);
    let head = Position::new(u64::try_from(found.head).unwrap_or_default());
    match read.direction {
        Direction::Forwards => {
            let looked_to = Position::new(u64::try_from(stretch.last).unwrap_or_default());
            let end = looked_to.min(head).max(from);
            page.scanned_to = if full { last.unwrap_or(from) } else { end };
            page.at_end = page.scanned_to >= head;
        }
        Direction::Backwards => {
            let looked_to = Position::new(u64::try_from(stretch.first).unwrap_or_default());
            page.scanned_to = if full {
                last.unwrap_or(from)
            } else {
                looked_to.min(from)
            };
            page.at_end = page.scanned_to.get() <= 1;
            if head == Position::START {
                page.scanned_to = read.from;
            }
        }
    }
    Ok(())
}

/// Positions are dense: a hole means that the log has lost something.
fn check_positions(
    direction: Direction,
    from: Position,
    found: &Found,
    full: bool,
) -> Result<(), StoreError> {
    let positions = found.events.iter().map(|event| event.position.get());
    let last = found.events.last().map_or(from, |event| event.position);
    let hole = match direction {
        Direction::Forwards => first_hole(direction, from.get(), positions).or_else(|| {
            let head = u64::try_from(found.head).unwrap_or_default();
            (!full && last.get() < head).then(|| last.get().saturating_add(1))
        }),
        Direction::Backwards => {
            let first = found.events.first().map(|event| event.position.get());
            let before = from.get().saturating_sub(1);
            let misses_first = first.is_some_and(|first| first != before);
            let misses_last = !full && last.get() > 1;
            let at_first = misses_first.then_some(before);
            at_first
                .or_else(|| first_hole(direction, from.get(), positions))
                .or_else(|| misses_last.then(|| last.get().saturating_sub(1)))
        }
    };
    hole.map_or(Ok(()), |at| {
        let problem = format!("there is no event at position {at}, but there are events after it");
        Err(StoreError::new(StoreErrorKind::Corrupt, READ_LOG).caused_by(problem))
    })
}

/// Runs one statement and takes its frames apart.
async fn fetch(
    conn: &mut SqliteConnection,
    slice: Slice,
    bytes: &mut usize,
    doing: &'static str,
) -> Result<Found, StoreError> {
    let Slice {
        mut filter,
        order,
        limit,
    } = slice;
    let mut limited = Filter {
        sql: String::new(),
        binds: std::mem::take(&mut filter.binds),
    };
    limited.push(
        "{}",
        [Bind::Integer(i64::try_from(limit).unwrap_or(i64::MAX))],
    );
    let statement = sql::PAGE
        .replace("/*where*/", &filter.sql)
        .replace("/*order*/", order)
        .replace("/*limit*/", &limited.sql);
    let row = bound(statement, limited.binds)
        .fetch_one(&mut *conn)
        .await
        .map_err(failed_on_own(doing))?;
    let head: i64 = row.try_get(0).map_err(failed_on_own(doing))?;
    let packed: Option<&[u8]> = row.try_get(1).map_err(failed_on_own(doing))?;
    let unpacked = frame::unpack(packed.unwrap_or_default())
        .map_err(|error| StoreError::new(StoreErrorKind::Corrupt, doing).caused_by(error))?;
    let count = unpacked.len();
    let events = complete(conn, unpacked, bytes, doing).await?;
    Ok(Found {
        head,
        cut_short: events.len() < count,
        events,
    })
}

/// Fetches the payloads that were too large to be packed, up to [`MAX_BYTES`] in all.
async fn complete(
    conn: &mut SqliteConnection,
    unpacked: Vec<Unpacked>,
    bytes: &mut usize,
    doing: &'static str,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut events = Vec::with_capacity(unpacked.len());
    for mut unpacked in unpacked {
        // At least one event always comes, however large, so that readers get on.
        if *bytes > 0 && bytes.saturating_add(unpacked.payload_bytes) > MAX_BYTES {
            break;
        }
        *bytes = bytes.saturating_add(unpacked.payload_bytes);
        if unpacked.lacks_payload() {
            let row = sqlx::query(sql::PAYLOAD)
                .bind(clamped(unpacked.event.position.get()))
                .fetch_one(&mut *conn)
                .await
                .map_err(failed_on_own(doing))?;
            unpacked.event.payload = row.try_get(0).map_err(failed_on_own(doing))?;
        }
        events.push(unpacked.event);
    }
    Ok(events)
}

/// A column that holds a count.
pub(crate) fn number(
    row: &sqlx::sqlite::SqliteRow,
    column: usize,
    doing: &str,
) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column).map_err(failed_on_own(doing))?;
    u64::try_from(number).map_err(|_| {
        let problem = format!("{number} stands where a count should");
        StoreError::new(StoreErrorKind::Corrupt, doing).caused_by(problem)
    })
}

/// A place as SQLite counts; none that exists comes near the largest.
pub(crate) fn clamped(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}
