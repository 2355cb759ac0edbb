//! Transfers from end to end, on both stores, with and without many deadlines pending.
//!
//! A log that many transfers have written to is longer, which every append pays for, whatever became
//! of them. What it costs that their deadlines are pending is what gets better on the same log once
//! the transfers that wait are given up.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use annals::{
    Annals, App, SagaDeadline, SagaOverview, Store,
    saga::{Plan, Retry, Saga, SagaStatus},
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

/// A store with transfers running on it.
struct Bank {
    name: &'static str,
    app: App,
    next: Arc<AtomicU64>,
    alone: Turns,
    /// With many deadlines pending.
    burdened: Turns,
    /// On the same log, with none pending any more.
    relieved: Turns,
}

/// What was measured in one state of a store.
#[derive(Default)]
struct Turns {
    commands: Rounds,
    transfers: Rounds,
}

#[derive(Clone, Copy)]
enum Burden {
    Alone,
    Burdened,
    Relieved,
}

/// Measures both stores.
pub(crate) async fn measure(server: &Server, dir: &Path, extent: &Extent) -> Outcome<Vec<Section>> {
    let schema = "sagas".to_owned();
    let mut banks = Vec::new();
    if extent.includes("SQLite") {
        let file = dir.join("sagas.db").display().to_string();
        let store = SqliteStore::open(&file, SqliteOptions::default()).await?;
        banks.push(Bank::open("SQLite", store).await?);
    }
    if extent.includes("PostgreSQL") {
        let store = server.store(&schema).await?;
        banks.push(Bank::open("PostgreSQL", store).await?);
    }
    let length = Duration::from_millis(if extent.quick { 500 } else { 3_000 });
    let pending = if extent.quick { PENDING / 50 } else { PENDING };
    for bank in &banks {
        bank.fund().await?;
        bank.round(length / 4, true).await?;
    }
    for burden in [Burden::Alone, Burden::Burdened, Burden::Relieved] {
        for bank in &banks {
            bank.prepare(burden, pending).await?;
        }
        for _ in 0..extent.rounds {
            for bank in &mut banks {
                bank.rounds(length, burden).await?;
            }
        }
    }
    let sections = banks.iter().map(|bank| bank.section(pending)).collect();
    for bank in banks {
        bank.app.shutdown().await;
    }
    server.remove(&[schema]).await?;
    Ok(sections)
}

impl Bank {
    async fn open<S: Store + Clone>(name: &'static str, store: S) -> Outcome<Self> {
        fill::events(&store, ACCOUNTS, ACCOUNTS).await?;
        Ok(Self {
            name,
            app: Annals::on(Arc::new(store))
                .saga::<Transfer>()
                .start()
                .await?,
            next: Arc::default(),
            alone: Turns::default(),
            burdened: Turns::default(),
            relieved: Turns::default(),
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

    async fn prepare(&self, burden: Burden, pending: u64) -> Outcome<()> {
        match burden {
            Burden::Alone => return Ok(()),
            Burden::Burdened => {
                eprintln!("{}: starting {pending} transfers that wait ...", self.name);
                self.keep_pending(pending).await?;
            }
            Burden::Relieved => {
                eprintln!("{}: giving them up ...", self.name);
                self.give_up(pending).await?;
            }
        }
        // Or what is measured next is how the tables catch up.
        let head = self.app.store().head().await?;
        let caught_up = self.app.caught_up_within::<SagaOverview>(head, LATER);
        caught_up.await?;
        let caught_up = self.app.caught_up_within::<SagaDeadline>(head, LATER);
        caught_up.await?;
        Ok(())
    }

    /// Starts transfers from accounts that have nothing, which are tried again much later.
    async fn keep_pending(&self, count: u64) -> Outcome<()> {
        let started = (0..count).map(|number| async move {
            let transfer = Transfer {
                from: AccountId::numbered(ACCOUNTS + number)?,
                to: AccountId::numbered(number % ACCOUNTS)?,
            };
            let id = format!("pending-{number}");
            self.app.start_saga(&id, transfer).await?;
            Outcome::Ok(())
        });
        let started = stream::iter(started).buffer_unordered(256);
        started.try_collect::<()>().await?;
        // The last one was refused, so all are waiting, or will be in a moment.
        for number in count.saturating_sub(1_000)..count {
            let id = format!("pending-{number}");
            while self.is_untried(&id).await? {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Ends the transfers that wait.
    async fn give_up(&self, count: u64) -> Outcome<()> {
        let given_up = (0..count).map(|number| async move {
            let id = format!("pending-{number}");
            let sagas = self.app.sagas();
            sagas.abandon(Transfer::NAME, &id, "measured").await?;
            Outcome::Ok(())
        });
        let given_up = stream::iter(given_up).buffer_unordered(256);
        given_up.try_collect::<()>().await
    }

    async fn is_untried(&self, id: &String) -> Outcome<bool> {
        let saga = self.app.saga::<Transfer>(id).await?;
        let saga = saga.ok_or("a transfer is missing")?;
        let debit = saga.outstanding().get("debit");
        Ok(debit.is_none_or(|debit| debit.refusals == 0))
    }

    /// A turn of pairs of commands, and one of transfers.
    async fn rounds(&mut self, length: Duration, burden: Burden) -> Outcome<()> {
        for sagas in [false, true] {
            let (elapsed, latencies) = self.round(length, sagas).await?;
            let turns = match burden {
                Burden::Alone => &mut self.alone,
                Burden::Burdened => &mut self.burdened,
                Burden::Relieved => &mut self.relieved,
            };
            let rounds = match sagas {
                true => &mut turns.transfers,
                false => &mut turns.commands,
            };
            rounds.add_each(elapsed, &latencies)?;
        }
        Ok(())
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

    fn section(&self, pending: u64) -> Section {
        let rate = |one: &Rounds, other: &Rounds| ratio(&one.rates, &other.rates);
        let with = |what| format!("{what}, {pending} deadlines pending");
        let without = |what| format!("{what}, the same log, none pending");
        let (alone, burdened, relieved) = (&self.alone, &self.burdened, &self.relieved);
        Section {
            name: "sagas",
            about: format!(
                "transfers by {CALLERS} callers on {}, to the end",
                self.name
            ),
            unit: "per second",
            contestants: vec![
                alone.commands.contestant("two bare commands"),
                alone.transfers.contestant("a transfer, to completed"),
                burdened.commands.contestant(with("two bare commands")),
                burdened.transfers.contestant(with("a transfer")),
                relieved.commands.contestant(without("two bare commands")),
                relieved.transfers.contestant(without("a transfer")),
            ],
            targets: vec![
                Target::known(
                    "a transfer : two bare commands",
                    rate(&alone.transfers, &alone.commands),
                    "x",
                ),
                Target::known(
                    "the same, deadlines pending",
                    rate(&burdened.transfers, &burdened.commands),
                    "x",
                ),
                Target::new(
                    "transfers, deadlines pending : the same log without",
                    rate(&burdened.transfers, &relieved.transfers),
                    "x",
                    Bound::AtLeast(0.9),
                ),
                Target::new(
                    "p99, deadlines pending : the same log without",
                    ratio(&burdened.transfers.p99, &relieved.transfers.p99),
                    "x",
                    Bound::Below(1.25),
                ),
            ],
        }
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
