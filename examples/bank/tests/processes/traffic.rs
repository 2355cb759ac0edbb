//! Commands whose outcome is known.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use annals_testing::seed::Seed;
use serde_json::json;

use crate::{
    client::{Answer, Connection, Request},
    log::Booking,
};

/// So much is on an account that no withdrawal is ever refused.
const FUNDS: i64 = 1_000_000_000;

/// Who opens the funded accounts, `founder-0` and so on.
pub(crate) const FOUNDER: &str = "founder";
/// How many funded accounts there are.
pub(crate) const ACCOUNTS: usize = 20;
/// How many users own them.
pub(crate) const USERS: usize = 10;

/// Who owns a funded account.
pub(crate) fn owner(account: usize) -> String {
    format!("user-{}", account % USERS)
}

/// A command and its idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    key: String,
    booking: Booking,
}

impl Order {
    fn request(&self) -> Request {
        let Booking {
            account,
            what,
            owner,
            amount,
        } = &self.booking;
        let path = match what.as_str() {
            "opened" => {
                let body = json!({ "owner": owner, "id": account });
                return Request::post("/accounts", &self.key, &body);
            }
            "deposited" => format!("/accounts/{account}/deposits"),
            _ => format!("/accounts/{account}/withdrawals"),
        };
        Request::post(&path, &self.key, &json!({ "amount": amount }))
    }
}

/// A command that was acknowledged, and how.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) order: Order,
    pub(crate) answer: Answer,
}

impl Done {
    pub(crate) fn booking(&self) -> &Booking {
        &self.order.booking
    }

    /// Repeats the command, which must be answered as the first time. Fails when it is cut off.
    pub(crate) async fn repeat(&self, connection: &mut Connection) -> Result<(), Cut> {
        let again = connection.send(&self.order.request()).await?;
        up_to_date(&again)?;
        assert_eq!(again, self.answer, "a repeated {:?}", self.order);
        Ok(())
    }
}

/// The connection to the server was cut, or the server asks to come again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut;

/// Fails for the answer to a command that was carried out, but is not in the read model yet: the node
/// that writes it may be stalled.
fn up_to_date(answer: &Answer) -> Result<(), Cut> {
    if answer.is_behind() { Err(Cut) } else { Ok(()) }
}

impl From<std::io::Error> for Cut {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

/// What all clients of a bank know together.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Accounts that hold more than anybody will withdraw, with their owners.
    funded: Vec<(String, String)>,
    /// All that was acknowledged.
    pub(crate) done: Vec<Done>,
}

/// Sends commands, one after the other, until it is cut off.
#[derive(Debug)]
pub(crate) struct Client {
    name: String,
    seed: Seed,
    book: Arc<Mutex<Book>>,
    /// What was not acknowledged yet, the first of it perhaps carried out.
    waiting: VecDeque<Order>,
    /// How many commands it has thought of.
    orders: u64,
}

impl Client {
    pub(crate) fn new(name: impl Into<String>, seed: &mut Seed, book: &Arc<Mutex<Book>>) -> Self {
        Self {
            name: name.into(),
            seed: Seed::new(seed.number()),
            book: Arc::clone(book),
            waiting: VecDeque::new(),
            orders: 0,
        }
    }

    /// Opens the funded accounts.
    pub(crate) async fn fund(&mut self, address: SocketAddr) {
        let accounts: Vec<_> = (0..ACCOUNTS)
            .map(|number| (format!("{}-{number}", self.name), owner(number)))
            .collect();
        for (account, owner) in &accounts {
            self.order(account, "opened", owner, 0);
            self.order(account, "deposited", owner, FUNDS);
        }
        self.finish(address).await.expect("the server is there");
        self.book.lock().unwrap().funded.extend(accounts);
    }

    /// Sends commands until it is cut off. What is not acknowledged by then is sent again, with
    /// the same key, the next time.
    pub(crate) async fn run(&mut self, address: SocketAddr) {
        let Err(Cut) = self.run_on(address).await;
    }

    /// Sends again what was not acknowledged yet.
    pub(crate) async fn finish(&mut self, address: SocketAddr) -> Result<(), Cut> {
        let mut connection = Connection::to(address).await?;
        while let Some(order) = self.waiting.front().cloned() {
            let answer = connection.send(&order.request()).await?;
            self.acknowledged(order, answer)?;
        }
        Ok(())
    }

    async fn run_on(&mut self, address: SocketAddr) -> Result<std::convert::Infallible, Cut> {
        self.finish(address).await?;
        let mut connection = Connection::to(address).await?;
        loop {
            let order = self.invent();
            let answer = match self.seed.below(20) {
                0 => at_once(address, &mut connection, &order).await?,
                _ => connection.send(&order.request()).await?,
            };
            let done = self.acknowledged(order, answer)?;
            match self.seed.below(20) {
                0..3 => done.repeat(&mut connection).await?,
                3..5 => self.earlier().repeat(&mut connection).await?,
                _ => {}
            }
        }
    }

    /// A command that the bank will not refuse.
    fn invent(&mut self) -> Order {
        let amount = 1 + i64::try_from(self.seed.below(1_000)).unwrap();
        let choice = self.seed.number();
        let (account, owner) = {
            let book = self.book.lock().unwrap();
            let place = usize::try_from(choice % 1_024).unwrap() % book.funded.len();
            book.funded[place].clone()
        };
        match self.seed.below(20) {
            0 => {
                let account = format!("{}-new-{}", self.name, self.orders);
                self.order(&account, "opened", &owner, 0)
            }
            1..11 => self.order(&account, "deposited", &owner, amount),
            _ => self.order(&account, "withdrawn", &owner, amount),
        }
    }

    fn order(&mut self, account: &str, what: &str, owner: &str, amount: i64) -> Order {
        let order = Order {
            key: format!("{}/{}", self.name, self.orders),
            booking: Booking {
                account: account.to_owned(),
                what: what.to_owned(),
                owner: owner.to_owned(),
                amount,
            },
        };
        self.orders += 1;
        self.waiting.push_back(order.clone());
        order
    }

    fn acknowledged(&mut self, order: Order, answer: Answer) -> Result<Done, Cut> {
        up_to_date(&answer)?;
        answer.ok(201);
        self.waiting.pop_front();
        let done = Done { order, answer };
        self.book.lock().unwrap().done.push(done.clone());
        Ok(done)
    }

    /// Something that was acknowledged before, perhaps to another client.
    fn earlier(&mut self) -> Done {
        let book = self.book.lock().unwrap();
        book.done[self.seed.below(book.done.len())].clone()
    }
}

/// Sends a command twice at the same time, over two connections.
async fn at_once(
    address: SocketAddr,
    connection: &mut Connection,
    order: &Order,
) -> Result<Answer, Cut> {
    let mut other = Connection::to(address).await?;
    let request = order.request();
    let (one, two) = tokio::join!(connection.send(&request), other.send(&request));
    if let (Ok(one), Ok(two)) = (&one, &two) {
        up_to_date(one)?;
        up_to_date(two)?;
        assert_eq!(one, two, "{order:?} sent twice at once");
    }
    Ok(one.or(two)?)
}
