//! Several servers on one store: one of them keeps the read model, and the next one goes on when
//! that one dies or stalls.
//!
//! Nothing here but [`rewind`] knows what kind of store it is.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use annals::{Annals, App, LogRead, Position, ProjectionRecord, ProjectionState};
use annals_testing::seed::Seed;
use bank::domain::UserBalance;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    bank::{Bank, SOON, Server, Store},
    client::{Connection, Request},
    database::Database,
    log::{self, Fold, Row, Storage},
    traffic::{Book, Client, FOUNDER},
};

crate::bank::on_each_store!(
    the_read_model_survives_a_server_that_dies_and_one_that_stalls_and_wakes;
    directly a_checkpoint_that_is_written_without_a_fence_is_noticed,
);

const SERVERS: usize = 3;
const CLIENTS: usize = 6;
/// So much the read model gets on before and after each blow.
const PROGRESS: u64 = 200;
/// So soon after a server was struck another one has taken over.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);
/// A server that answers no append within this time is held up by somebody.
const FREE_WITHIN: Duration = Duration::from_secs(1);

async fn the_read_model_survives_a_server_that_dies_and_one_that_stalls_and_wakes(store: Store) {
    let mut nodes = Nodes::begin(Bank::on(store).await).await;
    let load = nodes.load();
    nodes.progress().await;

    let holder = nodes.take_holder().await;
    let left = owner_of(&holder);
    let struck = Instant::now();
    holder.kill().await;
    let killed = nodes.taken_over(&left, struck).await;
    nodes.serve().await;
    nodes.progress().await;

    let (server, struck) = nodes.stall_holder().await;
    let left = owner_of(&server);
    let stalled = nodes.taken_over(&left, struck).await;
    nodes.progress().await;
    server.process.signal("CONT").await;
    nodes.answers(&server).await;
    nodes.progress().await;
    let now = nodes.record().await.owner;
    assert!(now.is_some_and(|owner| !owner.starts_with(&left)));
    nodes.servers.push(server);

    let clients = nodes.end(load).await;
    let events = nodes.settle(clients).await;
    println!(
        "{events} events; taken over {killed:?} after a kill, {stalled:?} after a stall began"
    );
}

/// What a stalled server would do when it wakes, if nothing kept it from writing.
async fn a_checkpoint_that_is_written_without_a_fence_is_noticed(store: Store) {
    let bank = Bank::on(store).await;
    let mut nodes = Nodes::begin(bank).await;
    let load = nodes.load();
    nodes.progress().await;
    let clients = nodes.end(load).await;
    nodes.settle(clients).await;

    rewind(&nodes.bank).await;
    nodes.serve().await;
    nodes.caught_up().await;
    let noticed = check(&nodes.app).await.unwrap_err();
    println!("noticed: {noticed}");
}

/// Writes an old checkpoint over the one that stands, past epoch and lease.
async fn rewind(bank: &Bank) {
    let mut storage = Storage::open(bank).await;
    let id = match storage.database {
        Database::Sqlite(_) => {
            "lower(substr(hex(e.id), 1, 8) || '-' || substr(hex(e.id), 9, 4) \
             || '-' || substr(hex(e.id), 13, 4) || '-' || substr(hex(e.id), 17, 4) \
             || '-' || substr(hex(e.id), 21))"
        }
        Database::Postgres(_) => "e.id",
    };
    let old = format!(
        "UPDATE annals_projections SET (position, event_id) = (SELECT e.position, {id} \
         FROM events e WHERE e.position = annals_projections.position - 50) \
         WHERE name = 'user_balance'"
    );
    storage.run(old).await;
}

/// A store, and the servers that run on it.
struct Nodes {
    /// Dropped before the store is.
    servers: Vec<Server>,
    bank: Bank,
    /// Reads the store, and follows nothing.
    app: App,
    /// Where clients find servers that answer.
    addresses: Addresses,
    seed: Seed,
    book: Arc<Mutex<Book>>,
}

type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

impl Nodes {
    async fn begin(bank: Bank) -> Self {
        let builder = Annals::open(bank.url()).await.unwrap();
        let app = builder.connect().await.unwrap();
        let mut nodes = Self {
            bank,
            app,
            servers: Vec::new(),
            addresses: Addresses::default(),
            seed: Seed::printed(),
            book: Arc::default(),
        };
        for _ in 0..SERVERS {
            nodes.serve().await;
        }
        let mut founder = Client::new(FOUNDER, &mut nodes.seed, &nodes.book);
        founder.fund(nodes.servers[0].address).await;
        let mut connection = Connection::to(nodes.servers[0].address).await.unwrap();
        let open = json!({ "owner": "probe", "id": "probe" });
        let open = Request::post("/accounts", "probe", &open);
        connection.send(&open).await.unwrap().ok(201);
        nodes
    }

    /// Starts another server.
    async fn serve(&mut self) {
        let server = self.bank.serve().await;
        self.addresses.lock().unwrap().push(server.address);
        self.servers.push(server);
    }

    /// Clients that go to another server when one is gone.
    fn load(&mut self) -> JoinSet<Client> {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let name = format!("client-{number}");
            let mut client = Client::new(name, &mut self.seed, &self.book);
            let addresses = Arc::clone(&self.addresses);
            clients.spawn(async move {
                for turn in number.. {
                    let address = {
                        let addresses = addresses.lock().unwrap();
                        match addresses.len() {
                            0 => break,
                            count => addresses[turn % count],
                        }
                    };
                    client.run(address).await;
                }
                client
            });
        }
        clients
    }

    async fn record(&self) -> ProjectionRecord {
        let record = self.app.store().projection("user_balance").await.unwrap();
        record.unwrap()
    }

    /// Waits until the record is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&ProjectionRecord) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let record = self.record().await;
            if wanted(&record) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{what} did not happen: {record:?}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the read model has got further.
    async fn progress(&self) {
        let wanted = self.record().await.checkpoint.position.get() + PROGRESS;
        let there = |record: &ProjectionRecord| record.checkpoint.position.get() >= wanted;
        self.until("progress", there).await;
    }

    async fn caught_up(&self) {
        let head = self.app.store().head().await.unwrap();
        let there = |record: &ProjectionRecord| record.checkpoint.position >= head;
        self.until("catching up", there).await;
    }

    /// Takes the server away that runs the projection; no client goes there any more.
    async fn take_holder(&mut self) -> Server {
        self.until("a claim", |record| record.leased).await;
        let owner = self.record().await.owner.unwrap();
        let holds = |server: &Server| owner.starts_with(&owner_of(server));
        let holder = self.servers.iter().position(holds).expect("it is a server");
        let holder = self.servers.remove(holder);
        let mut addresses = self.addresses.lock().unwrap();
        addresses.retain(|address| *address != holder.address);
        holder
    }

    /// Stops the holder where it stands, though not while all others wait for it: who is stopped
    /// in the middle of a write keeps the store's lock.
    async fn stall_holder(&mut self) -> (Server, Instant) {
        let holder = self.take_holder().await;
        let other = self.servers[0].address;
        for attempt in 0.. {
            let struck = Instant::now();
            holder.process.signal("STOP").await;
            let mut connection = Connection::to(other).await.unwrap();
            let probe = Request::deposit("probe", 1, &format!("probe-{attempt}"));
            if let Ok(answer) = timeout(FREE_WITHIN, connection.send(&probe)).await {
                answer.unwrap().ok(201);
                return (holder, struck);
            }
            holder.process.signal("CONT").await;
            sleep(Duration::from_millis(10)).await;
        }
        unreachable!("the attempts have no end");
    }

    /// Waits until another server runs the projection and has written to it, which must be soon
    /// enough; answers how long that took.
    async fn taken_over(&self, left: &str, struck: Instant) -> Duration {
        let is_other = |record: &ProjectionRecord| {
            let owner = record.owner.as_deref();
            record.leased && owner.is_some_and(|owner| !owner.starts_with(left))
        };
        self.until("a takeover", is_other).await;
        let before = self.record().await.checkpoint;
        self.until("a commit", |record| record.checkpoint != before)
            .await;
        let took = struck.elapsed();
        assert!(took < TAKEN_OVER_WITHIN, "taken over after {took:?}");
        took
    }

    async fn answers(&self, server: &Server) {
        let mut connection = Connection::to(server.address).await.unwrap();
        let alive = connection.send(&Request::get("/healthz")).await;
        alive.unwrap().ok(200);
    }

    /// Stops all servers, which ends the load.
    async fn end(&mut self, load: JoinSet<Client>) -> Vec<Client> {
        self.addresses.lock().unwrap().clear();
        for server in self.servers.drain(..) {
            server.stop().await;
        }
        load.join_all().await
    }

    /// Has everything acknowledged and folded, and checks it; answers how many events there are.
    async fn settle(&mut self, clients: Vec<Client>) -> u64 {
        self.serve().await;
        for mut client in clients {
            let finished = client.finish(self.servers[0].address).await;
            finished.expect("the server lives");
        }
        self.caught_up().await;
        let events = check(&self.app).await.unwrap();
        let acknowledged = self.book.lock().unwrap().done.len();
        assert!(events >= u64::try_from(acknowledged).unwrap());
        for server in self.servers.drain(..) {
            server.stop().await;
        }
        events
    }
}

/// How the projections of a server name their owner.
fn owner_of(server: &Server) -> String {
    format!("process {} ", server.process.pid())
}

/// Whether the table is a fold of the log from its first event; answers how many there are.
async fn check(app: &App) -> Result<u64, String> {
    let record = app.store().projection("user_balance").await.unwrap();
    let record = record.unwrap();
    if record.state != ProjectionState::Running {
        return Err(format!("the projection does not run: {record:?}"));
    }
    let mut fold = Fold::default();
    let mut reached = Position::START;
    while reached < record.checkpoint.position {
        let page = app.store().read_log(LogRead::after(reached, 1_000)).await;
        for event in page.unwrap().events {
            assert_eq!(event.position, reached.next(), "the log has no holes");
            reached = event.position;
            fold.fold(&log::entry(
                i64::try_from(reached.get()).unwrap(),
                event.stream.as_str(),
                event.event_type.as_str(),
                &event.payload,
            ));
        }
    }
    let rows = app.rows::<UserBalance>(None, 100_000).await.unwrap();
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    fold.compare(&rows).map(|()| reached.get())
}

fn row(row: UserBalance) -> Row {
    Row {
        owner: row.owner.to_string(),
        balance: row.balance.minor_units(),
        accounts: row.accounts,
        currency: row.currency.to_string(),
        position: i64::try_from(row.position.get()).unwrap(),
    }
}
