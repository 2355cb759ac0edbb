//! An `Idempotency-Key` for a transfer that was asked for without one before.

use std::time::Duration;

use bank::domain::Transfer;
use serde_json::{Value, json};

use super::server::Bank;
use crate::client::Request;

/// Longer than anything takes, on a machine that does much else.
const SOON: Duration = Duration::from_secs(30);

fn keyed(amount: i64) -> Request {
    Request::new("POST", "/transfers")
        .json(body(amount))
        .header("Idempotency-Key", "k")
}

fn body(amount: i64) -> Value {
    json!({ "from": "a", "to": "b", "amount": amount, "id": "rent" })
}

#[tokio::test]
async fn a_transfer_that_began_without_a_key_is_the_same_one_when_it_is_asked_for_with_one() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 100).await;
    bank.account("bob", "b", 0).await;
    let first = bank.post("/transfers", body(100)).await;
    let rent = "rent".parse().unwrap();
    let ended = bank.app.saga_ended::<Transfer>(&rent, SOON).await;
    ended.unwrap();

    // Nothing is left on the account: asked anew, it would say no.
    let events = bank.events().await;
    for _ in 0..2 {
        let again = bank.send(keyed(100)).await;
        assert_eq!(again.ok(202), first.ok(202));
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(again.header("log-position"), first.header("log-position"));
    }
    // The key belongs to it from then on.
    let other = bank.send(keyed(99)).await;
    other.problem(422, "idempotency-key-reused");
    let other = bank.post("/transfers", body(99)).await;
    other.problem(409, "transfer-exists");
    assert_eq!(bank.events().await, events);
    bank.close().await;
}
