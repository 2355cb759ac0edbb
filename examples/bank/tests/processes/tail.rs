//! A tail in another process.

use serde_json::{Value, json};
use tokio::{
    io::{BufReader, Lines},
    process::ChildStdout,
    time::timeout,
};

use crate::{
    bank::{Bank, SOON, Store},
    client::{Connection, Request},
};

crate::bank::on_each_store!(a_tail_in_another_process_shows_each_event_once_and_in_order,);

const DEPOSITS: i64 = 100;

/// It follows a server, and the next one after that was killed.
async fn a_tail_in_another_process_shows_each_event_once_and_in_order(store: Store) {
    let bank = Bank::on(store).await;
    let server = bank.serve().await;
    let mut connection = Connection::to(server.address).await.unwrap();
    let open = Request::post("/accounts", "open", &json!({ "owner": "alice", "id": "a" }));
    connection.send(&open).await.unwrap().ok(201);

    let mut tail = bank.start(&["stream", "tail", "--follow", "--from", "1", "--json"]);
    let mut lines = tail.lines();
    let opened = next(&mut lines).await;
    assert_eq!(
        (&opened["position"], &opened["type"]),
        (&json!(1), &json!("account.opened"))
    );

    deposit(&mut connection, 1..=DEPOSITS).await;
    server.kill().await;
    let server = bank.serve().await;
    let mut connection = Connection::to(server.address).await.unwrap();
    deposit(&mut connection, DEPOSITS + 1..=2 * DEPOSITS).await;

    for amount in 1..=2 * DEPOSITS {
        let event = next(&mut lines).await;
        assert_eq!(event["position"], amount + 1, "{event}");
        assert_eq!(event["payload"]["amount"], amount, "{event}");
    }
    tail.signal("INT").await;
    assert!(tail.end().await.status.success());
    server.stop().await;
}

async fn deposit(connection: &mut Connection, amounts: std::ops::RangeInclusive<i64>) {
    for amount in amounts {
        let deposit = Request::deposit("a", amount, &format!("deposit-{amount}"));
        connection.send(&deposit).await.unwrap().ok(201);
    }
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = timeout(SOON, lines.next_line()).await;
    let line = line.expect("the tail goes on").unwrap();
    serde_json::from_str(&line.expect("the tail does not end")).unwrap()
}
