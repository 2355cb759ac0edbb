//! Two servers that carry out transfers: one of them dies, later one stalls and wakes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use annals_testing::seed::Seed;
use chrono::{TimeDelta, Utc};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    bank::{Bank, SOON, Server, Store},
    client::{Connection, Request},
    courses::timers,
    log::Storage,
    transfers::{Client, LOOK, freeze, funded, settle},
};

crate::bank::on_each_store!(every_transfer_ends_well_though_a_server_dies_and_one_stalls_and_wakes,);

const SERVERS: usize = 2;
const CLIENTS: usize = 32;
/// So many transfers end before and after each blow.
const PROGRESS: usize = 50;
/// At least so many transfers wait for their deadline when a server goes.
const FEW: usize = 1;
/// A server that takes no transfer within this time is held up by somebody.
const FREE_WITHIN: Duration = Duration::from_secs(2);
/// How many seconds a transfer may take: of those that wait when a server goes, some run out before
/// another one takes over, and some after.
const DEADLINE: u64 = 8;
/// Longer than it takes to stop a server.
const FOR_A_WHILE: TimeDelta = TimeDelta::seconds(3);
/// Another server carries transfers out within this time.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);

async fn every_transfer_ends_well_though_a_server_dies_and_one_stalls_and_wakes(store: Store) {
    let (bank, storage) = funded(store).await;
    freeze(&bank).await;
    let mut seed = Seed::printed();
    let mut nodes = Nodes {
        servers: Vec::new(),
        bank,
        storage,
        addresses: Addresses::default(),
        probe: Client::new(CLIENTS, &mut seed),
        seed,
    };
    for _ in 0..SERVERS {
        nodes.serve().await;
    }
    let clients = nodes.load();
    nodes.progress().await;

    nodes.some_wait().await;
    let holder = nodes.take_holder().await;
    let left = holder.process.pid();
    let struck = Instant::now();
    holder.kill().await;
    let waiting = nodes.waiting().await;
    let killed = nodes.taken_over(left, struck).await;
    nodes.run_out(&waiting).await;
    nodes.progress().await;
    nodes.serve().await;

    let (stalled, struck) = nodes.stall_holder().await;
    let left_waiting = nodes.waiting().await;
    let woken = nodes.taken_over(stalled.process.pid(), struck).await;
    nodes.run_out(&left_waiting).await;
    nodes.progress().await;
    stalled.process.signal("CONT").await;
    let mut connection = Connection::to(stalled.address).await.unwrap();
    let alive = connection.send(&Request::get("/healthz")).await;
    alive.unwrap().ok(200);
    nodes.progress().await;
    nodes.servers.push(stalled);

    nodes.addresses.lock().unwrap().clear();
    for server in nodes.servers.drain(..) {
        server.stop().await;
    }
    let mut clients = clients.join_all().await;
    clients.push(nodes.probe);
    let ends = settle(&nodes.bank, &mut nodes.storage, clients).await;
    let pending = (waiting.len(), left_waiting.len());
    println!(
        "{ends:?}; taken over {killed:?} after a kill, {woken:?} after a stall, with {pending:?} deadlines pending"
    );
}

type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

/// A store, and the servers that run on it.
struct Nodes {
    /// Dropped before the store is.
    servers: Vec<Server>,
    bank: Bank,
    storage: Storage,
    /// Where clients find servers that answer.
    addresses: Addresses,
    /// Tries whether transfers are taken.
    probe: Client,
    seed: Seed,
}

impl Nodes {
    /// Starts another server.
    async fn serve(&mut self) {
        let server = self.bank.serve_within(DEADLINE).await;
        self.addresses.lock().unwrap().push(server.address);
        self.servers.push(server);
    }

    /// Clients that go from server to server, until there is none.
    fn load(&mut self) -> JoinSet<Client> {
        let mut clients = JoinSet::new();
        for name in 0..CLIENTS {
            let mut client = Client::new(name, &mut self.seed);
            let addresses = Arc::clone(&self.addresses);
            clients.spawn(async move {
                for turn in name.. {
                    let address = {
                        let addresses = addresses.lock().unwrap();
                        match addresses.len() {
                            0 => break,
                            count => addresses[turn % count],
                        }
                    };
                    client.turn(address).await;
                }
                client
            });
        }
        clients
    }

    async fn ended(&mut self) -> usize {
        let timers = timers(&mut self.storage).await.unwrap().into_values();
        timers.filter(|timer| timer.ended).count()
    }

    /// The transfers that wait for their deadline, to an account that stays frozen.
    async fn waiting(&mut self) -> Vec<String> {
        let timers = timers(&mut self.storage).await.unwrap().into_iter();
        let waiting = timers.filter(|(_, timer)| timer.put_off && timer.pending());
        waiting.map(|(id, _)| id).collect()
    }

    /// Waits until a few transfers wait, and will for a while.
    async fn some_wait(&mut self) {
        let late = Instant::now() + SOON;
        loop {
            let timers = timers(&mut self.storage).await.unwrap();
            let wait = timers.values().filter(|timer| {
                timer.put_off && timer.pending() && timer.due - Utc::now() > FOR_A_WHILE
            });
            if wait.count() >= FEW {
                return;
            }
            assert!(Instant::now() < late, "no deadlines are pending");
            sleep(LOOK).await;
        }
    }

    /// Waits until these transfers have ended by their deadlines.
    async fn run_out(&mut self, waiting: &[String]) {
        let late = Instant::now() + SOON;
        loop {
            let timers = timers(&mut self.storage).await.unwrap();
            let open = waiting.iter().find(|id| !timers[*id].ended);
            let Some(open) = open else {
                let fired = waiting.iter().filter(|id| timers[*id].fired()).count();
                assert!(
                    fired > 0 && fired == waiting.len(),
                    "{fired} deadlines fired"
                );
                return;
            };
            let timer = timers[open];
            assert!(
                Instant::now() < late,
                "transfer {open} does not end: {timer:?}"
            );
            sleep(LOOK).await;
        }
    }

    /// Waits until more transfers have ended.
    async fn progress(&mut self) {
        let wanted = self.ended().await + PROGRESS;
        let late = Instant::now() + SOON;
        while self.ended().await < wanted {
            assert!(Instant::now() < late, "transfers do not end any more");
            sleep(10 * LOOK).await;
        }
    }

    /// Who carries out transfers.
    async fn owner(&mut self) -> String {
        let owner = "SELECT owner FROM annals_projections WHERE name = 'saga:transfer'";
        self.storage.database.row::<(String,)>(owner).await.0
    }

    /// Takes the server away that carries out transfers; no client goes there any more.
    async fn take_holder(&mut self) -> Server {
        let owner = self.owner().await;
        let holds = |server: &Server| is_owner(&owner, server.process.pid());
        let holder = self.servers.iter().position(holds).expect("it is a server");
        let holder = self.servers.remove(holder);
        let mut addresses = self.addresses.lock().unwrap();
        addresses.retain(|address| *address != holder.address);
        holder
    }

    /// Stops the holder where it stands, though not while the other waits for it: who is stopped
    /// in the middle of a write keeps the store's lock.
    async fn stall_holder(&mut self) -> (Server, Instant) {
        let holder = self.take_holder().await;
        let other = self.servers[0].address;
        self.probe.wish();
        loop {
            self.some_wait().await;
            let struck = Instant::now();
            holder.process.signal("STOP").await;
            let free = self.probe.send(other);
            if let Ok(taken) = timeout(FREE_WITHIN, free).await {
                taken.unwrap();
                return (holder, struck);
            }
            holder.process.signal("CONT").await;
            sleep(LOOK).await;
        }
    }

    /// Waits until another server carries transfers out; answers how long that took.
    async fn taken_over(&mut self, left: u32, struck: Instant) -> Duration {
        let late = Instant::now() + SOON;
        while is_owner(&self.owner().await, left) {
            assert!(Instant::now() < late, "nobody takes over");
            sleep(LOOK).await;
        }
        // All that the server before has written stands in the log by now.
        let ended = self.ended().await;
        while self.ended().await == ended {
            assert!(Instant::now() < late, "transfers do not end any more");
            sleep(LOOK).await;
        }
        let took = struck.elapsed();
        assert!(took < TAKEN_OVER_WITHIN, "taken over after {took:?}");
        took
    }
}

fn is_owner(owner: &str, pid: u32) -> bool {
    owner.starts_with(&format!("process {pid} "))
}
