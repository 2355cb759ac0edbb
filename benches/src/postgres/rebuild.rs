//! A rebuild of a read model, against bare scans of the same log and an update for each event.

use std::{sync::Arc, time::Instant};

use annals::{Annals, App, ReadModel as _, RebuildOptions};
use sqlx::{PgPool, Row};

use super::{scan::Method, server::Server};
use crate::{
    Extent, Outcome,
    account::{AccountEvent, UserBalance, decode},
    fill,
    measure::{median, peak_memory_mib, per_second, ratio},
    report::{Bound, Contestant, Section, Target},
};

const EVENTS: u64 = 1_000_000;
const OWNERS: u64 = 100_000;
const ACCOUNTS_PER_OWNER: u64 = 2;
/// How many events an update each gets, and how many share a transaction.
const UPDATED: i64 = 20_000;
const UPDATES_PER_TRANSACTION: usize = 1_000;

/// Lets all contestants take turns.
pub(crate) async fn measure(server: &Server, extent: &Extent) -> Outcome<Section> {
    let part = if extent.quick { 20 } else { 1 };
    let (events, owners) = (EVENTS / part, OWNERS / part);
    let schemas = ["rebuild", "updates"].map(str::to_owned);
    let [log, updates] = &schemas;
    eprintln!("writing a log of {events} events ...");
    let store = server.store(log).await?;
    fill::events(&store, events, owners * ACCOUNTS_PER_OWNER).await?;
    server.vacuum(log).await?;
    // Not started: nothing else should be at work on the log.
    let app = Annals::on(Arc::new(store)).projection::<UserBalance>();
    let app = app.connect().await?;
    let pool = server.pool(log, 1).await?;
    let create = include_str!("../../sql/postgres/create_balance.sql");
    server.create(updates, create).await?;
    let update_pool = server.pool(updates, 1).await?;

    let mut found: Vec<(Way, Vec<f64>)> = Way::ALL
        .into_iter()
        .filter(|way| extent.includes(way.label()))
        .map(|way| (way, Vec::new()))
        .collect();
    // The first round is for the caches.
    for round in 0..=extent.rounds {
        for (way, rates) in &mut found {
            let rate = match way {
                Way::Rebuild => rebuild(&app, events).await?,
                Way::Scan(method) => scan(*method, &pool, events).await?,
                Way::Update => update(&pool, &update_pool).await?,
            };
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    app.shutdown().await;
    pool.close().await;
    update_pool.close().await;
    server.remove(&schemas).await?;
    Ok(section((events, owners), &found))
}

fn section((events, owners): (u64, u64), found: &[(Way, Vec<f64>)]) -> Section {
    let rates = |wanted: Way| {
        let found = found.iter().find(|(way, _)| *way == wanted);
        found.map_or(&[][..], |(_, rates)| rates)
    };
    let fastest = Method::ALL
        .map(|method| rates(Way::Scan(method)))
        .into_iter()
        .max_by(|a, b| median(a).total_cmp(&median(b)))
        .unwrap_or_default();
    let targets = vec![
        Target::new(
            "rebuild : fastest bare scan",
            ratio(rates(Way::Rebuild), fastest),
            "x",
            Bound::AtLeast(0.6),
        ),
        Target::new(
            "rebuild : one statement an event",
            ratio(rates(Way::Rebuild), rates(Way::Update)),
            "x",
            Bound::AtLeast(20.0),
        ),
    ];
    Section {
        name: "postgres rebuild",
        about: format!("{events} events over {owners} owners, read, folded and swapped in"),
        unit: "events/s",
        contestants: found
            .iter()
            .map(|(way, rates)| Contestant::new(way.label(), rates.clone(), way.notes()))
            .collect(),
        targets,
    }
}

/// What can be done with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Rebuild,
    Scan(Method),
    Update,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::Rebuild,
        Self::Scan(Method::RowStream),
        Self::Scan(Method::Pages),
        Self::Scan(Method::Copy),
        Self::Update,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild of user_balance",
            Self::Scan(method) => method.label(),
            Self::Update => "one statement for each event",
        }
    }

    fn notes(self) -> String {
        match self {
            Self::Rebuild => format!("all of it with at most {:.0} MiB", peak_memory_mib()),
            Self::Scan(_) => String::new(),
            Self::Update => {
                format!("{UPDATED} of the events, {UPDATES_PER_TRANSACTION} in a transaction")
            }
        }
    }
}

async fn rebuild(app: &App, events: u64) -> Outcome<f64> {
    let started = Instant::now();
    let (name, options) = (UserBalance::TABLE.name, RebuildOptions::default());
    let mut silent = |_| {};
    let rebuild = app.projections().rebuild(name, options, &mut silent);
    let summary = rebuild.await?;
    if summary.events != events {
        return Err(format!("{} of {events} events were rebuilt", summary.events).into());
    }
    Ok(per_second(events, started.elapsed()))
}

async fn scan(method: Method, pool: &PgPool, events: u64) -> Outcome<f64> {
    let started = Instant::now();
    let read = method.read(pool).await?;
    if read != events {
        return Err(format!("{method:?} saw {read} of {events} events").into());
    }
    Ok(per_second(events, started.elapsed()))
}

/// Takes the first events into another table, by a statement each.
async fn update(log: &PgPool, updates: &PgPool) -> Outcome<f64> {
    let started = Instant::now();
    let rows = sqlx::query(include_str!("../../sql/postgres/scan_page.sql"));
    let rows = rows.bind(0_i64).bind(UPDATED).fetch_all(log).await?;
    for rows in rows.chunks(UPDATES_PER_TRANSACTION) {
        let mut transaction = updates.begin().await?;
        for row in rows {
            let position: i64 = row.try_get(0)?;
            let (owner, by, accounts) = match decode(row.try_get(3)?, row.try_get(11)?)? {
                AccountEvent::Opened { owner, .. } => (owner, 0, 1),
                AccountEvent::Deposited { owner, amount } => (owner, amount, 0),
                AccountEvent::Withdrawn { owner, amount } => (owner, -amount, 0),
            };
            sqlx::query(include_str!("../../sql/postgres/update_balance.sql"))
                .bind(owner)
                .bind(by)
                .bind(accounts)
                .bind(position)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
    }
    Ok(per_second(u64::try_from(rows.len())?, started.elapsed()))
}
