//! A server that is asked to stop.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use annals_testing::seed::Seed;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    bank::{Bank, Store},
    client::{Connection, Request},
    log::Storage,
};

crate::bank::on_each_store!(
    a_server_that_is_asked_to_stop_answers_what_it_took_and_refuses_the_rest,
);

const ROUNDS: usize = 8;
const CLIENTS: usize = 8;
/// Less than a server waits for clients that do not finish, and more than others need.
const STOPS_WITHIN: Duration = Duration::from_secs(8);

/// What a client was answered in one life of the server.
#[derive(Debug, Default)]
struct Answered {
    /// The positions of its deposits.
    positions: Vec<i64>,
    /// Whether its last deposit was refused by a connection that was closed, and not by none
    /// being accepted.
    cut: bool,
}

/// What is answered is in the log, and what is not answered is not.
async fn a_server_that_is_asked_to_stop_answers_what_it_took_and_refuses_the_rest(store: Store) {
    let mut seed = Seed::printed();
    let bank = Bank::on(store).await;
    open_accounts(&bank).await;
    let mut storage = Storage::open(&bank).await;
    let (mut answered, mut cut) = (0, 0);
    for round in 0..ROUNDS {
        let head = storage.head().await;
        let server = bank.serve().await;
        // Somebody who is connected and says nothing must not keep the server.
        let _silent = Connection::to(server.address).await.unwrap();
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(deposit_until_refused(server.address, client, round));
        }
        let lifetime = 50 + u64::try_from(seed.below(250)).unwrap();
        sleep(Duration::from_millis(lifetime)).await;
        let asked = Instant::now();
        server.stop().await;
        assert!(asked.elapsed() < STOPS_WITHIN, "{:?}", asked.elapsed());

        let clients = clients.join_all().await;
        let mut positions: Vec<_> = clients.iter().flat_map(|c| &c.positions).copied().collect();
        positions.sort_unstable();
        let log = storage.entries(head).await;
        let appended: Vec<_> = log.iter().map(|entry| entry.position).collect();
        assert_eq!(positions, appended);
        storage.check_table().await.unwrap();
        answered += positions.len();
        cut += clients.iter().filter(|client| client.cut).count();
    }
    println!("{answered} requests answered, {cut} refused by closing their connection");
    assert!(answered > 0);
}

async fn open_accounts(bank: &Bank) {
    let server = bank.serve().await;
    let mut connection = Connection::to(server.address).await.unwrap();
    for client in 0..CLIENTS {
        let id = format!("client-{client}");
        let open = Request::post("/accounts", &id, &json!({ "owner": id, "id": id }));
        connection.send(&open).await.unwrap().ok(201);
    }
    server.stop().await;
}

/// Deposits, one request after the other, until there is no server any more.
async fn deposit_until_refused(server: SocketAddr, client: usize, round: usize) -> Answered {
    let mut answered = Answered::default();
    let account = format!("client-{client}");
    let mut connection = Connection::to(server).await.unwrap();
    for number in 0.. {
        if connection.is_last() {
            match Connection::to(server).await {
                Ok(another) => connection = another,
                Err(_) => return answered,
            }
        }
        let deposit = Request::deposit(&account, 1, &format!("{client}/{round}/{number}"));
        match connection.send(&deposit).await {
            Ok(answer) => {
                answer.ok(201);
                answered.positions.push(answer.position());
            }
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::UnexpectedEof, "half an answer");
                answered.cut = true;
                return answered;
            }
        }
    }
    answered
}
