//! Kills of a server and an import under load.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use annals_testing::seed::Seed;
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    bank::{Bank, Server, Store},
    client::{Connection, Request},
    import::Import,
    log::{Booking, Entry, Storage},
    traffic::{Book, Client, Done, FOUNDER},
};

crate::bank::on_each_store!(
    acknowledged_commands_survive_kills_and_count_once;
    directly a_lost_and_a_doubled_command_are_noticed,
);

const ROUNDS: usize = 32;
const CLIENTS: usize = 6;
/// The server is killed within this time, in milliseconds.
const LIVES_FOR: usize = 400;

/// A bank whose processes die again and again, and what it ought to hold.
struct Torment {
    bank: Bank,
    storage: Storage,
    seed: Seed,
    clients: Vec<Client>,
    book: Arc<Mutex<Book>>,
    imports: Vec<Import>,
    /// How many acknowledgements were found in the log already.
    checked: usize,
    /// How many commands were in the log when the server died, and acknowledged only later.
    unanswered: usize,
    killed_imports: usize,
}

async fn acknowledged_commands_survive_kills_and_count_once(store: Store) {
    let mut torment = Torment::begin(store).await;
    let rounds = store.share(ROUNDS);
    for round in 0..rounds {
        torment.round(round).await;
    }
    println!("{rounds} kills of the server");
    torment.finish().await;
}

/// The checks that the kills are judged by find a command that is lost or carried out twice.
async fn a_lost_and_a_doubled_command_are_noticed(store: Store) {
    let mut torment = Torment::begin(store).await;
    torment.round(0).await;
    torment.settle().await.stop().await;
    torment.each_counts_once().await.unwrap();
    torment.acknowledged_since(0).await.unwrap();

    torment.storage.double_last_event("%").await;
    torment.each_counts_once().await.unwrap_err();
    torment.storage.forget_last_event().await;
    torment.each_counts_once().await.unwrap();

    torment.storage.forget_last_event().await;
    torment.each_counts_once().await.unwrap_err();
    torment.acknowledged_since(0).await.unwrap_err();
}

impl Torment {
    async fn begin(store: Store) -> Self {
        let bank = Bank::on(store).await;
        let mut seed = Seed::printed();
        let book = Arc::new(Mutex::new(Book::default()));
        let server = bank.serve().await;
        let mut founder = Client::new(FOUNDER, &mut seed, &book);
        founder.fund(server.address).await;
        server.kill().await;
        Self {
            storage: Storage::open(&bank).await,
            bank,
            clients: (0..CLIENTS)
                .map(|number| Client::new(format!("client-{number}"), &mut seed, &book))
                .collect(),
            seed,
            book,
            imports: Vec::new(),
            checked: 0,
            unanswered: 0,
            killed_imports: 0,
        }
    }

    /// A server's life, and perhaps an import's beside it.
    async fn round(&mut self, round: usize) {
        let head = self.storage.head().await;
        let server = self.bank.serve().await;
        let mut clients = JoinSet::new();
        for mut client in self.clients.drain(..) {
            clients.spawn(async move {
                client.run(server.address).await;
                client
            });
        }
        let lifetime = self.seed.below(LIVES_FOR);
        let dying = async move {
            sleep(Duration::from_millis(u64::try_from(lifetime).unwrap())).await;
            server.kill().await;
        };
        if round.is_multiple_of(2) {
            dying.await;
        } else {
            tokio::join!(dying, self.import_and_kill());
        }
        self.clients = clients.join_all().await;
        self.look(head).await;
    }

    /// Begins to import a file, or goes on with it, and kills the import.
    async fn import_and_kill(&mut self) {
        if self.imports.last().is_none_or(|import| import.is_done) {
            let number = self.imports.len();
            let import = Import::write(&self.bank, number, &mut self.seed);
            self.imports.push(import);
        }
        let import = self.imports.last_mut().unwrap();
        let process = self.bank.start(&["import", &import.path, "--json"]);
        let lifetime = u64::try_from(self.seed.below(2 * LIVES_FOR)).unwrap();
        sleep(Duration::from_millis(lifetime)).await;
        match process.kill().await {
            Some(output) => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{stderr}");
                import.is_done = true;
            }
            None => self.killed_imports += 1,
        }
    }

    /// What was acknowledged since the last look is in the log, now that the server is dead, and
    /// the table is whole.
    async fn look(&mut self, head: i64) {
        self.acknowledged_since(self.checked).await.unwrap();
        {
            let book = self.book.lock().unwrap();
            let news = book.done[self.checked..].iter();
            self.unanswered += news.filter(|done| done.answer.position() <= head).count();
            self.checked = book.done.len();
        }
        self.storage.check_table().await.unwrap();
        self.storage.assert_dense().await;
    }

    /// Whether the log holds what was acknowledged, at the positions that were answered.
    async fn acknowledged_since(&mut self, checked: usize) -> Result<(), String> {
        let entries = self.storage.entries(0).await.into_iter();
        let entries: BTreeMap<_, _> = entries.map(|e| (e.position, e.booking)).collect();
        let book = self.book.lock().unwrap();
        let is_there = |done: &&Done| entries.get(&done.answer.position()) == Some(done.booking());
        match book.done[checked..].iter().find(|done| !is_there(done)) {
            Some(lost) => Err(format!("{lost:?} is lost")),
            None => Ok(()),
        }
    }

    /// Has every command acknowledged, by a server that lives on.
    async fn settle(&mut self) -> Server {
        let server = self.bank.serve().await;
        for client in &mut self.clients {
            client.finish(server.address).await.unwrap();
        }
        server
    }

    async fn finish(mut self) {
        let head = self.storage.head().await;
        let server = self.settle().await;
        for import in &self.imports {
            let summary = self.bank.json(&["import", &import.path]).await;
            assert_eq!(summary["rows"], import.rows);
        }
        self.look(head).await;
        self.check_imports_are_done().await;
        self.each_counts_once().await.unwrap();
        self.check_answers(&server).await;
        server.stop().await;

        let table = self.storage.check_table().await.unwrap();
        assert_eq!(table.checkpoint, self.storage.head().await);
        let verified = self.bank.json(&["store", "verify"]).await;
        assert_eq!(verified["events"], table.checkpoint);
        println!(
            "{} kills of an import: {} commands acknowledged, {} of them \
             carried out by a server that died before it could say so; {} files of {} rows imported",
            self.killed_imports,
            self.checked,
            self.unanswered,
            self.imports.len(),
            self.imports.iter().map(|import| import.rows).sum::<usize>(),
        );
        assert!(self.unanswered > 0, "no kill hit between append and answer");
        assert!(self.killed_imports > 0, "no import was killed");
    }

    async fn check_imports_are_done(&self) {
        for import in &self.imports {
            let again = self.bank.json(&["import", &import.path]).await;
            assert_eq!(again["applied"], 0);
            assert_eq!(again["applied_before"], import.bookings.len());
        }
    }

    /// Whether the log holds what was acknowledged and what was imported, and nothing else.
    async fn each_counts_once(&mut self) -> Result<(), String> {
        let log = self.storage.entries(0).await.into_iter();
        let mut log: Vec<_> = log.map(|entry| entry.booking).collect();
        let book = self.book.lock().unwrap();
        let imported = self.imports.iter().flat_map(|import| &import.bookings);
        let ordered = book.done.iter().map(Done::booking);
        let mut expected: Vec<_> = imported.chain(ordered).cloned().collect();
        log.sort();
        expected.sort();
        if log != expected {
            return Err(first_difference(&log, &expected));
        }
        let positions = book.done.iter().map(|done| done.answer.position());
        match positions.collect::<BTreeSet<_>>().len() == book.done.len() {
            true => Ok(()),
            false => Err("two commands share an event".to_owned()),
        }
    }

    /// The server answers repeated commands as the first time, and reads as the log has it.
    async fn check_answers(&mut self, server: &Server) {
        let mut connection = Connection::to(server.address).await.unwrap();
        let done = self.book.lock().unwrap().done.clone();
        for done in &done {
            done.repeat(&mut connection).await.unwrap();
        }
        let log = self.storage.entries(0).await;
        let mut accounts: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in &log {
            accounts
                .entry(&entry.booking.account)
                .or_default()
                .push(entry);
        }
        for (account, entries) in accounts {
            let balance: i64 = entries.iter().map(|entry| entry.booking.change()).sum();
            let view = get(&mut connection, &format!("/accounts/{account}")).await;
            assert_eq!(
                (&view["balance"], &view["version"]),
                (&balance.into(), &entries.len().into())
            );
            let positions: Vec<_> = entries.iter().map(|entry| entry.position).collect();
            assert_eq!(history(&mut connection, account).await, positions);
        }
        let head = log.len();
        for owner in log
            .iter()
            .map(|entry| &entry.booking.owner)
            .collect::<BTreeSet<_>>()
        {
            let path = format!("/users/{owner}/balance?at_least={head}");
            let view = get(&mut connection, &path).await;
            let of_owner = || {
                log.iter()
                    .map(|entry| &entry.booking)
                    .filter(|booking| booking.owner == *owner)
            };
            let balance: i64 = of_owner().map(Booking::change).sum();
            let accounts = of_owner()
                .filter(|booking| booking.what == "opened")
                .count();
            assert_eq!(
                (&view["balance"], &view["accounts"]),
                (&balance.into(), &accounts.into())
            );
        }
        assert_eq!(
            self.storage.entries(0).await.len(),
            head,
            "a repeated command was carried out"
        );
    }
}

async fn get(connection: &mut Connection, path: &str) -> Value {
    connection.send(&Request::get(path)).await.unwrap().ok(200)
}

/// The positions of an account's events.
async fn history(connection: &mut Connection, account: &str) -> Vec<i64> {
    let (mut positions, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/accounts/{account}/events?limit=1000&after={after}");
        let page = get(connection, &path).await;
        let events = page["events"].as_array().unwrap().iter();
        positions.extend(events.map(|event| event["position"].as_i64().unwrap()));
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => return positions,
        }
    }
}

fn first_difference(log: &[Booking], expected: &[Booking]) -> String {
    let mut pairs = log.iter().zip(expected);
    let differing = pairs.find(|(logged, expected)| logged != expected);
    let (logged, wanted) = (log.len(), expected.len());
    format!("{logged} events instead of {wanted}; the first that differ: {differing:?}")
}
