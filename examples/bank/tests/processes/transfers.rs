//! Wishes for transfers, and whether each of them ended as it must.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use annals_testing::seed::Seed;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    bank::{Bank, SOON, Server, Store},
    client::{Connection, Request},
    courses::{Stage, Timer, stages, timers},
    log::Storage,
};

pub(crate) const ACCOUNTS: usize = 100;
const FUNDS: i64 = 100_000;
/// An account that nobody has opened.
pub(crate) const NOBODY: &str = "nobody";
/// An account that takes no money for the time being, so that transfers to it wait for their
/// deadline.
pub(crate) const FROZEN: &str = "frozen";
/// How long a client waits for an answer, and for the end of its transfer, before it goes elsewhere.
const PATIENCE: Duration = Duration::from_secs(5);
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

    /// The same, but one in five to a frozen account.
    fn invent_late(id: String, seed: &mut Seed) -> Self {
        let mut wish = Self::invent(id, seed);
        if seed.chance(1, 5) {
            wish.to = FROZEN.to_owned();
        }
        wish
    }

    /// Whether it may have ended like this: as the API says it, where its money is, and what
    /// became of its deadline.
    fn may_end(&self, status: &str, stage: Option<Stage>, timer: &Timer) -> bool {
        let fits = matches!(
            (status, stage),
            ("completed", Some(Stage::Received))
                | ("compensated", Some(Stage::Returned))
                | ("failed", None)
        );
        let expected = match (self.to.as_str(), timer.fired()) {
            // What the deadline met was done already, was still to be undone, or had not begun.
            (FROZEN | NOBODY, true) => status != "completed",
            (_, true) => true,
            (FROZEN, false) => false,
            (NOBODY, false) => status == "compensated",
            (_, false) => status == "completed",
        };
        fits && expected && timer.ended
    }
}

/// Wishes for transfers.
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

    /// Wishes for a transfer and waits for its end, unless it waits for a frozen account or is cut
    /// off.
    pub(crate) async fn turn(&mut self, address: SocketAddr) {
        if self.waiting.is_empty() {
            self.wish();
        }
        let turn = async {
            self.send(address).await?;
            self.sees_the_end(address).await
        };
        if !matches!(timeout(PATIENCE, turn).await, Ok(Ok(()))) {
            // The server is gone, or it stalls: another one is to be found.
            sleep(LOOK).await;
        }
    }

    async fn sees_the_end(&self, address: SocketAddr) -> std::io::Result<()> {
        let last = self.acknowledged.last();
        let Some(wish) = last.filter(|wish| wish.to != FROZEN) else {
            return Ok(());
        };
        let mut connection = Connection::to(address).await?;
        while status(&mut connection, &wish.id).await? == "pending" {
            sleep(10 * LOOK).await;
        }
        Ok(())
    }

    /// Wishes for so many transfers as fast as they are taken, which is long before they are
    /// carried out, unless it is cut off. Counts those that are taken.
    pub(crate) async fn burst(&mut self, address: SocketAddr, wishes: usize, taken: &AtomicUsize) {
        while self.waiting.len() < wishes {
            self.wish();
        }
        let Ok(mut connection) = Connection::to(address).await else {
            return;
        };
        while !self.waiting.is_empty() && self.send_one(&mut connection).await.is_ok() {
            taken.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Thinks of a transfer.
    pub(crate) fn wish(&mut self) {
        let number = self.acknowledged.len() + self.waiting.len();
        let id = format!("{}/{number}", self.name);
        self.waiting
            .push_back(Wish::invent_late(id, &mut self.seed));
    }

    /// Sends what waits; fails when it is cut off.
    pub(crate) async fn send(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let mut connection = Connection::to(address).await?;
        while !self.waiting.is_empty() {
            self.send_one(&mut connection).await?;
        }
        Ok(())
    }

    async fn send_one(&mut self, connection: &mut Connection) -> std::io::Result<()> {
        if let Some(wish) = self.waiting.front() {
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

/// Opens the account that takes no money, and freezes it.
pub(crate) async fn freeze(bank: &Bank) {
    let server = bank.serve().await;
    let mut connection = Connection::to(server.address).await.unwrap();
    let open = json!({ "id": FROZEN, "owner": "winter" });
    let open = Request::post("/accounts", "open", &open);
    connection.send(&open).await.unwrap().ok(201);
    let freeze = Request::post(&format!("/accounts/{FROZEN}/freeze"), "freeze", &json!({}));
    assert_eq!(connection.send(&freeze).await.unwrap().status, 204);
    server.stop().await;
}

/// Waits until a transfer is not pending any more, and answers how it ended.
pub(crate) async fn ended(server: &Server, id: &str) -> String {
    let mut connection = Connection::to(server.address).await.unwrap();
    let late = Instant::now() + SOON;
    loop {
        let status = status(&mut connection, id).await.unwrap();
        if status != "pending" {
            return status;
        }
        assert!(Instant::now() < late, "transfer {id} does not end");
        sleep(LOOK).await;
    }
}

async fn status(connection: &mut Connection, id: &str) -> std::io::Result<String> {
    let path = format!("/transfers/{}", id.replace('/', "%2F"));
    let transfer = connection.send(&Request::get(&path)).await?.ok(200);
    Ok(transfer["status"].as_str().unwrap().to_owned())
}

/// How the transfers of a test ended.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) transfers: usize,
    /// Those whose money arrived.
    pub(crate) completed: usize,
    /// Those whose deadline was reached.
    pub(crate) late: usize,
}

/// Has every wish acknowledged and carried out by a server that lives on, and checks that each
/// ended as it must, once, and that no deadline was lost.
pub(crate) async fn settle(bank: &Bank, storage: &mut Storage, clients: Vec<Client>) -> Ends {
    let server = bank.serve().await;
    let mut sending = JoinSet::new();
    for mut client in clients {
        let address = server.address;
        sending.spawn(async move {
            client.send(address).await.unwrap();
            client.acknowledged
        });
    }
    let wishes: Vec<_> = sending.join_all().await.into_iter().flatten().collect();
    all_end(storage, wishes.len()).await;
    let timers = timers(storage).await.unwrap();
    let stages = stages(storage).await.unwrap();
    let mut connection = Connection::to(server.address).await.unwrap();
    let mut ends = Ends::default();
    for wish in &wishes {
        let (stage, timer) = (stages.get(&wish.id).copied(), &timers[&wish.id]);
        let status = status(&mut connection, &wish.id).await.unwrap();
        assert!(
            wish.may_end(&status, stage, timer),
            "{wish:?} is {status}: its money is {stage:?}, its deadline {timer:?}"
        );
        ends.transfers += 1;
        ends.completed += usize::from(status == "completed");
        ends.late += usize::from(timer.fired());
    }
    server.stop().await;
    storage.assert_dense().await;
    assert_nothing_in_flight(bank).await;
    ends
}

/// Waits until all of so many transfers have ended, for as long as one ends after the other.
async fn all_end(storage: &mut Storage, transfers: usize) {
    let (mut ended, mut late) = (0, Instant::now() + SOON);
    while ended < transfers {
        let timers = timers(storage).await.unwrap();
        let now = timers.values().filter(|timer| timer.ended).count();
        if now > ended {
            (ended, late) = (now, Instant::now() + SOON);
        }
        let open = || timers.iter().filter(|(_, timer)| !timer.ended);
        let some: Vec<_> = open().take(3).collect();
        assert!(
            Instant::now() < late,
            "{ended} of {transfers} transfers have ended, and no other does, such as {some:?}"
        );
        sleep(10 * LOOK).await;
    }
    assert_eq!(
        ended, transfers,
        "there are more transfers than were asked for"
    );
}

pub(crate) async fn assert_nothing_in_flight(bank: &Bank) {
    let verified = bank.json(&["store", "verify"]).await;
    assert_eq!(verified["notes"]["money is conserved"], "nothing in flight");
}
