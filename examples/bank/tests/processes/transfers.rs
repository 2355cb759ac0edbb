//! Wishes for transfers, and how each of them stands in the log.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use annals_testing::seed::Seed;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    bank::{Bank, SOON, Server, Store},
    client::{Connection, Request},
    log::Storage,
};

pub(crate) const ACCOUNTS: usize = 100;
const FUNDS: i64 = 100_000;
/// An account that nobody has opened.
pub(crate) const NOBODY: &str = "nobody";
/// How often it is looked whether something has happened yet.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// A transfer that somebody has thought of.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) id: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) amount: i64,
}

impl Wish {
    pub(crate) fn request(&self) -> Request {
        let Self {
            id,
            from,
            to,
            amount,
        } = self;
        let body = json!({ "id": id, "from": from, "to": to, "amount": amount });
        Request::post("/transfers", id, &body)
    }

    /// A transfer of little money, one in five to nobody.
    pub(crate) fn invent(id: String, seed: &mut Seed) -> Self {
        let from = seed.below(ACCOUNTS);
        let to = match seed.below(5) {
            0 => NOBODY.to_owned(),
            _ => account((from + 1 + seed.below(ACCOUNTS - 1)) % ACCOUNTS),
        };
        Self {
            id,
            from: account(from),
            to,
            amount: 1 + i64::try_from(seed.below(10)).unwrap(),
        }
    }

    /// How it must end, as the API says it and as the log does.
    pub(crate) fn end(&self) -> (&'static str, Stage) {
        match self.to.as_str() {
            NOBODY => ("compensated", Stage::Returned),
            _ => ("completed", Stage::Received),
        }
    }
}

/// Wishes for transfers, one after the other, until it is cut off.
#[derive(Debug)]
pub(crate) struct Client {
    name: usize,
    seed: Seed,
    /// What was not acknowledged yet.
    waiting: VecDeque<Wish>,
    pub(crate) acknowledged: Vec<Wish>,
}

impl Client {
    pub(crate) fn new(name: usize, seed: &mut Seed) -> Self {
        Self {
            name,
            seed: Seed::new(seed.number()),
            waiting: VecDeque::new(),
            acknowledged: Vec::new(),
        }
    }

    pub(crate) async fn run(&mut self, address: SocketAddr) {
        while self.send(address).await.is_ok() {
            self.wish();
        }
    }

    /// Thinks of a transfer.
    pub(crate) fn wish(&mut self) {
        let id = format!("{}/{}", self.name, self.acknowledged.len());
        self.waiting.push_back(Wish::invent(id, &mut self.seed));
    }

    /// Sends what waits; fails when it is cut off.
    pub(crate) async fn send(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let mut connection = Connection::to(address).await?;
        while let Some(wish) = self.waiting.front() {
            connection.send(&wish.request()).await?.ok(202);
            self.acknowledged.extend(self.waiting.pop_front());
        }
        Ok(())
    }
}

pub(crate) fn account(number: usize) -> String {
    format!("a{number}")
}

/// A bank whose accounts all hold enough for everything that will be asked of them.
pub(crate) async fn funded(store: Store) -> (Bank, Storage) {
    let bank = Bank::on(store).await;
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
    let storage = Storage::open(&bank).await;
    (bank, storage)
}

/// Up to where a transfer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Sent,
    Received,
    Returned,
}

/// A transfer, as the log has it.
#[derive(Clone, Debug)]
struct Course {
    stage: Stage,
    from: String,
    to: String,
    amount: i64,
}

/// Up to where each transfer in the log got. Fails where money was made or lost: each event must
/// be what its transfer allows at its position.
pub(crate) async fn stages(storage: &mut Storage) -> Result<BTreeMap<String, Stage>, String> {
    let rows: Vec<(i64, String, String, Vec<u8>)> = storage
        .database
        .rows(
            "SELECT position, stream, type, payload FROM events \
             WHERE type LIKE 'account.transfer%' ORDER BY position",
            &[],
        )
        .await
        .unwrap();
    let mut courses = BTreeMap::new();
    for (position, stream, event_type, payload) in rows {
        let payload = serde_json::from_slice(&payload).unwrap();
        let account = stream.strip_prefix("account-").unwrap();
        take(&mut courses, account, &event_type, &payload)
            .map_err(|error| format!("at position {position}: {error}"))?;
    }
    let stage = |(id, course): (String, Course)| (id, course.stage);
    Ok(courses.into_iter().map(stage).collect())
}

/// Takes an event in, which happened to an account.
fn take(
    courses: &mut BTreeMap<String, Course>,
    account: &str,
    event_type: &str,
    payload: &Value,
) -> Result<(), String> {
    let id = payload["transfer"].as_str().unwrap();
    let amount = payload["amount"].as_i64().unwrap();
    let (stage, at) = match (event_type, courses.get(id)) {
        ("account.transfer_sent", None) => {
            let course = Course {
                stage: Stage::Sent,
                from: account.to_owned(),
                to: payload["to"].as_str().unwrap().to_owned(),
                amount,
            };
            courses.insert(id.to_owned(), course);
            return Ok(());
        }
        ("account.transfer_received", Some(course)) => (Stage::Received, course.to.as_str()),
        ("account.transfer_returned", Some(course)) => (Stage::Returned, course.from.as_str()),
        _ => return Err(format!("{event_type} of {id} comes out of the blue")),
    };
    let fits = |course: &Course| course.stage == Stage::Sent && course.amount == amount;
    match courses.get(id) {
        Some(course) if fits(course) && at == account => {}
        course => {
            return Err(format!(
                "{event_type} at {account}: {payload} after {course:?}"
            ));
        }
    }
    courses
        .entry(id.to_owned())
        .and_modify(|course| course.stage = stage);
    Ok(())
}

/// Waits until a transfer is not pending any more, and answers how it ended.
pub(crate) async fn ended(server: &Server, id: &str) -> String {
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

/// Has every wish acknowledged and carried out by a server that lives on, and checks that each
/// ended as it must, once. Answers how many there were.
pub(crate) async fn settle(bank: &Bank, storage: &mut Storage, mut clients: Vec<Client>) -> usize {
    let server = bank.serve().await;
    let mut wishes = Vec::new();
    for client in &mut clients {
        client.send(server.address).await.unwrap();
        wishes.append(&mut client.acknowledged);
    }
    for wish in &wishes {
        assert_eq!(ended(&server, &wish.id).await, wish.end().0, "{wish:?}");
    }
    server.stop().await;
    let stages = stages(storage).await.unwrap();
    assert_eq!(stages.len(), wishes.len());
    for wish in &wishes {
        assert_eq!(stages[&wish.id], wish.end().1, "{wish:?}");
    }
    storage.assert_dense().await;
    assert_nothing_in_flight(bank).await;
    wishes.len()
}

pub(crate) async fn assert_nothing_in_flight(bank: &Bank) {
    let verified = bank.json(&["store", "verify"]).await;
    assert_eq!(verified["notes"]["money is conserved"], "nothing in flight");
}
