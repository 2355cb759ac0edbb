//! Loading an aggregate with a long stream, without snapshot or cache.

use std::{path::Path, sync::Arc, time::Instant};

use annals::{
    Aggregate as _, Annals, App,
    sqlite::{SqliteOptions, SqliteStore},
};
use futures_util::TryStreamExt;
use sqlx::{ConnectOptions as _, Connection as _, Row, SqliteConnection};

use crate::{
    Extent, Outcome,
    account::{Account, AccountId, decode},
    fill, hand_written,
    measure::{per_second, ratio},
    report::{Bound, Contestant, Section, Target},
};

const EVENTS_PER_ACCOUNT: u64 = 1_000;
const ACCOUNTS: u64 = 50;

/// A statement of the hand-written application, and where the two columns it uses stand.
#[derive(Clone, Copy, Debug)]
struct Statement {
    sql: &'static str,
    event_type: usize,
    payload: usize,
}

const EVERY_COLUMN: Statement = Statement {
    sql: include_str!("../sql/stream.sql"),
    event_type: 3,
    payload: 11,
};
const TWO_COLUMNS: Statement = Statement {
    sql: include_str!("../sql/stream_bare.sql"),
    event_type: 0,
    payload: 1,
};

/// Lets all contestants take turns.
pub(crate) async fn measure(dir: &Path, extent: &Extent) -> Outcome<Section> {
    let file = dir.join("loaded.db");
    fill::log(&file, EVENTS_PER_ACCOUNT * ACCOUNTS, ACCOUNTS).await?;
    let passes = if extent.quick { 1 } else { 3 };
    let store = SqliteStore::open(&file.display().to_string(), SqliteOptions::default()).await?;
    let app = Annals::on(Arc::new(store)).start().await?;
    let mut connection = hand_written::options(&file).connect().await?;
    let (mut ours, mut every, mut two) = (Vec::new(), Vec::new(), Vec::new());
    // The first round is for the caches.
    for round in 0..=extent.rounds {
        let rates = [
            load_all(&app, passes).await?,
            read_all(&mut connection, EVERY_COLUMN, passes).await?,
            read_all(&mut connection, TWO_COLUMNS, passes).await?,
        ];
        if round > 0 {
            let [a, b, c] = rates;
            ours.push(a);
            every.push(b);
            two.push(c);
        }
    }
    connection.close().await?;
    app.shutdown().await;
    Ok(section(ours, every, two))
}

async fn load_all(app: &App, passes: u64) -> Outcome<f64> {
    let started = Instant::now();
    for _ in 0..passes {
        for number in 0..ACCOUNTS {
            let loaded = app.load::<Account>(&AccountId::numbered(number)?).await?;
            check(loaded.version.get(), loaded.state.balance)?;
        }
    }
    Ok(per_second(passes * ACCOUNTS, started.elapsed()))
}

async fn read_all(
    connection: &mut SqliteConnection,
    statement: Statement,
    passes: u64,
) -> Outcome<f64> {
    let started = Instant::now();
    for _ in 0..passes {
        for number in 0..ACCOUNTS {
            let stream = AccountId::numbered(number)?.stream()?;
            let mut account = Account::default();
            let mut events = 0;
            let mut rows = sqlx::query(statement.sql)
                .bind(stream.as_str())
                .fetch(&mut *connection);
            while let Some(row) = rows.try_next().await? {
                let event_type = row.try_get(statement.event_type)?;
                account.evolve(&decode(event_type, row.try_get(statement.payload)?)?);
                events += 1;
            }
            check(events, account.balance)?;
        }
    }
    Ok(per_second(passes * ACCOUNTS, started.elapsed()))
}

/// Checks that the whole stream was read.
fn check(events: u64, balance: i64) -> Outcome<()> {
    if events == EVENTS_PER_ACCOUNT && balance > 0 {
        Ok(())
    } else {
        Err(format!("an account with {events} events and a balance of {balance}").into())
    }
}

fn section(ours: Vec<f64>, every: Vec<f64>, two: Vec<f64>) -> Section {
    let (against_every, against_two) = (ratio(&ours, &every), ratio(&ours, &two));
    Section {
        name: "load",
        about: format!("aggregates of {EVENTS_PER_ACCOUNT} events, one after the other"),
        unit: "loads/s",
        contestants: vec![
            Contestant::new("load", ours, String::new()),
            Contestant::new("sqlx rows, decode, evolve", every, String::new()),
            Contestant::new(
                "the same, only the two columns it needs",
                two,
                String::new(),
            ),
        ],
        targets: vec![
            Target::new(
                "load : sqlx rows, decode, evolve",
                against_every,
                "x",
                Bound::AtLeast(0.7),
            ),
            Target::known("load : the same with two columns", against_two, "x"),
        ],
    }
}
