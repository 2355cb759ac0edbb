//! Replaying a log, once per process: a rebuild, and the bare scans it is measured against.

use std::{path::Path, sync::Arc, time::Instant};

use annals::{
    Annals, ReadModel as _, RebuildOptions,
    sqlite::{SqliteOptions, SqliteStore},
};
use clap::ValueEnum;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions as _, Connection as _, Row};

use crate::{
    Outcome,
    account::{UserBalance, decode},
    hand_written,
    measure::{peak_memory_mib, per_second},
};

/// A way to go through a whole log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Replay {
    /// Rebuilds `user_balance`.
    Rebuild,
    /// Streams the rows with sqlx.
    Sqlx,
    /// Streams the rows with sqlx and decodes the events.
    SqlxDecode,
    /// Steps through the rows with rusqlite.
    Rusqlite,
}

impl Replay {
    pub(crate) const ALL: [Self; 4] = [Self::Rebuild, Self::Sqlx, Self::SqlxDecode, Self::Rusqlite];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild of user_balance",
            Self::Sqlx => "sqlx row stream",
            Self::SqlxDecode => "sqlx row stream, events decoded",
            Self::Rusqlite => "rusqlite",
        }
    }
}

/// What one went like.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Replayed {
    pub(crate) events: u64,
    pub(crate) per_second: f64,
    pub(crate) peak_memory_mib: f64,
}

/// Goes through the log in this process.
pub(crate) async fn replay(replay: Replay, file: &Path) -> Outcome<Replayed> {
    let started = Instant::now();
    let events = match replay {
        Replay::Rebuild => return rebuild(file).await,
        Replay::Sqlx => sqlx_scan(file, |_| Ok(())).await?,
        Replay::SqlxDecode => {
            sqlx_scan(file, |row| {
                decode(row.try_get(3)?, row.try_get(11)?)?;
                Ok(())
            })
            .await?
        }
        Replay::Rusqlite => rusqlite_scan(file)?,
    };
    Ok(Replayed {
        events,
        per_second: per_second(events, started.elapsed()),
        peak_memory_mib: peak_memory_mib(),
    })
}

async fn rebuild(file: &Path) -> Outcome<Replayed> {
    let options = SqliteOptions::default();
    let store = SqliteStore::open(&file.display().to_string(), options).await?;
    // Not started: nothing else should be at work on the log.
    let app = Annals::on(Arc::new(store))
        .projection::<UserBalance>()
        .connect()
        .await?;
    let started = Instant::now();
    let summary = app
        .projections()
        .rebuild(
            UserBalance::TABLE.name,
            RebuildOptions::default(),
            &mut |_| {},
        )
        .await?;
    let per_second = per_second(summary.events, started.elapsed());
    app.shutdown().await;
    Ok(Replayed {
        events: summary.events,
        per_second,
        peak_memory_mib: peak_memory_mib(),
    })
}

async fn sqlx_scan(
    file: &Path,
    look: impl Fn(&sqlx::sqlite::SqliteRow) -> Outcome<()>,
) -> Outcome<u64> {
    let mut connection = hand_written::options(file).connect().await?;
    let mut events = 0;
    let mut last = 0;
    {
        let mut rows = sqlx::query(include_str!("../sql/scan.sql")).fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            last = row.try_get::<i64, _>(0)?;
            look(&row)?;
            events += 1;
        }
    }
    connection.close().await?;
    whole(events, last)
}

fn rusqlite_scan(file: &Path) -> Outcome<u64> {
    let connection = rusqlite::Connection::open(file)?;
    connection.pragma_update(None, "cache_size", -64_000)?;
    let mut statement = connection.prepare(include_str!("../sql/scan.sql"))?;
    let mut rows = statement.query([])?;
    let mut events = 0;
    let mut last = 0;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        last = row.get_ref(0)?.as_i64()?;
        bytes += row.get_ref(11)?.as_blob()?.len();
        events += 1;
    }
    std::hint::black_box(bytes);
    whole(events, last)
}

/// Checks that nothing of the log was left out.
fn whole(events: u64, last: i64) -> Outcome<u64> {
    if u64::try_from(last)? == events {
        Ok(events)
    } else {
        Err(format!("{events} rows, the last of which has position {last}").into())
    }
}
