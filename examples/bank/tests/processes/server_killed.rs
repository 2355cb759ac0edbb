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
    bank::{Bank, Server},
    client::{Connection, Request},
    log::{Booking, Entry, File},
    traffic::{Book, Client, Done},
};

const ROUNDS: usize = 32;
const CLIENTS: usize = 6;
const ACCOUNTS: usize = 20;
const USERS: usize = 10;
/// The server is killed within this time, in milliseconds.
const LIVES_FOR: usize = 400;

/// A bank whose processes die again and again, and what it ought to hold.
struct Torment {
    bank: Bank,
    file: File,
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

/// A file to import.
struct Import {
    path: String,
    rows: usize,
    /// What its rows bring about; the others are rejected.
    bookings: Vec<Booking>,
    is_done: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commands_survive_thirty_kills_and_count_once() {
    let mut torment = Torment::begin().await;
    for round in 0..ROUNDS {
        torment.round(round).await;
    }
    torment.finish().await;
}

impl Torment {
    async fn begin() -> Self {
        let bank = Bank::new();
        let mut seed = Seed::printed();
        let book = Arc::new(Mutex::new(Book::default()));
        let server = bank.serve().await;
        let mut founder = Client::new("account", &mut seed, &book);
        founder.fund(server.address, ACCOUNTS, USERS).await;
        server.kill().await;
        Self {
            file: File::open(&bank).await,
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
        let head = self.file.head().await;
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
        if round % 2 == 0 {
            dying.await;
        } else {
            tokio::join!(dying, self.import_and_kill());
        }
        self.clients = clients.join_all().await;
        self.check_acknowledged(head).await;
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

    /// What was acknowledged is in the log, now that the server is dead, and the table is whole.
    async fn check_acknowledged(&mut self, head: i64) {
        let entries: BTreeMap<i64, Booking> = self
            .file
            .entries(0)
            .await
            .into_iter()
            .map(|Entry { position, booking }| (position, booking))
            .collect();
        let book = self.book.lock().unwrap();
        for done in &book.done[self.checked..] {
            let position = done.answer.position();
            assert_eq!(
                entries.get(&position),
                Some(done.booking()),
                "at {position}"
            );
            self.unanswered += usize::from(position <= head);
        }
        self.checked = book.done.len();
        drop(book);
        self.file.check_table().await.unwrap();
        self.file.assert_dense().await;
    }

    async fn finish(mut self) {
        let head = self.file.head().await;
        let server = self.bank.serve().await;
        for client in &mut self.clients {
            client.finish(server.address).await.unwrap();
        }
        for import in &self.imports {
            let summary = self.bank.json(&["import", &import.path]).await;
            assert_eq!(summary["rows"], import.rows);
        }
        self.check_acknowledged(head).await;
        self.check_imports_are_done().await;
        self.check_each_counts_once().await;
        self.check_answers(&server).await;
        server.stop().await;

        let table = self.file.check_table().await.unwrap();
        assert_eq!(table.checkpoint, self.file.head().await);
        let verified = self.bank.json(&["store", "verify"]).await;
        assert_eq!(verified["events"], table.checkpoint);
        println!(
            "{ROUNDS} kills of the server, {} of an import: {} commands acknowledged, {} of them \
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

    /// The log holds what was acknowledged and what was imported, and nothing else.
    async fn check_each_counts_once(&mut self) {
        let log = self.file.entries(0).await.into_iter();
        let mut log: Vec<_> = log.map(|entry| entry.booking).collect();
        let book = self.book.lock().unwrap();
        let imported = self.imports.iter().flat_map(|import| &import.bookings);
        let ordered = book.done.iter().map(Done::booking);
        let mut expected: Vec<_> = imported.chain(ordered).cloned().collect();
        log.sort();
        expected.sort();
        assert!(log == expected, "{}", first_difference(&log, &expected));
        let positions: BTreeSet<_> = book
            .done
            .iter()
            .map(|done| done.answer.position())
            .collect();
        assert_eq!(
            positions.len(),
            book.done.len(),
            "two commands share an event"
        );
    }

    /// The server answers repeated commands as the first time, and reads as the log has it.
    async fn check_answers(&mut self, server: &Server) {
        let mut connection = Connection::to(server.address).await.unwrap();
        let done = self.book.lock().unwrap().done.clone();
        for done in &done {
            done.repeat(&mut connection).await.unwrap();
        }
        let log = self.file.entries(0).await;
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
            self.file.entries(0).await.len(),
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

impl Import {
    /// Rows over accounts of its own, and deposits to those that the clients use.
    fn write(bank: &Bank, number: usize, seed: &mut Seed) -> Self {
        let mut import = Self {
            path: String::new(),
            rows: 0,
            bookings: Vec::new(),
            is_done: false,
        };
        let mut csv = "time,type,account,owner,counterparty,amount\n".to_owned();
        for own in 0..5 {
            import.open(
                &mut csv,
                &format!("import-{number}-{own}"),
                seed.below(USERS),
            );
        }
        for _ in 0..400 {
            let own = format!("import-{number}-{}", seed.below(5));
            let owner = import.owner(&own);
            // Few different rows, so that equal ones are common.
            let amount = 1 + i64::try_from(seed.below(3)).unwrap();
            match seed.below(10) {
                0 => import.row(&mut csv, "withdraw", &own, 1_000_000_000_000_000),
                1 => {
                    let shared = seed.below(ACCOUNTS);
                    let account = format!("account-{shared}");
                    import.row(&mut csv, "deposit", &account, amount);
                    import.booked(
                        "deposited",
                        &account,
                        &format!("user-{}", shared % USERS),
                        amount,
                    );
                }
                _ => {
                    import.row(&mut csv, "deposit", &own, amount);
                    import.booked("deposited", &own, &owner, amount);
                }
            }
        }
        import.path = bank.write(&format!("import-{number}.csv"), &csv);
        import
    }

    fn open(&mut self, csv: &mut String, account: &str, user: usize) {
        let owner = format!("user-{user}");
        csv.push_str(&format!("2026-03-01T09:00:00Z,open,{account},{owner},,\n"));
        self.rows += 1;
        self.booked("opened", account, &owner, 0);
    }

    fn row(&mut self, csv: &mut String, kind: &str, account: &str, amount: i64) {
        csv.push_str(&format!(
            "2026-03-01T09:00:00Z,{kind},{account},,,{amount}\n"
        ));
        self.rows += 1;
    }

    fn booked(&mut self, what: &str, account: &str, owner: &str, amount: i64) {
        self.bookings.push(Booking {
            account: account.to_owned(),
            what: what.to_owned(),
            owner: owner.to_owned(),
            amount,
        });
    }

    fn owner(&self, account: &str) -> String {
        let mut bookings = self.bookings.iter();
        bookings
            .find(|booking| booking.account == account)
            .unwrap()
            .owner
            .clone()
    }
}
