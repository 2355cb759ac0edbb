//! Commands of one event each, many callers at a time.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use annals::{
    Annals, App, Append, CommandOptions, EventStore as _, Expected,
    sqlite::{SqliteOptions, SqliteStore},
};
use chrono::Utc;
use sqlx::SqlitePool;

use crate::{
    Extent, Outcome,
    account::{Account, AccountCommand, AccountEvent, AccountId, UserBalance, owner},
    fill, hand_written,
    measure::{median, per_second, quantile},
    report::{Bound, Contestant, Section, Target},
};

const ACCOUNTS: u64 = 1_000;
const CALLERS: u64 = 64;
const MANY_CALLERS: u64 = 256;
/// How many connections the hand-written application has; the best of them counts.
const POOLS: [u32; 3] = [1, 4, 10];
const DEPOSIT: i64 = 100;

/// How a command gets into the log.
#[derive(Clone)]
enum Way {
    /// `App::execute`.
    App(App),
    /// `EventStore::append`, with nothing decided.
    Store(SqliteStore),
    /// A hand-written transaction.
    HandWritten(SqlitePool),
}

impl Way {
    async fn deposit(&self, account: u64) -> Outcome<()> {
        let id = AccountId::numbered(account)?;
        let event = || AccountEvent::Deposited {
            owner: owner(account),
            amount: DEPOSIT,
        };
        match self {
            Self::App(app) => {
                let command = AccountCommand::Deposit { amount: DEPOSIT };
                app.execute::<Account>(&id, command).await?;
            }
            Self::Store(store) => {
                let events = vec![fill::new_event(&event())?];
                let append = Append::to(id.stream()?, Expected::StreamExists, events, Utc::now());
                store.append(append).await?;
            }
            Self::HandWritten(pool) => {
                hand_written::append(pool, id.stream()?.as_str(), &event()).await?;
            }
        }
        Ok(())
    }
}

struct Entrant {
    name: String,
    way: Way,
    callers: u64,
    /// What each round gave.
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Entrant {
    fn new(name: impl Into<String>, way: Way, callers: u64) -> Self {
        Self {
            name: name.into(),
            way,
            callers,
            rates: Vec::new(),
            p50: Vec::new(),
            p99: Vec::new(),
        }
    }

    fn rate(&self) -> f64 {
        median(&self.rates)
    }

    async fn round(&mut self, length: Duration) -> Outcome<()> {
        let started = Instant::now();
        let callers: Vec<_> = (0..self.callers)
            .map(|caller| tokio::spawn(call(self.way.clone(), caller, started + length)))
            .collect();
        let mut latencies = Vec::new();
        for caller in callers {
            latencies.extend(caller.await??);
        }
        let count = u64::try_from(latencies.len())?;
        self.rates.push(per_second(count, started.elapsed()));
        self.p50.push(quantile(&latencies, 0.5));
        self.p99.push(quantile(&latencies, 0.99));
        Ok(())
    }

    fn contestant(&self) -> Contestant {
        let (p50, p99) = (median(&self.p50), median(&self.p99));
        let notes = format!("p50 {p50:.1} ms, p99 {p99:.1} ms");
        Contestant::new(&self.name, self.rates.clone(), notes)
    }
}

/// One caller: a deposit after the other, each to an account that looks random. Answers how long
/// each took, in milliseconds.
async fn call(way: Way, caller: u64, end: Instant) -> Outcome<Vec<f64>> {
    let mut latencies = Vec::new();
    let mut state = caller.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while Instant::now() < end {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let started = Instant::now();
        way.deposit(state % ACCOUNTS).await?;
        latencies.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(latencies)
}

/// Lets all contestants take turns.
pub(crate) async fn measure(dir: &Path, extent: Extent) -> Outcome<Section> {
    let length = Duration::from_millis(if extent.quick { 200 } else { 1_000 });
    let mut entrants = entrants(dir).await?;
    for entrant in &mut entrants {
        entrant.round(length / 4).await?;
        entrant.rates.clear();
        entrant.p50.clear();
        entrant.p99.clear();
    }
    for _ in 0..extent.rounds {
        for entrant in &mut entrants {
            entrant.round(length).await?;
        }
    }
    let section = section(&entrants);
    for entrant in entrants {
        match entrant.way {
            Way::App(app) => app.shutdown().await,
            Way::Store(store) => store.close().await,
            Way::HandWritten(pool) => pool.close().await,
        }
    }
    Ok(section)
}

/// Every contestant with a file of its own, and the accounts opened.
async fn entrants(dir: &Path) -> Outcome<Vec<Entrant>> {
    let warm = CommandOptions::default();
    let cold = CommandOptions {
        cached_streams: 1,
        ..warm
    };
    let follows = true;
    let mut entrants = vec![
        Entrant::new(
            "execute, states cached",
            app(dir, "warm", warm, !follows).await?,
            CALLERS,
        ),
        Entrant::new(
            "execute, nothing cached",
            app(dir, "cold", cold, !follows).await?,
            CALLERS,
        ),
        Entrant::new(
            "execute, states cached, a read model following",
            app(dir, "followed", warm, follows).await?,
            CALLERS,
        ),
        Entrant::new("append to the store", store(dir, "store").await?, CALLERS),
    ];
    for connections in POOLS {
        let way = hand_written(dir, &format!("pool{connections}"), connections).await?;
        let name = format!("hand-written transaction, pool of {connections}");
        entrants.push(Entrant::new(name, way, CALLERS));
    }
    entrants.push(Entrant::new(
        "256 callers: execute, states cached",
        app(dir, "warm256", warm, !follows).await?,
        MANY_CALLERS,
    ));
    entrants.push(Entrant::new(
        "256 callers: append to the store",
        store(dir, "store256").await?,
        MANY_CALLERS,
    ));
    for connections in POOLS {
        let way = hand_written(dir, &format!("many{connections}"), connections).await?;
        let name = format!("256 callers: hand-written transaction, pool of {connections}");
        entrants.push(Entrant::new(name, way, MANY_CALLERS));
    }
    Ok(entrants)
}

async fn app(dir: &Path, name: &str, options: CommandOptions, follows: bool) -> Outcome<Way> {
    let Way::Store(store) = store(dir, name).await? else {
        return Err("not a store".into());
    };
    let builder = Annals::on(Arc::new(store)).command_options(options);
    let builder = match follows {
        true => builder.projection::<UserBalance>(),
        false => builder,
    };
    Ok(Way::App(builder.start().await?))
}

/// A store in a new file, with the accounts opened.
async fn store(dir: &Path, name: &str) -> Outcome<Way> {
    let file = dir.join(format!("{name}.db"));
    fill::log(&file, ACCOUNTS, ACCOUNTS).await?;
    let store = SqliteStore::open(&file.display().to_string(), SqliteOptions::default()).await?;
    Ok(Way::Store(store))
}

async fn hand_written(dir: &Path, name: &str, connections: u32) -> Outcome<Way> {
    let file = dir.join(format!("{name}.db"));
    fill::log(&file, ACCOUNTS, ACCOUNTS).await?;
    Ok(Way::HandWritten(
        hand_written::pool(&file, connections).await?,
    ))
}

fn section(entrants: &[Entrant]) -> Section {
    let rate = |name: &str| {
        let entrant = entrants.iter().find(|entrant| entrant.name == name);
        entrant.map_or(0.0, Entrant::rate)
    };
    let best = |callers| {
        let by_hand = entrants.iter().filter(|entrant| {
            entrant.callers == callers && matches!(entrant.way, Way::HandWritten(_))
        });
        by_hand.map(Entrant::rate).fold(0.0, f64::max)
    };
    let warm = rate("execute, states cached");
    let raw = best(CALLERS);
    Section {
        name: "commands",
        about: format!(
            "deposits to {ACCOUNTS} accounts by {CALLERS} callers, durable when answered"
        ),
        unit: "commands/s",
        contestants: entrants.iter().map(Entrant::contestant).collect(),
        targets: vec![
            Target::new(
                "states cached : best hand-written",
                warm / raw,
                "x",
                Bound::AtLeast(8.0),
            ),
            Target::new(
                "nothing cached : best hand-written",
                rate("execute, nothing cached") / raw,
                "x",
                Bound::AtLeast(8.0),
            ),
            Target::known(
                "a read model following : best hand-written",
                rate("execute, states cached, a read model following") / raw,
                "x",
            ),
            Target::known(
                "256 callers, states cached : best hand-written",
                rate("256 callers: execute, states cached") / best(MANY_CALLERS),
                "x",
            ),
            Target::known(
                "states cached : append to the store",
                warm / rate("append to the store"),
                "x",
            ),
        ],
    }
}
