//! Bare scans of the log with the events decoded, each by another method.

use futures_util::TryStreamExt;
use sqlx::{PgPool, Row, postgres::PgRow};

use crate::{
    Outcome,
    account::{AccountEvent, decode},
};

/// Where the columns stand that are looked at.
const POSITION: usize = 0;
const TYPE: usize = 3;
const PAYLOAD: usize = 11;
/// How many columns the statements answer.
const COLUMNS: usize = 12;
/// How many events a page has.
const PAGE: i64 = 10_000;

/// A way to read the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    RowStream,
    Pages,
    Copy,
}

impl Method {
    pub(crate) const ALL: [Self; 3] = [Self::RowStream, Self::Pages, Self::Copy];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::RowStream => "sqlx row stream, events decoded",
            Self::Pages => "keyset pages, events decoded",
            Self::Copy => "binary COPY, events decoded",
        }
    }

    /// Reads the log and answers how many events it has.
    pub(crate) async fn read(self, pool: &PgPool) -> Outcome<u64> {
        match self {
            Self::RowStream => row_stream(pool).await,
            Self::Pages => pages(pool).await,
            Self::Copy => copy(pool).await,
        }
    }
}

/// Counts events, and keeps the decoding from being left out.
#[derive(Default)]
struct Count {
    events: u64,
    last: i64,
}

impl Count {
    fn take(&mut self, row: &PgRow) -> Outcome<()> {
        let event = decode(row.try_get(TYPE)?, row.try_get(PAYLOAD)?)?;
        self.add(row.try_get(POSITION)?, &event);
        Ok(())
    }

    fn add(&mut self, position: i64, event: &AccountEvent) {
        std::hint::black_box(event);
        self.last = position;
        self.events += 1;
    }

    fn whole(self) -> Outcome<u64> {
        if i64::try_from(self.events)? == self.last {
            return Ok(self.events);
        }
        Err(format!("{} rows, the last at {}", self.events, self.last).into())
    }
}

async fn row_stream(pool: &PgPool) -> Outcome<u64> {
    let mut count = Count::default();
    let mut rows = sqlx::query(include_str!("../../sql/postgres/scan.sql")).fetch(pool);
    while let Some(row) = rows.try_next().await? {
        count.take(&row)?;
    }
    count.whole()
}

async fn pages(pool: &PgPool) -> Outcome<u64> {
    let mut count = Count::default();
    loop {
        let before = count.events;
        let query = sqlx::query(include_str!("../../sql/postgres/scan_page.sql"));
        let mut rows = query.bind(count.last).bind(PAGE).fetch(pool);
        while let Some(row) = rows.try_next().await? {
            count.take(&row)?;
        }
        if count.events == before {
            return count.whole();
        }
    }
}

async fn copy(pool: &PgPool) -> Outcome<u64> {
    /// The signature, the flags and the length of an extension that is empty.
    const HEADER: usize = 19;
    let mut count = Count::default();
    let mut conn = pool.acquire().await?;
    let mut pieces = conn
        .copy_out_raw(include_str!("../../sql/postgres/copy_out.sql"))
        .await?;
    let mut header = true;
    // The server sends whole rows, the first of them behind the header.
    while let Some(piece) = pieces.try_next().await? {
        let mut rest = &piece[..];
        if std::mem::take(&mut header) {
            rest = rest.get(HEADER..).ok_or("no header")?;
        }
        while let Some(columns) = row(&mut rest)? {
            let position = i64::from_be_bytes(columns[POSITION].try_into()?);
            let event = decode(std::str::from_utf8(columns[TYPE])?, columns[PAYLOAD])?;
            count.add(position, &event);
        }
    }
    drop(pieces);
    count.whole()
}

/// The next row of a piece; none at its end, and at the end of all.
fn row<'a>(rest: &mut &'a [u8]) -> Outcome<Option<[&'a [u8]; COLUMNS]>> {
    let Some(width) = rest.split_off(..2) else {
        return Ok(None);
    };
    if i16::from_be_bytes(width.try_into()?) < 0 {
        return Ok(None);
    }
    let mut columns = [&[][..]; COLUMNS];
    for column in &mut columns {
        let length = rest.split_off(..4).ok_or("half a row")?;
        // NULL has the length -1.
        let length = i32::from_be_bytes(length.try_into()?).max(0);
        *column = rest
            .split_off(..usize::try_from(length)?)
            .ok_or("half a row")?;
    }
    Ok(Some(columns))
}
