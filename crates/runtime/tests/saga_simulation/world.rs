//! One run: nodes that die and overlap, accounts that are frozen and closed, transfers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use annals_core::{Clock, MemoryStore, ProjectionStore as _, saga::SagaStatus};
use annals_runtime::{App, Builder, ProjectionOptions, SagaOptions, SagaQuery};
use annals_testing::{
    clock::{SequentialIds, dawn},
    delegating::Delegating,
    seed::Seed,
};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::{
    accounts::{Account, AccountCommand, Transfer, transfer},
    ledger,
    node::{Faults, Node, Oddities},
};

const ACCOUNTS: [&str; 4] = ["a", "b", "c", "d"];
/// A time in which every deadline and retry comes about.
const LONG: Duration = Duration::from_secs(60);

/// The simulated time, and by how much the clock is wrong.
#[derive(Debug)]
struct SimClock {
    start: Instant,
    wrong: Mutex<TimeDelta>,
}

impl Clock for SimClock {
    fn now(&self) -> DateTime<Utc> {
        let wrong = *self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        dawn() + TimeDelta::from_std(self.start.elapsed()).unwrap() + wrong
    }
}

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub(crate) transfers: usize,
    pub(crate) faults: Faults,
    /// Whether nodes die, overlap and have wrong clocks at random.
    pub(crate) chaos: bool,
    /// What becomes of the account that the only transfer goes to.
    pub(crate) target: Option<Target>,
    /// How long that transfer may take as a whole; others have limits at random.
    pub(crate) within: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Open,
    Closed,
    Frozen,
}

struct World {
    store: Arc<MemoryStore>,
    clock: Arc<SimClock>,
    ids: Arc<SequentialIds>,
    seed: Seed,
    faults: Faults,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// How many operations the first node did.
    pub(crate) operations: u64,
    /// What was odd about how the nodes saw the log.
    pub(crate) oddities: Oddities,
    /// The log, a line for each event.
    pub(crate) log: Vec<String>,
}

/// Runs a script; answers what became of it, or what is wrong with the log.
pub(crate) fn run(seed: u64, script: Script) -> Result<Course, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let clock = SimClock {
            start: Instant::now(),
            wrong: Mutex::default(),
        };
        let mut world = World {
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(clock),
            ids: Arc::default(),
            seed: Seed::new(seed),
            faults: script.faults,
        };
        world.play(script).await
    })
}

impl World {
    async fn play(&mut self, script: Script) -> Result<Course, String> {
        self.prepare(script).await;
        let (node, app) = self.node(self.faults).await;
        let first = Arc::clone(&node);
        let mut running = vec![(node, app)];
        for number in 0..script.transfers {
            self.start(&mut running, number, script).await;
            if script.chaos {
                self.disturb(&mut running).await;
            }
        }
        // Let what is under way come to its deadlines, in whatever way it goes wrong.
        tokio::select! {
            biased;
            () = first.died() => {}
            () = tokio::time::sleep(LONG) => {}
        }
        let operations = first.operations();
        let mut oddities = Oddities::default();
        for (node, _) in &running {
            oddities.add(node.oddities());
        }
        self.settle(running).await?;
        ledger::check(&self.store, script.transfers).await?;
        let log = ledger::lines(&self.store).await;
        Ok(Course {
            operations,
            oddities,
            log,
        })
    }

    async fn prepare(&mut self, script: Script) {
        for account in ACCOUNTS {
            let deposit = AccountCommand::Deposit { cents: 100 };
            self.command(account, deposit).await;
        }
        match script.target {
            Some(Target::Closed) => self.command("b", AccountCommand::Close).await,
            Some(Target::Frozen) => self.command("b", AccountCommand::Freeze).await,
            Some(Target::Open) | None => {}
        }
    }

    fn sound(&self) -> Faults {
        Faults {
            refused: 0,
            unknown: 0,
            odd: 0,
            death: None,
            planted: self.faults.planted,
        }
    }

    /// A node that takes over from whichever ran before, dead or not.
    async fn node(&mut self, mut faults: Faults) -> (Arc<Delegating<Node>>, App) {
        loop {
            self.free_leases().await;
            let node = Node::new(Arc::clone(&self.store), self.seed.number(), faults);
            let poll = Duration::from_secs(1);
            let hours = Duration::from_secs(1_000_000);
            let store: Arc<Delegating<Node>> = Arc::clone(&node);
            let starting = Builder::new(store)
                .clock(self.clock.clone())
                .ids(self.ids.clone())
                .projection_options(ProjectionOptions {
                    poll,
                    lease: hours,
                    patience: hours,
                    ..ProjectionOptions::default()
                })
                .saga_options(SagaOptions {
                    poll,
                    lease: hours,
                    ..SagaOptions::default()
                })
                .saga::<Transfer>()
                .start();
            tokio::select! {
                biased;
                started = starting => {
                    if let Ok(app) = started {
                        return (node, app);
                    }
                }
                () = node.died() => {}
            }
            // One that dies while it starts would do so for ever.
            faults.death = None;
        }
    }

    async fn free_leases(&self) {
        for record in self.store.projections().await.unwrap() {
            if let Some(owner) = record.owner {
                self.store.release(&record.name, &owner).await.unwrap();
            }
        }
    }

    /// Asks for a transfer until somebody answers, more than once at times.
    async fn start(
        &mut self,
        running: &mut Vec<(Arc<Delegating<Node>>, App)>,
        number: usize,
        script: Script,
    ) {
        let from = self.seed.below(ACCOUNTS.len());
        let to = (from + 1 + self.seed.below(ACCOUNTS.len() - 1)) % ACCOUNTS.len();
        let cents = 20 + i64::try_from(self.seed.below(60)).unwrap();
        // Shorter and longer than the step's own deadline.
        let limits = [None, Some(15), Some(45)].map(|limit| limit.map(Duration::from_secs));
        let within = limits[self.seed.below(limits.len())];
        let asked = match script.target {
            Some(_) => Transfer {
                within: script.within,
                ..transfer("a", "b", 30)
            },
            None => Transfer {
                within,
                ..transfer(ACCOUNTS[from], ACCOUNTS[to], cents)
            },
        };
        let mut answers = 1 + self.seed.below(2);
        while answers > 0 {
            let Some((node, app)) = running.iter().rfind(|(node, _)| !node.is_dead()) else {
                let fresh = self.node(self.sound()).await;
                running.push(fresh);
                continue;
            };
            let id = number.to_string();
            tokio::select! {
                biased;
                started = app.start_saga(&id, asked.clone()) => answers -= usize::from(started.is_ok()),
                () = node.died() => {}
            }
        }
    }

    /// Something happens.
    async fn disturb(&mut self, running: &mut Vec<(Arc<Delegating<Node>>, App)>) {
        match self.seed.below(10) {
            0 | 1 => {
                for (node, _) in running.iter() {
                    node.kill();
                }
                let fresh = self.node(self.faults).await;
                running.push(fresh);
            }
            // The node before goes on, and does not know that it is not alone any more.
            2 | 3 => {
                let fresh = self.node(self.faults).await;
                running.push(fresh);
            }
            4 => {
                let hour = TimeDelta::hours(1);
                let wrong = [-hour, hour][self.seed.below(2)];
                *self.clock.wrong.lock().unwrap() += wrong;
            }
            5 | 6 => {
                let account = ACCOUNTS[self.seed.below(ACCOUNTS.len())];
                let command =
                    [AccountCommand::Freeze, AccountCommand::Unfreeze][self.seed.below(2)].clone();
                self.command(account, command).await;
            }
            7 if self.seed.below(3) == 0 => {
                let account = ACCOUNTS[self.seed.below(ACCOUNTS.len())];
                self.command(account, AccountCommand::Close).await;
            }
            _ => {
                let pause = Duration::from_millis(u64::try_from(self.seed.below(20_000)).unwrap());
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// A command from somewhere else.
    async fn command(&mut self, account: &str, command: AccountCommand) {
        let builder = Builder::new(self.store.clone());
        let builder = builder.clock(self.clock.clone()).ids(self.ids.clone());
        let app = builder.connect().await.unwrap();
        // Whether the account obliges is up to what it went through.
        drop(app.execute::<Account>(&account.to_owned(), command).await);
    }

    /// Nothing goes wrong any more, and operators retry what is stuck.
    async fn settle(&mut self, running: Vec<(Arc<Delegating<Node>>, App)>) -> Result<(), String> {
        for (node, _) in &running {
            node.kill();
        }
        // Whatever the clock was, every deadline is due by and by.
        *self.clock.wrong.lock().unwrap() = TimeDelta::hours(24);
        for account in ACCOUNTS {
            self.command(account, AccountCommand::Unfreeze).await;
        }
        let (_, app) = self.node(self.sound()).await;
        tokio::time::sleep(LONG).await;
        let stuck = SagaQuery {
            status: Some(SagaStatus::Stuck),
            ..SagaQuery::default()
        };
        for stuck in app.sagas().list(&stuck).await.unwrap() {
            drop(app.sagas().retry("transfer", &stuck.id).await);
        }
        tokio::time::sleep(LONG).await;
        let health = app.sagas().health();
        match health.iter().find_map(|health| health.problem.clone()) {
            Some(problem) => Err(format!("it does not settle: {problem}")),
            None => Ok(()),
        }
    }
}
