//! Transfers from end to end, on both stores, with and without many deadlines pending.
//!
//! A log that many transfers have written to is longer, which every append pays for, whatever became
//! of them. What it costs that their deadlines are pending is therefore measured against a log that
//! is as long, or a few events longer, by transfers that have ended. The logs take turns.

use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use annals::{
    Annals, App, Position, SagaDeadline, SagaOverview, Store,
    saga::{Instance, Linear, Plan, Retry, Saga, SagaStatus},
    sqlite::{SqliteOptions, SqliteStore},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::{
    rounds::{Random, Rounds},
    server::Server,
};
use crate::{
    Extent, Outcome,
    account::{Account, AccountCommand, AccountId},
    fill,
    measure::ratio,
    report::{Bound, Section, Target},
};

const ACCOUNTS: u64 = 1_000;
const CALLERS: u64 = 64;
const PENDING: u64 = 100_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a transfer waits that is pending: longer than any run.
const LATER: Duration = Duration::from_secs(24 * 3_600);

/// Money from one account to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Transfer {
    from: AccountId,
    to: AccountId,
}

impl Saga for Transfer {
    const NAME: &'static str = "transfer";
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _: &String, plan: &mut Plan) {
        plan.deadline(2 * LATER);
        plan.step("debit")
            .command::<Account>(&self.from, AccountCommand::Withdraw { amount: 1 })
            .undo(AccountCommand::Deposit { amount: 1 })
            .retry(Retry::until_deadline().waiting(LATER, LATER));
        plan.step("credit")
            .command::<Account>(&self.to, AccountCommand::Deposit { amount: 1 });
    }
}

/// A log with transfers running on it.
struct Bank {
    app: App,
    next: Arc<AtomicU64>,
    commands: Rounds,
    transfers: Rounds,
}

/// The logs of one kind of store.
struct Banks {
    name: &'static str,
    /// With nothing but what is measured.
    short: Bank,
    /// With many deadlines pending.
    pending: Bank,
    /// As long as that, by transfers that have ended.
    ended: Bank,
}

/// Measures both stores.
pub(crate) async fn measure(server: &Server, dir: &Path, extent: &Extent) -> Outcome<Vec<Section>> {
    const LOGS: [&str; 3] = ["short", "pending", "ended"];
    let schemas = LOGS.map(|log| format!("sagas_{log}"));
    let mut all = Vec::new();
    if extent.includes("SQLite") {
        let mut banks = Vec::new();
        for log in LOGS {
            let file = dir.join(format!("sagas-{log}.db")).display().to_string();
            let store = SqliteStore::open(&file, SqliteOptions::default()).await?;
            banks.push(Bank::open(store).await?);
        }
        all.push(Banks::of("SQLite", banks)?);
    }
    if extent.includes("PostgreSQL") {
        let mut banks = Vec::new();
        for schema in &schemas {
            banks.push(Bank::open(server.store(schema).await?).await?);
        }
        all.push(Banks::of("PostgreSQL", banks)?);
    }
    let length = Duration::from_millis(if extent.quick { 500 } else { 3_000 });
    let pending = if extent.quick { PENDING / 50 } else { PENDING };
    for banks in &all {
        banks.prepare(pending, length / 4).await?;
    }
    for _ in 0..extent.rounds {
        for banks in &mut all {
            for bank in [&mut banks.short, &mut banks.pending, &mut banks.ended] {
                bank.rounds(length).await?;
            }
        }
    }
    let sections = all.iter().map(|banks| banks.section(pending)).collect();
    for Banks {
        short,
        pending,
        ended,
        ..
    } in all
    {
        for bank in [short, pending, ended] {
            bank.app.shutdown().await;
        }
    }
    server.remove(&schemas).await?;
    Ok(sections)
}

impl Banks {
    fn of(name: &'static str, banks: Vec<Bank>) -> Outcome<Self> {
        let banks: [Bank; 3] = banks.try_into().map_err(|_| "three logs are compared")?;
        let [short, pending, ended] = banks;
        Ok(Self {
            name,
            short,
            pending,
            ended,
        })
    }

    /// Makes each log what it is to be, and warms it up.
    async fn prepare(&self, pending: u64, warming: Duration) -> Outcome<()> {
        let name = self.name;
        let banks = [&self.short, &self.pending, &self.ended];
        for bank in banks {
            bank.fund().await?;
        }
        eprintln!("{name}: starting {pending} transfers that wait ...");
        self.pending.start_waiting(0..pending).await?;
        eprintln!("{name}: ending as many as make a log of that length ...");
        self.ended.end_up_to(self.pending.head().await?).await?;
        for bank in banks {
            bank.round(warming, true).await?;
            bank.caught_up().await?;
        }
        let [pending, ended] = [self.pending.head().await?, self.ended.head().await?];
        eprintln!("{name}: {pending} events with deadlines pending, {ended} without");
        Ok(())
    }

    fn section(&self, pending: u64) -> Section {
        let rate = |one: &Rounds, other: &Rounds| ratio(&one.rates, &other.rates);
        let p99 = |one: &Rounds, other: &Rounds| ratio(&one.p99, &other.p99);
        let with = |what| format!("{what}, {pending} deadlines pending");
        let without = |what| format!("{what}, as long a log, none pending");
        let (short, burdened, ended) = (&self.short, &self.pending, &self.ended);
        Section {
            name: "sagas",
            about: format!(
                "transfers by {CALLERS} callers on {}, to the end",
                self.name
            ),
            unit: "per second",
            contestants: vec![
                short.commands.contestant("two bare commands"),
                short.transfers.contestant("a transfer, to completed"),
                burdened.commands.contestant(with("two bare commands")),
                burdened.transfers.contestant(with("a transfer")),
                ended.commands.contestant(without("two bare commands")),
                ended.transfers.contestant(without("a transfer")),
            ],
            targets: vec![
                Target::known(
                    "a transfer : two bare commands",
                    rate(&short.transfers, &short.commands),
                    "x",
                ),
                Target::known(
                    "the same, deadlines pending",
                    rate(&burdened.transfers, &burdened.commands),
                    "x",
                ),
                Target::new(
                    "transfers, deadlines pending : as long a log",
                    rate(&burdened.transfers, &ended.transfers),
                    "x",
                    Bound::AtLeast(0.9),
                ),
                Target::new(
                    "p99, deadlines pending : as long a log",
                    p99(&burdened.transfers, &ended.transfers),
                    "x",
                    Bound::Below(1.25),
                ),
                Target::known(
                    "two bare commands, deadlines pending : as long a log",
                    rate(&burdened.commands, &ended.commands),
                    "x",
                ),
                Target::known(
                    "transfers, deadlines pending : the short log",
                    rate(&burdened.transfers, &short.transfers),
                    "x",
                ),
                Target::known(
                    "p99, deadlines pending : the short log",
                    p99(&burdened.transfers, &short.transfers),
                    "x",
                ),
            ],
        }
    }
}

impl Bank {
    async fn open<S: Store + Clone>(store: S) -> Outcome<Self> {
        fill::events(&store, ACCOUNTS, ACCOUNTS).await?;
        Ok(Self {
            app: Annals::on(Arc::new(store))
                .saga::<Transfer>()
                .start()
                .await?,
            next: Arc::default(),
            commands: Rounds::default(),
            transfers: Rounds::default(),
        })
    }

    /// Gives every account enough for all transfers.
    async fn fund(&self) -> Outcome<()> {
        for account in 0..ACCOUNTS {
            let command = AccountCommand::Deposit { amount: 1 << 40 };
            let id = AccountId::numbered(account)?;
            self.app.execute::<Account>(&id, command).await?;
        }
        Ok(())
    }

    async fn head(&self) -> Outcome<Position> {
        Ok(self.app.store().head().await?)
    }

    /// Waits until the tables are, or what is measured next is how they catch up.
    async fn caught_up(&self) -> Outcome<()> {
        let head = self.head().await?;
        let caught_up = self.app.caught_up_within::<SagaOverview>(head, LATER);
        caught_up.await?;
        let caught_up = self.app.caught_up_within::<SagaDeadline>(head, LATER);
        caught_up.await?;
        Ok(())
    }

    /// Starts transfers from accounts that have nothing, which are tried again much later.
    async fn start_waiting(&self, numbers: Range<u64>) -> Outcome<()> {
        let started = numbers.map(|number| async move { self.waiting(number).await.map(drop) });
        let started = stream::iter(started).buffer_unordered(256);
        started.try_collect::<()>().await
    }

    /// Ends transfers that wait until the log is this long.
    async fn end_up_to(&self, length: Position) -> Outcome<()> {
        let mut next = 0;
        loop {
            let missing = length.get().saturating_sub(self.head().await?.get());
            if missing == 0 {
                return Ok(());
            }
            // Each comes to eight events: four until it waits, and four until it has ended.
            let numbers = next..next + missing.div_ceil(8);
            next = numbers.end;
            let ended = numbers.map(|number| async move {
                let id = self.waiting(number).await?;
                let sagas = self.app.sagas();
                sagas.abandon(Transfer::NAME, &id, "measured").await?;
                // What it has sent is taken back.
                self.until(&id, |saga| saga.outstanding().is_empty()).await
            });
            let ended = stream::iter(ended).buffer_unordered(256);
            ended.try_collect::<()>().await?;
        }
    }

    /// A transfer that is refused, and waits.
    async fn waiting(&self, number: u64) -> Outcome<String> {
        let transfer = Transfer {
            from: AccountId::numbered(ACCOUNTS + number)?,
            to: AccountId::numbered(number % ACCOUNTS)?,
        };
        let id = format!("pending-{number}");
        self.app.start_saga(&id, transfer).await?;
        let refused = |saga: &Instance<Linear<Transfer>>| {
            let debit = saga.outstanding().get("debit");
            debit.is_some_and(|debit| debit.refusals > 0)
        };
        self.until(&id, refused).await?;
        Ok(id)
    }

    async fn until(
        &self,
        id: &String,
        wanted: impl Fn(&Instance<Linear<Transfer>>) -> bool,
    ) -> Outcome<()> {
        loop {
            let saga = self.app.saga::<Transfer>(id).await?;
            if wanted(&saga.ok_or("a transfer is missing")?) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A turn of pairs of commands, and one of transfers.
    async fn rounds(&mut self, length: Duration) -> Outcome<()> {
        let (elapsed, latencies) = self.round(length, false).await?;
        self.commands.add_each(elapsed, &latencies)?;
        let (elapsed, latencies) = self.round(length, true).await?;
        self.transfers.add_each(elapsed, &latencies)
    }

    async fn round(&self, length: Duration, sagas: bool) -> Outcome<(Duration, Vec<f64>)> {
        let started = Instant::now();
        let end = started + length;
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (app, next) = (self.app.clone(), Arc::clone(&self.next));
                tokio::spawn(call(app, next, caller, end, sagas))
            })
            .collect();
        let mut latencies = Vec::new();
        for caller in callers {
            latencies.extend(caller.await??);
        }
        Ok((started.elapsed(), latencies))
    }
}

/// One caller: a transfer after the other, or its two commands without a saga.
async fn call(
    app: App,
    next: Arc<AtomicU64>,
    caller: u64,
    end: Instant,
    saga: bool,
) -> Outcome<Vec<f64>> {
    let mut latencies = Vec::new();
    let mut random = Random::of(caller);
    while Instant::now() < end {
        let from = AccountId::numbered(random.below(ACCOUNTS))?;
        let to = AccountId::numbered(random.below(ACCOUNTS))?;
        let started = Instant::now();
        if saga {
            let id = format!("{:012}", next.fetch_add(1, Ordering::Relaxed));
            app.start_saga(&id, Transfer { from, to }).await?;
            let ended = app.saga_ended::<Transfer>(&id, PATIENCE).await?;
            if ended.status() != SagaStatus::Completed {
                return Err(format!("transfer {id} is {:?}", ended.status()).into());
            }
        } else {
            let withdraw = AccountCommand::Withdraw { amount: 1 };
            app.execute::<Account>(&from, withdraw).await?;
            let deposit = AccountCommand::Deposit { amount: 1 };
            app.execute::<Account>(&to, deposit).await?;
        }
        latencies.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(latencies)
}
