//! Reading streams and the log.

use annals_core::{
    Direction, LogPage, LogRead, Position, StoreError, StoredEvent, StreamName, StreamRead,
    Version,
    paging::{Limits, LogPages, Slice, StreamPages},
};

use crate::{
    error::failed,
    event_row::{clamped, column, number},
    frame::{Unpacked, unpack},
    matching::{Bind, Cut, Filter, Stretch, bound, by_tags, matching},
    sql,
    transaction::Session,
};

/// The most events that one read answers.
const MAX_EVENTS: usize = 10_000;
/// A read ends early when its payloads come to this much.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// How much of the log one statement looks through for a query that no index serves.
const SCAN_EVENTS: u64 = 50_000;

const LIMITS: Limits = Limits {
    page: MAX_EVENTS,
    // A page comes as one value of up to 16 MiB of payloads, as larger ones than 16 KiB are fetched
    // by themselves. It has to be sent before the connection counts as silent.
    statement: 1_000,
    reach: u64::MAX,
};

const READ_LOG: &str = "read the log";
const READ_STREAM: &str = "read a stream";

pub(crate) async fn head(session: &mut Session<'_>) -> Result<Position, StoreError> {
    const DOING: &str = "read the head of the log";
    let row = session
        .sql
        .query(sql::HEAD)
        .fetch_one(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    Ok(Position::new(number(&row, 0, DOING)?))
}

pub(crate) async fn stream_version(
    session: &mut Session<'_>,
    stream: &StreamName,
) -> Result<Version, StoreError> {
    const DOING: &str = "read the version of a stream";
    let row = session
        .sql
        .query(sql::STREAM_VERSION)
        .bind(stream.as_str().to_owned())
        .fetch_one(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    Ok(Version::new(number(&row, 0, DOING)?))
}

/// The events after a position, at most as many as one read answers.
pub(crate) async fn after(
    session: &mut Session<'_>,
    position: Position,
    limit: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let page = read_log(session, &LogRead::after(position, limit)).await?;
    Ok(page.events)
}

/// A page of one stream.
#[tracing::instrument(name = "annals.read_stream", skip_all, fields(stream = %read.stream, from = read.from.get()))]
pub(crate) async fn read_stream(
    session: &mut Session<'_>,
    read: &StreamRead,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut pages = StreamPages::new(read, LIMITS);
    let mut budget = Budget::default();
    while let Some((from, limit)) = pages.next_slice() {
        let mut filter = Filter::default();
        filter.push("e.stream = {}", [Bind::Text(read.stream.to_string())]);
        let bound = [Bind::Number(clamped(from.get()))];
        let order = match read.direction {
            Direction::Forwards => {
                filter.push(" AND e.version > {}", bound);
                "e.version"
            }
            Direction::Backwards => {
                if from != Version::NONE {
                    filter.push(" AND e.version < {}", bound);
                }
                "e.version DESC"
            }
        };
        let (events, cut_short) =
            fetch(session, filter, order, limit, &mut budget, READ_STREAM).await?;
        pages.take_in(limit, events, cut_short)?;
    }
    Ok(pages.finish())
}

/// A page of the log.
///
/// The head is read first, and nothing beyond it: whatever is committed meanwhile lies there.
#[tracing::instrument(name = "annals.read_log", skip_all, fields(from = read.from.get(), limit = read.limit))]
pub(crate) async fn read_log(
    session: &mut Session<'_>,
    read: &LogRead,
) -> Result<LogPage, StoreError> {
    let scan = !read.query.items.is_empty() && !by_tags(&read.query);
    let limits = Limits {
        reach: if scan { SCAN_EVENTS } else { LIMITS.reach },
        ..LIMITS
    };
    let head = head(session).await?;
    let mut pages = LogPages::new(read, limits, head);
    let mut budget = Budget::default();
    while let Some(slice) = pages.next_slice() {
        let (filter, order) = log_slice(read, slice)?;
        let (events, cut_short) =
            fetch(session, filter, order, slice.limit, &mut budget, READ_LOG).await?;
        pages.take_in(slice, events, cut_short)?;
    }
    Ok(pages.finish())
}

fn log_slice(read: &LogRead, slice: Slice) -> Result<(Filter, &'static str), StoreError> {
    let (order, direction) = match read.direction {
        Direction::Forwards => ("e.position", "ASC"),
        Direction::Backwards => ("e.position DESC", "DESC"),
    };
    let stretch = Stretch {
        first: clamped(slice.first.get()),
        last: clamped(slice.last.get()),
    };
    let cut = Cut {
        order: direction,
        limit: i64::try_from(slice.limit).unwrap_or(i64::MAX),
    };
    Ok((matching(&read.query, stretch, cut)?, order))
}

/// How much a read may still bring into memory.
#[derive(Default)]
struct Budget {
    bytes: usize,
}

impl Budget {
    /// How large a payload may be. At least one event always comes, however large, so that
    /// readers get on.
    fn left(&self) -> usize {
        match self.bytes {
            0 => usize::MAX,
            bytes => MAX_BYTES.saturating_sub(bytes),
        }
    }

    /// Whether a payload fits.
    fn takes(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left();
        if fits {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        fits
    }
}

/// Runs one statement; says whether events were left out because they would have been too much.
async fn fetch(
    session: &mut Session<'_>,
    mut filter: Filter,
    order: &'static str,
    limit: usize,
    budget: &mut Budget,
    doing: &'static str,
) -> Result<(Vec<StoredEvent>, bool), StoreError> {
    let condition = std::mem::take(&mut filter.sql);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    filter.push("{}", [Bind::Number(limit)]);
    let statement = sql::PAGE
        .replace("/*where*/", &condition)
        .replace("/*order*/", order)
        .replace("/*limit*/", &filter.sql);
    let statement = bound(session.sql.composed(&statement), filter.binds);
    let page = statement.fetch_one(&mut *session.conn).await;
    let page = page.map_err(failed(doing))?;
    session.pulse.beat();
    let found = unpack(&page, doing)?;
    complete(session, found, budget, doing).await
}

/// Fetches the payloads that were too large to come with their page, as far as they fit.
async fn complete(
    session: &mut Session<'_>,
    found: Vec<Unpacked>,
    budget: &mut Budget,
    doing: &'static str,
) -> Result<(Vec<StoredEvent>, bool), StoreError> {
    let mut events = Vec::with_capacity(found.len());
    for mut read in found {
        if read.lacks_payload {
            session.pulse.beat();
            let left = i64::try_from(budget.left()).unwrap_or(i64::MAX);
            let row = session
                .sql
                .query(sql::PAYLOAD)
                .bind(clamped(read.event.position.get()))
                .bind(left)
                .fetch_one(&mut *session.conn)
                .await
                .map_err(failed(doing))?;
            let payload: Option<Vec<u8>> = column(&row, 0, doing)?;
            let Some(payload) = payload else {
                return Ok((events, true));
            };
            read.event.payload = payload;
        }
        if !budget.takes(read.event.payload.len()) {
            return Ok((events, true));
        }
        events.push(read.event);
    }
    Ok((events, false))
}
