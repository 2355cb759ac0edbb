//! Appends of one event, many callers at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use annals::{Annals, App, Append, EventStore as _, Expected, postgres::PostgresStore};
use chrono::Utc;
use sqlx::PgPool;

use super::{
    by_hand::{self, Bare},
    rounds::{Random, Rounds},
    server::Server,
};
use crate::{
    Extent, Outcome,
    account::{Account, AccountCommand, AccountEvent, AccountId, owner},
    fill,
    measure::{median, ratio},
    report::{Bound, Section, Target},
};

const ACCOUNTS: u64 = 1_000;
const CALLERS: [u64; 2] = [64, 256];
/// How many connections the hand-written application has; the best of them counts.
const POOLS: [u32; 2] = [10, 30];
const AMOUNT: i64 = 100;

/// How an event gets into the log.
#[derive(Clone)]
enum Way {
    /// `App::execute`.
    App(App),
    /// `PostgresStore::append_in`, in a transaction of the caller's own.
    Within(PostgresStore, PgPool),
    /// A hand-written transaction.
    ByHand(PgPool),
}

impl Way {
    async fn deposit(&self, account: u64) -> Outcome<()> {
        let id = AccountId::numbered(account)?;
        let event = || AccountEvent::Deposited {
            owner: owner(account),
            amount: AMOUNT,
        };
        match self {
            Self::App(app) => {
                let command = AccountCommand::Deposit { amount: AMOUNT };
                app.execute::<Account>(&id, command).await?;
            }
            Self::Within(store, pool) => {
                let events = vec![fill::new_event(&event())?];
                let append = Append::to(id.stream()?, Expected::Any, events, Utc::now());
                let mut transaction = pool.begin().await?;
                store.append_in(&mut transaction, append).await?;
                transaction.commit().await?;
            }
            Self::ByHand(pool) => {
                by_hand::append(pool, id.stream()?.as_str(), &event()).await?;
            }
        }
        Ok(())
    }
}

struct Entrant {
    name: String,
    way: Way,
    rounds: Rounds,
}

/// Everybody who appends with so many callers.
struct Field {
    callers: u64,
    execute: Entrant,
    others: Vec<Entrant>,
    /// The bare insert and its pool of one connection.
    bare: Bare,
    bare_pool: PgPool,
    bare_rounds: Rounds,
    /// Looks at the log of `execute`.
    log: PgPool,
    /// How many events each of its transactions had, round by round.
    batches: Vec<f64>,
}

/// Lets all contestants take turns.
pub(crate) async fn measure(server: &Server, extent: &Extent) -> Outcome<Vec<Section>> {
    let length = Duration::from_millis(if extent.quick { 300 } else { 2_000 });
    let mut sections = Vec::new();
    for callers in CALLERS {
        let (mut field, schemas) = Field::open(server, callers).await?;
        field.round(length / 4).await?;
        field.forget();
        for _ in 0..extent.rounds {
            field.round(length).await?;
        }
        sections.push(field.section());
        field.close().await;
        server.remove(&schemas).await?;
    }
    Ok(sections)
}

impl Field {
    async fn open(server: &Server, callers: u64) -> Outcome<(Self, Vec<String>)> {
        let named = |name: &str| format!("{name}_{callers}");
        let (app, within, bare) = (named("app"), named("within"), named("bare"));
        let mut schemas = vec![app.clone(), within.clone(), bare.clone()];
        let store = filled(server, &app).await?;
        let running = Annals::on(Arc::new(store)).start().await?;
        let log = server.pool(&app, 1).await?;
        let mut others = Vec::new();
        for connections in POOLS {
            let schema = named(&format!("pool{connections}"));
            let sql = include_str!("../../sql/postgres/create_log.sql");
            server.create(&schema, sql).await?;
            let pool = server.pool(&schema, connections).await?;
            for account in 0..ACCOUNTS {
                let way = Way::ByHand(pool.clone());
                way.deposit(account).await?;
            }
            let name = format!("hand-written transaction, pool of {connections}");
            others.push(Entrant::new(name, Way::ByHand(pool)));
            schemas.push(schema);
        }
        let store = filled(server, &within).await?;
        let pool = server.pool(&within, 10).await?;
        let name = "append_in, in a transaction of one's own";
        others.push(Entrant::new(name, Way::Within(store, pool)));
        filled(server, &bare).await?.close().await;
        let field = Self {
            callers,
            execute: Entrant::new("execute", Way::App(running)),
            others,
            bare: Bare::after(ACCOUNTS)?,
            bare_pool: server.pool(&bare, 1).await?,
            bare_rounds: Rounds::default(),
            log,
            batches: Vec::new(),
        };
        Ok((field, schemas))
    }

    /// One turn for each: first Annals, then the bare insert, whose batches are as large as its were.
    ///
    /// Those two are next to each other, as the machine's speed changes within seconds.
    async fn round(&mut self, length: Duration) -> Outcome<()> {
        let before = self.head().await?;
        self.execute.round(self.callers, length).await?;
        let (events, batches): (i64, i64) =
            sqlx::query_as(include_str!("../../sql/postgres/batches.sql"))
                .bind(before)
                .fetch_one(&self.log)
                .await?;
        let batch = events as f64 / batches.max(1) as f64;
        self.batches.push(batch);
        let rows = batch.round().max(1.0) as usize;
        self.bare_round(rows, length).await?;
        for entrant in &mut self.others {
            entrant.round(self.callers, length).await?;
        }
        Ok(())
    }

    async fn bare_round(&mut self, batch: usize, length: Duration) -> Outcome<()> {
        let mut conn = self.bare_pool.acquire().await?;
        let mut random = Random::of(7);
        let (started, mut count, mut latencies) = (Instant::now(), 0, Vec::new());
        while started.elapsed() < length {
            let accounts: Vec<u64> = (0..batch).map(|_| random.below(ACCOUNTS)).collect();
            let begun = Instant::now();
            self.bare.append(&mut conn, &accounts, AMOUNT).await?;
            latencies.push(begun.elapsed().as_secs_f64() * 1e3);
            count += u64::try_from(batch)?;
        }
        self.bare_rounds.add(count, started.elapsed(), &latencies);
        Ok(())
    }

    async fn head(&self) -> Outcome<i64> {
        let query = sqlx::query_scalar(include_str!("../../sql/postgres/head.sql"));
        Ok(query.fetch_one(&self.log).await?)
    }

    fn forget(&mut self) {
        self.execute.rounds = Rounds::default();
        for entrant in &mut self.others {
            entrant.rounds = Rounds::default();
        }
        self.bare_rounds = Rounds::default();
        self.batches.clear();
    }

    async fn close(self) {
        for entrant in std::iter::once(self.execute).chain(self.others) {
            match entrant.way {
                Way::App(app) => app.shutdown().await,
                Way::Within(store, pool) => {
                    pool.close().await;
                    store.close().await;
                }
                Way::ByHand(pool) => pool.close().await,
            }
        }
        self.bare_pool.close().await;
        self.log.close().await;
    }

    fn section(&self) -> Section {
        let callers = self.callers;
        let ours = &self.execute.rounds;
        let best = |wanted: fn(&Way) -> bool| {
            let found = self.others.iter().filter(move |one| wanted(&one.way));
            found
                .map(|entrant| &entrant.rounds)
                .max_by(|a, b| median(&a.rates).total_cmp(&median(&b.rates)))
        };
        let none = Rounds::default();
        let by_hand = best(|way| matches!(way, Way::ByHand(_))).unwrap_or(&none);
        let within = best(|way| matches!(way, Way::Within(..))).unwrap_or(&none);
        let times = Bound::AtLeast(if callers == 64 { 4.0 } else { 6.0 });
        let bare = Bound::AtLeast(0.6);
        let mut contestants: Vec<_> = std::iter::once(&self.execute)
            .chain(&self.others)
            .map(|entrant| entrant.rounds.contestant(&entrant.name))
            .collect();
        let batch = median(&self.batches);
        let name = format!("bare UNNEST insert, {batch:.0} rows each");
        contestants.push(self.bare_rounds.contestant(name));
        let rate = |rounds: &Rounds, other: &Rounds| ratio(&rounds.rates, &other.rates);
        Section {
            name: "postgres appends",
            about: format!("deposits to {ACCOUNTS} accounts by {callers} callers, durable"),
            unit: "events/s",
            contestants,
            targets: vec![
                Target::new(
                    "execute : best hand-written",
                    rate(ours, by_hand),
                    "x",
                    times,
                ),
                Target::new(
                    "execute : bare insert",
                    rate(ours, &self.bare_rounds),
                    "x",
                    bare,
                ),
                Target::new(
                    "p99 of execute : p99 of best hand-written",
                    ratio(&ours.p99, &by_hand.p99),
                    "x",
                    Bound::Below(1.0),
                ),
                Target::known("append_in : best hand-written", rate(within, by_hand), "x"),
                Target::known("append_in : execute", rate(within, ours), "x"),
                Target::known("events in a group commit", batch, ""),
            ],
        }
    }
}

impl Entrant {
    fn new(name: impl Into<String>, way: Way) -> Self {
        Self {
            name: name.into(),
            way,
            rounds: Rounds::default(),
        }
    }

    async fn round(&mut self, callers: u64, length: Duration) -> Outcome<()> {
        let started = Instant::now();
        let callers: Vec<_> = (0..callers)
            .map(|caller| tokio::spawn(call(self.way.clone(), caller, started + length)))
            .collect();
        let mut latencies = Vec::new();
        for caller in callers {
            latencies.extend(caller.await??);
        }
        self.rounds.add_each(started.elapsed(), &latencies)
    }
}

/// One caller: a deposit after the other. Answers how long each took, in milliseconds.
async fn call(way: Way, caller: u64, end: Instant) -> Outcome<Vec<f64>> {
    let mut latencies = Vec::new();
    let mut random = Random::of(caller);
    while Instant::now() < end {
        let started = Instant::now();
        way.deposit(random.below(ACCOUNTS)).await?;
        latencies.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(latencies)
}

async fn filled(server: &Server, name: &str) -> Outcome<PostgresStore> {
    let store = server.store(name).await?;
    fill::events(&store, ACCOUNTS, ACCOUNTS).await?;
    server.vacuum(name).await?;
    Ok(store)
}
