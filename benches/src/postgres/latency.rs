//! How long after a commit the read model has the event, at a steady rate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use annals::{Annals, App};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::{by_hand, rounds::Random, rounds::Rounds, server::Server};
use crate::{
    Extent, Outcome,
    account::{Account, AccountCommand, AccountEvent, AccountId, UserBalance, owner},
    fill,
    measure::ratio,
    report::{Bound, Section, Target},
};

const ACCOUNTS: u64 = 1_000;
const PER_SECOND: u64 = 500;
const CONNECTIONS: u32 = 10;
const AMOUNT: i64 = 100;

/// What is timed.
#[derive(Clone)]
enum Timed {
    /// From the commit in one node to the read model that another one keeps.
    Tail { appends: App, follows: App },
    /// A bare commit and an indexed read.
    ByHand(PgPool),
}

/// Lets all contestants take turns.
pub(crate) async fn measure(server: &Server, extent: &Extent) -> Outcome<Section> {
    let length = Duration::from_millis(if extent.quick { 500 } else { 4_000 });
    let schemas = ["latency", "same", "bare"].map(str::to_owned);
    let [two, same, bare] = &schemas;
    let appends = app(server, two, false).await?;
    let store = server.store(two).await?;
    let follows = Annals::on(Arc::new(store)).projection::<UserBalance>();
    let follows = follows.start().await?;
    let same = app(server, same, true).await?;
    let create = include_str!("../../sql/postgres/create_log.sql");
    server.create(bare, create).await?;
    let pool = server.pool(bare, CONNECTIONS).await?;
    for account in 0..ACCOUNTS {
        insert(&pool, account).await?;
    }
    let mut entrants = [
        (
            "commit to read model, in another node",
            Timed::Tail { appends, follows },
            Rounds::default(),
        ),
        (
            "commit to read model, in the same node",
            Timed::Tail {
                appends: same.clone(),
                follows: same,
            },
            Rounds::default(),
        ),
        (
            "bare commit and one indexed read",
            Timed::ByHand(pool),
            Rounds::default(),
        ),
    ];
    for (_, timed, _) in &entrants {
        round(timed, length / 4).await?;
    }
    for _ in 0..extent.rounds {
        for (_, timed, rounds) in &mut entrants {
            let started = Instant::now();
            let latencies = round(timed, length).await?;
            rounds.add_each(started.elapsed(), &latencies)?;
        }
    }
    let section = section(&entrants);
    for (_, timed, _) in entrants {
        match timed {
            Timed::Tail { appends, follows } => {
                follows.shutdown().await;
                appends.shutdown().await;
            }
            Timed::ByHand(pool) => pool.close().await,
        }
    }
    server.remove(&schemas).await?;
    Ok(section)
}

fn section(entrants: &[(&'static str, Timed, Rounds); 3]) -> Section {
    let [(_, _, other), (_, _, same), (_, _, bare)] = entrants;
    let p99 = |rounds: &Rounds| ratio(&rounds.p99, &bare.p99);
    let contestants = entrants.iter();
    let contestants = contestants.map(|(name, _, rounds)| rounds.contestant(*name));
    Section {
        name: "postgres latency",
        about: format!("deposits at {PER_SECOND} a second, each timed until it can be read"),
        unit: "events/s",
        contestants: contestants.collect(),
        targets: vec![
            Target::new(
                "p99 in another node : p99 by hand",
                p99(other),
                "x",
                Bound::Below(3.0),
            ),
            Target::new(
                "p99 in the same node : p99 by hand",
                p99(same),
                "x",
                Bound::Below(3.0),
            ),
        ],
    }
}

async fn app(server: &Server, schema: &str, follows: bool) -> Outcome<App> {
    let store = server.store(schema).await?;
    fill::events(&store, ACCOUNTS, ACCOUNTS).await?;
    server.vacuum(schema).await?;
    let builder = Annals::on(Arc::new(store));
    let builder = match follows {
        true => builder.projection::<UserBalance>(),
        false => builder,
    };
    Ok(builder.start().await?)
}

/// Events at a steady rate, however long each takes.
async fn round(timed: &Timed, length: Duration) -> Outcome<Vec<f64>> {
    let mut ticks = interval(Duration::from_micros(1_000_000 / PER_SECOND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (started, mut random, mut running) = (Instant::now(), Random::of(11), Vec::new());
    while started.elapsed() < length {
        ticks.tick().await;
        let (timed, account) = (timed.clone(), random.below(ACCOUNTS));
        running.push(tokio::spawn(async move { timed.once(account).await }));
    }
    let mut latencies = Vec::new();
    for one in running {
        latencies.push(one.await??.as_secs_f64() * 1e3);
    }
    Ok(latencies)
}

impl Timed {
    async fn once(&self, account: u64) -> Outcome<Duration> {
        let started;
        match self {
            Self::Tail { appends, follows } => {
                let id = AccountId::numbered(account)?;
                let command = AccountCommand::Deposit { amount: AMOUNT };
                let done = appends.execute::<Account>(&id, command).await?;
                started = Instant::now();
                let position = done.position;
                follows.caught_up::<UserBalance>(position).await?;
            }
            Self::ByHand(pool) => {
                started = Instant::now();
                let stream = insert(pool, account).await?;
                let query = sqlx::query_scalar(include_str!("../../sql/postgres/version.sql"));
                let _: i64 = query.bind(stream).fetch_one(pool).await?;
            }
        }
        Ok(started.elapsed())
    }
}

/// Commits one event to a stream of its own, whose name it answers.
async fn insert(pool: &PgPool, account: u64) -> Outcome<String> {
    let owner = owner(account);
    let event = AccountEvent::Deposited {
        owner,
        amount: AMOUNT,
    };
    let stream = format!("account-{}", Uuid::now_v7());
    by_hand::insert(pool, &stream, 1, &event).await?;
    Ok(stream)
}
