//! Kills of a server that carries out transfers: at random under load, and at each of their steps.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use annals_testing::seed::Seed;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    bank::{Bank, SOON, Server},
    client::{Connection, Request},
    log::File,
};

const ACCOUNTS: usize = 100;
const FUNDS: i64 = 100_000;
const ROUNDS: usize = 8;
const CLIENTS: usize = 16;
/// The server is killed within this time, in milliseconds.
const LIVES_FOR: usize = 400;
/// An account that nobody has opened.
const NOBODY: &str = "nobody";
/// How often it is looked whether something has happened yet.
const LOOK: Duration = Duration::from_millis(5);

/// A transfer that a client has thought of.
#[derive(Clone, Debug)]
struct Wish {
    id: String,
    from: String,
    to: String,
    amount: i64,
}

impl Wish {
    fn request(&self) -> Request {
        let Self {
            id,
            from,
            to,
            amount,
        } = self;
        let body = json!({ "id": id, "from": from, "to": to, "amount": amount });
        Request::post("/transfers", id, &body)
    }
}

/// Wishes for transfers, one after the other, until it is cut off.
#[derive(Debug)]
struct Client {
    name: usize,
    seed: Seed,
    /// What was not acknowledged yet.
    waiting: VecDeque<Wish>,
    acknowledged: Vec<Wish>,
}

impl Client {
    fn new(name: usize, seed: &mut Seed) -> Self {
        Self {
            name,
            seed: Seed::new(seed.number()),
            waiting: VecDeque::new(),
            acknowledged: Vec::new(),
        }
    }

    async fn run(&mut self, address: SocketAddr) {
        while self.send(address).await.is_ok() {
            self.wish();
        }
    }

    /// Sends what waits; fails when it is cut off.
    async fn send(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let mut connection = Connection::to(address).await?;
        while let Some(wish) = self.waiting.front() {
            connection.send(&wish.request()).await?.ok(202);
            self.acknowledged.extend(self.waiting.pop_front());
        }
        Ok(())
    }

    fn wish(&mut self) {
        let from = self.seed.below(ACCOUNTS);
        let to = match self.seed.below(5) {
            0 => NOBODY.to_owned(),
            _ => account((from + 1 + self.seed.below(ACCOUNTS - 1)) % ACCOUNTS),
        };
        self.waiting.push_back(Wish {
            id: format!("{}/{}", self.name, self.acknowledged.len()),
            from: account(from),
            to,
            amount: 1 + i64::try_from(self.seed.below(10)).unwrap(),
        });
    }
}

fn account(number: usize) -> String {
    format!("a{number}")
}

/// A bank whose accounts all hold enough for everything that will be asked of them.
async fn funded() -> (Bank, File) {
    let bank = Bank::new();
    let mut csv = "time,type,account,owner,counterparty,amount\n".to_owned();
    for number in 0..ACCOUNTS {
        let account = account(number);
        csv.push_str(&format!(
            "2026-03-01T09:00:00Z,open,{account},user{number},,\n\
             2026-03-01T09:00:00Z,deposit,{account},,,{FUNDS}\n"
        ));
    }
    let path = bank.write("accounts.csv", &csv);
    bank.json(&["import", &path]).await;
    let file = File::open(&bank).await;
    (bank, file)
}

/// How each transfer in the log went: how often sent, received and returned.
async fn effects(file: &mut File) -> BTreeMap<String, [i64; 3]> {
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT json_extract(CAST(payload AS TEXT), '$.transfer'), \
         sum(type = 'account.transfer_sent'), sum(type = 'account.transfer_received'), \
         sum(type = 'account.transfer_returned') \
         FROM events WHERE type LIKE 'account.transfer%' GROUP BY 1",
    )
    .fetch_all(&mut file.connection)
    .await
    .unwrap();
    let rows = rows.into_iter();
    rows.map(|(id, sent, received, returned)| (id, [sent, received, returned]))
        .collect()
}

/// Waits until a transfer is not pending any more, and answers how it ended.
async fn ended(server: &Server, id: &str) -> String {
    let path = format!("/transfers/{}", id.replace('/', "%2F"));
    let mut connection = Connection::to(server.address).await.unwrap();
    let late = Instant::now() + SOON;
    loop {
        let transfer = connection.send(&Request::get(&path)).await.unwrap().ok(200);
        let status = transfer["status"].as_str().unwrap();
        if status != "pending" {
            return status.to_owned();
        }
        assert!(Instant::now() < late, "{transfer} does not end");
        sleep(LOOK).await;
    }
}

async fn assert_nothing_in_flight(bank: &Bank) {
    let verified = bank.json(&["store", "verify"]).await;
    assert_eq!(verified["notes"]["money is conserved"], "nothing in flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transfer_ends_well_however_often_the_server_is_killed() {
    let (bank, mut file) = funded().await;
    let mut seed = Seed::printed();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|name| Client::new(name, &mut seed))
        .collect();
    let (mut interrupted, mut kills) = (0, 0);
    // Most rounds hit a transfer; a slow machine may need some more before one does.
    while kills < ROUNDS || (interrupted == 0 && kills < 10 * ROUNDS) {
        kills += 1;
        let server = bank.serve().await;
        let mut running = JoinSet::new();
        for mut client in clients.drain(..) {
            running.spawn(async move {
                client.run(server.address).await;
                client
            });
        }
        sleep(Duration::from_millis(
            u64::try_from(seed.below(LIVES_FOR)).unwrap(),
        ))
        .await;
        server.kill().await;
        clients = running.join_all().await;
        let open = effects(&mut file).await.into_values();
        interrupted += open
            .filter(|[_, received, returned]| received + returned == 0)
            .count();
    }

    let server = bank.serve().await;
    let mut wishes = Vec::new();
    for client in &mut clients {
        client.send(server.address).await.unwrap();
        wishes.append(&mut client.acknowledged);
    }
    for wish in &wishes {
        let expected = match wish.to.as_str() {
            NOBODY => "compensated",
            _ => "completed",
        };
        assert_eq!(ended(&server, &wish.id).await, expected, "{wish:?}");
    }
    server.stop().await;
    let effects = effects(&mut file).await;
    assert_eq!(effects.len(), wishes.len());
    for wish in &wishes {
        let expected = match wish.to.as_str() {
            NOBODY => [1, 0, 1],
            _ => [1, 1, 0],
        };
        assert_eq!(effects[&wish.id], expected, "{wish:?}");
    }
    file.assert_dense().await;
    assert_nothing_in_flight(&bank).await;
    println!(
        "{kills} kills, {} transfers, {interrupted} in flight at a kill",
        wishes.len()
    );
    assert!(
        interrupted > 0,
        "no kill hit a transfer between its two ends"
    );
}

/// An instant of a transfer: right before an append that the file refuses.
struct Step {
    /// Refuses the append.
    block: &'static str,
    /// The event that stands in the log by then, and how often.
    after: (&'static str, i64),
    to: &'static str,
}

macro_rules! step {
    ($before:literal, $after:literal, $times:literal, $to:expr) => {
        Step {
            block: concat!(
                "CREATE TRIGGER step BEFORE INSERT ON events WHEN NEW.type = '",
                $before,
                "' BEGIN SELECT RAISE(ABORT, 'not now'); END"
            ),
            after: ($after, $times),
            to: $to,
        }
    };
}

/// Between two of its appends nothing is kept of a transfer but the log, so these are all the
/// instants at which a kill can make a difference.
const STEPS: [Step; 7] = [
    step!("account.transfer_sent", "saga.sent", 1, "a1"),
    step!("saga.succeeded", "account.transfer_sent", 1, "a1"),
    step!("account.transfer_received", "saga.sent", 2, "a1"),
    step!("saga.completed", "account.transfer_received", 1, "a1"),
    step!("saga.rejected", "saga.sent", 2, NOBODY),
    step!("account.transfer_returned", "saga.compensating", 1, NOBODY),
    step!("saga.compensated", "account.transfer_returned", 1, NOBODY),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_ends_well_when_the_server_is_killed_at_any_of_its_steps() {
    let (bank, mut file) = funded().await;
    for (number, step) in STEPS.iter().enumerate() {
        let before: i64 = count(&mut file, step.after.0).await;
        file.run(step.block).await;
        let server = bank.serve().await;
        let wish = Wish {
            id: format!("step-{number}"),
            from: "a0".to_owned(),
            to: step.to.to_owned(),
            amount: 7,
        };
        let mut connection = Connection::to(server.address).await.unwrap();
        connection.send(&wish.request()).await.unwrap().ok(202);
        let late = Instant::now() + SOON;
        while count(&mut file, step.after.0).await < before + step.after.1 {
            assert!(Instant::now() < late, "{} does not come", step.after.0);
            sleep(LOOK).await;
        }
        server.kill().await;
        file.run("DROP TRIGGER step").await;
        let pending = effects(&mut file).await.remove(&wish.id);

        let server = bank.serve().await;
        let expected = match step.to {
            NOBODY => ("compensated", [1, 0, 1]),
            _ => ("completed", [1, 1, 0]),
        };
        assert_eq!(ended(&server, &wish.id).await, expected.0, "{}", step.block);
        server.stop().await;
        assert_eq!(
            effects(&mut file).await[&wish.id],
            expected.1,
            "{pending:?}"
        );
        assert_nothing_in_flight(&bank).await;
    }
}

async fn count(file: &mut File, event_type: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events WHERE type = ?1")
        .bind(event_type)
        .fetch_one(&mut file.connection)
        .await
        .unwrap()
}

/// The checks that the kills are judged by find money that comes back twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_compensation_is_noticed() {
    let (bank, mut file) = funded().await;
    let server = bank.serve().await;
    let wish = Wish {
        id: "t".to_owned(),
        from: "a0".to_owned(),
        to: NOBODY.to_owned(),
        amount: 7,
    };
    let mut connection = Connection::to(server.address).await.unwrap();
    connection.send(&wish.request()).await.unwrap().ok(202);
    assert_eq!(ended(&server, "t").await, "compensated");
    server.stop().await;
    assert_eq!(effects(&mut file).await["t"], [1, 0, 1]);
    assert_nothing_in_flight(&bank).await;

    file.run(
        "INSERT INTO events SELECT (SELECT max(position) + 1 FROM events), stream, version + 1, \
         type, schema_version, randomblob(16), recorded_at, correlation_id, causation_id, \
         metadata, tags, payload FROM events WHERE type = 'account.transfer_returned'",
    )
    .await;
    assert_eq!(effects(&mut file).await["t"], [1, 0, 2]);
    let verified = bank.start(&["store", "verify", "--json"]).end().await;
    assert!(!verified.status.success());
    let report = String::from_utf8_lossy(&verified.stdout);
    let wrong = "transfer `t` is returned, but was returned before";
    assert!(report.contains(wrong), "{report}");
}
