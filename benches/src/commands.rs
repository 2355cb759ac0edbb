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
    measure::{median, per_second, processor_seconds, quantile, ratio},
    report::{Bound, Contestant, Section, Target},
};

const ACCOUNTS: u64 = 1_000;
const CALLERS: u64 = 64;
const MANY_CALLERS: u64 = 256;
/// How many connections the hand-written application has; the best of them counts.
const POOLS: [u32; 3] = [1, 4, 10];
const DEPOSIT: i64 = 100;

const WARM: &str = "execute, states cached";
const COLD: &str = "execute, nothing cached";
const FOLLOWED: &str = "execute, states cached, a read model following";
const STORE: &str = "append to the store";
const MANY_WARM: &str = "256 callers: execute, states cached";
const MANY_STORE: &str = "256 callers: append to the store";

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
    /// Processor time a command, in microseconds.
    processor: Vec<f64>,
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
            processor: Vec::new(),
        }
    }

    fn rate(&self) -> f64 {
        median(&self.rates)
    }

    async fn round(&mut self, length: Duration) -> Outcome<()> {
        let started = Instant::now();
        let processor_before = processor_seconds();
        let callers: Vec<_> = (0..self.callers)
            .map(|caller| tokio::spawn(call(self.way.clone(), caller, started + length)))
            .collect();
        let mut latencies = Vec::new();
        for caller in callers {
            latencies.extend(caller.await??);
        }
        let count = u64::try_from(latencies.len())?;
        self.rates.push(per_second(count, started.elapsed()));
        let processor = processor_seconds() - processor_before;
        self.processor
            .push(processor * 1e6 / latencies.len().max(1) as f64);
        self.p50.push(quantile(&latencies, 0.5));
        self.p99.push(quantile(&latencies, 0.99));
        Ok(())
    }

    fn contestant(&self) -> Contestant {
        let [p50, p99, processor] = [&self.p50, &self.p99, &self.processor].map(|all| median(all));
        let notes =
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms, {processor:.0} µs of processor each");
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
pub(crate) async fn measure(dir: &Path, extent: &Extent) -> Outcome<Section> {
    let length = Duration::from_millis(if extent.quick { 200 } else { 1_000 });
    let mut entrants = entrants(dir).await?;
    entrants.retain(|entrant| extent.includes(&entrant.name));
    for entrant in &mut entrants {
        entrant.round(length / 4).await?;
        entrant.rates.clear();
        entrant.p50.clear();
        entrant.p99.clear();
        entrant.processor.clear();
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
    let ways = [
        (WARM, app(dir, "warm", warm, !follows).await?, CALLERS),
        (COLD, app(dir, "cold", cold, !follows).await?, CALLERS),
        (
            FOLLOWED,
            app(dir, "followed", warm, follows).await?,
            CALLERS,
        ),
        (STORE, store(dir, "store").await?, CALLERS),
        (
            MANY_WARM,
            app(dir, "many", warm, !follows).await?,
            MANY_CALLERS,
        ),
        (MANY_STORE, store(dir, "many-store").await?, MANY_CALLERS),
    ];
    let mut entrants: Vec<_> = ways
        .into_iter()
        .map(|(name, way, callers)| Entrant::new(name, way, callers))
        .collect();
    for (callers, prefix) in [(CALLERS, ""), (MANY_CALLERS, "256 callers: ")] {
        for connections in POOLS {
            let file = format!("pool-{callers}-{connections}");
            let way = hand_written(dir, &file, connections).await?;
            let name = format!("{prefix}hand-written transaction, pool of {connections}");
            entrants.push(Entrant::new(name, way, callers));
        }
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
    let rates = |name: &str| {
        let entrant = entrants.iter().find(|entrant| entrant.name == name);
        entrant.map_or(&[][..], |entrant| &entrant.rates)
    };
    let best = |callers| {
        let by_hand = entrants.iter().filter(|entrant| {
            entrant.callers == callers && matches!(entrant.way, Way::HandWritten(_))
        });
        by_hand
            .max_by(|a, b| a.rate().total_cmp(&b.rate()))
            .map_or(&[][..], |entrant| &entrant.rates)
    };
    let raw = best(CALLERS);
    let at_least = Bound::AtLeast(8.0);
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
                ratio(rates(WARM), raw),
                "x",
                at_least,
            ),
            Target::new(
                "nothing cached : best hand-written",
                ratio(rates(COLD), raw),
                "x",
                at_least,
            ),
            Target::known(
                "a read model following : best hand-written",
                ratio(rates(FOLLOWED), raw),
                "x",
            ),
            Target::known(
                "256 callers, states cached : best hand-written",
                ratio(rates(MANY_WARM), best(MANY_CALLERS)),
                "x",
            ),
            Target::known(
                "states cached : append to the store",
                ratio(rates(WARM), rates(STORE)),
                "x",
            ),
        ],
    }
}
