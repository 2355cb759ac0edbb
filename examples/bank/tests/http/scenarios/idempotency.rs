//! The same request with the same key has one effect and one answer.

use serde_json::json;

use super::server::Bank;
use crate::client::Request;

fn keyed(path: &str, body: &str, key: &str) -> Request {
    Request::new("POST", path)
        .json(body)
        .header("Idempotency-Key", key)
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first_time() {
    let bank = Bank::open().await;
    let requests = [
        keyed("/accounts", r#"{"owner":"alice","id":"a"}"#, "open"),
        keyed("/accounts/a/deposits", r#"{"amount":5}"#, "deposit"),
        keyed("/accounts/a/withdrawals", r#"{"amount":5}"#, "withdraw"),
        Request::new("POST", "/accounts/a/close").header("Idempotency-Key", "close"),
    ];
    let mut first = Vec::new();
    for request in &requests {
        let answer = bank.send(request.clone()).await;
        assert!(answer.status < 300, "{answer:?}");
        first.push(answer);
    }
    // By now each of them would be refused, the account being closed.
    for (request, first) in requests.iter().zip(&first) {
        let again = bank.send(request.clone()).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for header in ["etag", "location", "log-position", "content-type"] {
            assert_eq!(again.header(header), first.header(header), "{header}");
        }
    }
    assert_eq!(bank.events().await, 4);
    bank.close().await;
}

#[tokio::test]
async fn a_repeated_opening_without_an_id_meets_the_same_account() {
    let bank = Bank::open().await;
    let open = keyed("/accounts", r#"{"owner":"alice"}"#, "k");
    let first = bank.send(open.clone()).await.ok(201);
    assert_eq!(bank.send(open).await.ok(201), first);
    let other = bank
        .send(keyed("/accounts", r#"{"owner":"alice"}"#, "k2"))
        .await
        .ok(201);
    assert_ne!(other["id"], first["id"]);
    assert_eq!(bank.events().await, 2);
    bank.close().await;
}

#[tokio::test]
async fn a_key_of_another_request_is_refused() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 100).await;
    bank.account("alice", "b", 100).await;
    bank.send(keyed("/accounts/a/deposits", r#"{"amount":5}"#, "k"))
        .await
        .ok(201);
    let others = [
        keyed("/accounts/a/deposits", r#"{"amount":6}"#, "k"),
        keyed("/accounts/b/deposits", r#"{"amount":5}"#, "k"),
        keyed("/accounts/a/withdrawals", r#"{"amount":5}"#, "k"),
        // These would be refused anyway, but the key is what is wrong with them.
        keyed("/accounts/a/withdrawals", r#"{"amount":500}"#, "k"),
        keyed("/accounts", r#"{"owner":"alice","currency":"USD"}"#, "k"),
        keyed("/accounts", r#"{"owner":"alice"}"#, "k"),
    ];
    for request in others {
        bank.send(request)
            .await
            .problem(422, "idempotency-key-reused");
    }
    assert_eq!(bank.events().await, 5);
    bank.close().await;
}

#[tokio::test]
async fn a_refused_request_is_decided_anew() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let withdraw = keyed("/accounts/a/withdrawals", r#"{"amount":5}"#, "k");
    bank.send(withdraw.clone())
        .await
        .problem(422, "insufficient-funds");
    bank.post("/accounts/a/deposits", json!({ "amount": 5 }))
        .await
        .ok(201);
    assert_eq!(bank.send(withdraw).await.ok(201)["balance"], 0);
    bank.close().await;
}

#[tokio::test]
async fn a_repeated_request_is_recognised_although_the_version_moved_on() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let deposit = keyed("/accounts/a/deposits", r#"{"amount":5}"#, "k").header("If-Match", "\"1\"");
    let first = bank.send(deposit.clone()).await.ok(201);
    assert_eq!(bank.send(deposit).await.ok(201), first);
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_at_once_have_one_effect() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let requests = [
        keyed("/accounts/a/deposits", r#"{"amount":5}"#, "deposit"),
        keyed("/accounts", r#"{"owner":"bob"}"#, "open"),
    ];
    for request in requests {
        let before = bank.events().await;
        let racers = (0..10).map(|_| bank.send(request.clone()));
        let answers = futures_util::future::join_all(racers).await;
        let first = answers[0].ok(201);
        answers
            .iter()
            .for_each(|answer| assert_eq!(answer.ok(201), first));
        assert_eq!(bank.events().await, before + 1);
    }
    bank.close().await;
}

#[tokio::test]
async fn a_key_has_1_to_255_visible_ascii_characters() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let deposit = |key: &str| keyed("/accounts/a/deposits", r#"{"amount":5}"#, key);
    for key in ["!", "~", &"k".repeat(255)] {
        bank.send(deposit(key)).await.ok(201);
    }
    for key in ["", "two words", "ü", &"k".repeat(256)] {
        let problem = bank.send(deposit(key)).await.problem(400, "invalid-header");
        assert_eq!(problem["field"], "Idempotency-Key");
    }
    let twice = deposit("one").header("Idempotency-Key", "two");
    bank.send(twice).await.problem(400, "invalid-header");
    assert_eq!(bank.events().await, 4);
    bank.close().await;
}
