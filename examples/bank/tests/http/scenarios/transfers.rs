//! `/transfers`: money from one account to another, whole or not at all.

use std::time::Duration;

use bank::{
    domain::{Transfer, TransferId},
    http::Limits,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::server::Bank;
use crate::client::Request;

/// Longer than anything takes, on a machine that does much else.
const SOON: Duration = Duration::from_secs(30);

impl Bank {
    /// Waits until a transfer has ended, and answers how the API shows it.
    async fn transferred(&self, id: &str) -> Value {
        let transfer: TransferId = id.parse().unwrap();
        let ended = self.app.saga_ended::<Transfer>(&transfer, SOON).await;
        ended.unwrap();
        self.get(&format!("/transfers/{id}")).await.ok(200)
    }

    async fn balance(&self, account: &str) -> i64 {
        let account = self.get(&format!("/accounts/{account}")).await.ok(200);
        account["balance"].as_i64().unwrap()
    }

    async fn change(&self, account: &str, command: &str) {
        let path = format!("/accounts/{account}/{command}");
        let answer = self.send(Request::new("POST", &path)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }
}

/// Alice has 100 on account `a`, bob nothing on `b`.
async fn two_accounts() -> Bank {
    two_accounts_within(SOON).await
}

async fn two_accounts_within(transferred_within: Duration) -> Bank {
    let limits = Limits {
        transferred_within,
        ..Limits::default()
    };
    let bank = Bank::open_with(limits).await;
    bank.account("alice", "a", 100).await;
    bank.account("bob", "b", 0).await;
    bank
}

fn transfer(amount: i64, id: &str) -> Value {
    json!({ "from": "a", "to": "b", "amount": amount, "id": id })
}

#[tokio::test]
async fn money_arrives_at_the_other_account() {
    let bank = two_accounts().await;
    let begun = bank.post("/transfers", transfer(30, "rent")).await;
    assert_eq!(begun.header("location"), Some("/transfers/rent"));
    let expected = json!({
        "id": "rent", "from": "a", "to": "b", "amount": 30, "status": "pending"
    });
    assert_eq!(begun.ok(202), expected);

    let ended = bank.transferred("rent").await;
    let expected = json!({
        "id": "rent", "from": "a", "to": "b", "amount": 30, "status": "completed"
    });
    assert_eq!(ended, expected);
    assert_eq!((bank.balance("a").await, bank.balance("b").await), (70, 30));
    let position = bank.events().await;
    for (owner, balance) in [("alice", 70), ("bob", 30)] {
        let path = format!("/users/{owner}/balance?at_least={position}");
        assert_eq!(bank.get(&path).await.ok(200)["balance"], balance);
    }
    bank.close().await;
}

#[tokio::test]
async fn a_transfer_is_found_at_its_location_whatever_its_id() {
    let bank = two_accounts().await;
    for id in ["a/b c", "ümläut", "x:y-z%", "..."] {
        let begun = bank.post("/transfers", transfer(1, id)).await;
        begun.ok(202);
        let location = begun.header("location").unwrap();
        assert_eq!(bank.get(location).await.ok(200)["id"], id);
    }
    let made_up = json!({ "from": "a", "to": "b", "amount": 1 });
    let begun = bank.post("/transfers", made_up).await;
    let id = begun.ok(202)["id"].as_str().unwrap().to_owned();
    let location = format!("/transfers/{id}");
    assert_eq!(begun.header("location"), Some(location.as_str()));
    bank.close().await;
}

#[tokio::test]
async fn a_transfer_can_be_read_at_the_position_of_its_start() {
    let bank = two_accounts().await;
    let begun = bank.post("/transfers", transfer(1, "t")).await;
    let position = begun.header("log-position").unwrap();
    let path = format!("/transfers/t?at_least={position}");
    assert_eq!(bank.get(&path).await.ok(200)["id"], "t");
    bank.close().await;
}

#[tokio::test]
async fn a_transfer_that_nobody_began_is_not_found() {
    let bank = two_accounts().await;
    let answer = bank.get("/transfers/t").await;
    answer.problem(404, "transfer-not-found");
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_request_ten_times_at_once_is_one_transfer() {
    let bank = two_accounts().await;
    let keyed = || {
        let body = json!({ "from": "a", "to": "b", "amount": 100 });
        Request::new("POST", "/transfers")
            .json(body)
            .header("Idempotency-Key", "k")
    };
    let named = || Request::new("POST", "/transfers").json(transfer(100, "t"));
    let keyed = join_all((0..10).map(|_| bank.send(keyed()))).await;
    let first = keyed[0].ok(202);
    let id = first["id"].as_str().unwrap();
    for answer in &keyed {
        assert_eq!(answer.ok(202), first);
        assert_eq!(
            answer.header("log-position"),
            keyed[0].header("log-position")
        );
    }
    assert_eq!(bank.transferred(id).await["status"], "completed");
    assert_eq!((bank.balance("a").await, bank.balance("b").await), (0, 100));

    bank.post("/accounts/a/deposits", json!({ "amount": 100 }))
        .await
        .ok(201);
    for answer in join_all((0..10).map(|_| bank.send(named()))).await {
        assert_eq!(answer.ok(202)["id"], "t");
    }
    assert_eq!(bank.transferred("t").await["status"], "completed");
    assert_eq!((bank.balance("a").await, bank.balance("b").await), (0, 200));
    bank.close().await;
}

#[tokio::test]
async fn a_repeated_request_is_recognised_although_too_little_is_left() {
    let bank = two_accounts().await;
    let first = bank.post("/transfers", transfer(100, "t")).await;
    bank.transferred("t").await;
    let again = bank.post("/transfers", transfer(100, "t")).await;
    assert_eq!((again.status, again.body), (first.status, first.body));
    assert_eq!(bank.balance("b").await, 100);
    bank.close().await;
}

#[tokio::test]
async fn an_id_names_one_transfer_only() {
    let bank = two_accounts().await;
    bank.account("carol", "c", 100).await;
    bank.post("/transfers", transfer(10, "t")).await.ok(202);
    for other in [
        transfer(11, "t"),
        json!({ "from": "a", "to": "c", "amount": 10, "id": "t" }),
        json!({ "from": "c", "to": "b", "amount": 10, "id": "t" }),
        transfer(500, "t"),
    ] {
        let answer = bank.post("/transfers", other).await;
        answer.problem(409, "transfer-exists");
    }
    bank.transferred("t").await;
    assert_eq!(bank.balance("b").await, 10);
    bank.close().await;
}

#[tokio::test]
async fn a_key_of_another_request_begins_no_transfer() {
    let bank = two_accounts().await;
    let keyed = |path: &str, body: Value| {
        Request::new("POST", path)
            .json(body)
            .header("Idempotency-Key", "k")
    };
    let body = json!({ "from": "a", "to": "b", "amount": 10 });
    bank.send(keyed("/transfers", body)).await.ok(202);
    for (path, body) in [
        (
            "/transfers",
            json!({ "from": "a", "to": "b", "amount": 11 }),
        ),
        ("/transfers", transfer(10, "t")),
        ("/accounts/a/deposits", json!({ "amount": 10 })),
    ] {
        let refused = bank.send(keyed(path, body)).await;
        refused.problem(422, "idempotency-key-reused");
    }
    let deposit = Request::new("POST", "/accounts/a/deposits")
        .json(json!({ "amount": 1 }))
        .header("Idempotency-Key", "d");
    bank.send(deposit).await.ok(201);
    let refused = Request::new("POST", "/transfers")
        .json(transfer(10, "t"))
        .header("Idempotency-Key", "d");
    bank.send(refused)
        .await
        .problem(422, "idempotency-key-reused");
    bank.get("/transfers/t")
        .await
        .problem(404, "transfer-not-found");
    bank.close().await;
}

#[tokio::test]
async fn what_is_known_at_once_is_answered_at_once() {
    let bank = two_accounts().await;
    for (id, command) in [("closed", "close"), ("frozen", "freeze")] {
        bank.account("carol", id, 0).await;
        bank.change(id, command).await;
    }
    let events = bank.events().await;
    let from = |id: &str| json!({ "from": id, "to": "b", "amount": 1 });
    for (body, status, kind) in [
        (from("nobody"), 404, "account-not-found"),
        (from("closed"), 422, "account-closed"),
        (from("frozen"), 422, "account-frozen"),
        (transfer(101, "t"), 422, "insufficient-funds"),
        (
            transfer(1_000_000_000_000_000, "t"),
            422,
            "insufficient-funds",
        ),
    ] {
        let answer = bank.post("/transfers", body).await;
        answer.problem(status, kind);
    }
    let to_itself = json!({ "from": "a", "to": "a", "amount": 1 });
    let problem = bank.post("/transfers", to_itself).await;
    assert_eq!(problem.problem(422, "invalid-field")["field"], "to");
    assert_eq!(bank.events().await, events);
    bank.close().await;
}

#[tokio::test]
async fn a_malformed_transfer_names_what_is_wrong_with_it() {
    let bank = two_accounts().await;
    let events = bank.events().await;
    let long = "x".repeat(256);
    for (body, field) in [
        (json!({ "to": "b", "amount": 1 }), "from"),
        (json!({ "from": "a", "amount": 1 }), "to"),
        (json!({ "from": "a", "to": "b" }), "amount"),
        (transfer(0, "t"), "amount"),
        (transfer(-1, "t"), "amount"),
        (transfer(1_000_000_000_000_001, "t"), "amount"),
        (transfer(i64::MAX, "t"), "amount"),
        (json!({ "from": "a", "to": "b", "amount": 1.5 }), "amount"),
        (json!({ "from": "a", "to": "b", "amount": "1" }), "amount"),
        (json!({ "from": 1, "to": "b", "amount": 1 }), "from"),
        (json!({ "from": "a", "to": "", "amount": 1 }), "to"),
        (transfer(1, ""), "id"),
        (transfer(1, &long), "id"),
        (transfer(1, &"x".repeat(255)), "id"),
        (transfer(1, "a\u{7}"), "id"),
        (
            json!({ "from": "a", "to": "b", "amount": 1, "fee": 1 }),
            "fee",
        ),
    ] {
        let answer = bank.post("/transfers", body).await;
        assert_eq!(answer.problem(422, "invalid-field")["field"], field);
    }
    let if_match = Request::new("POST", "/transfers")
        .json(transfer(1, "t"))
        .header("If-Match", "\"1\"");
    bank.send(if_match).await.problem(412, "version-mismatch");
    assert_eq!(bank.events().await, events);
    bank.close().await;
}

#[tokio::test]
async fn money_comes_back_from_accounts_that_can_not_take_it() {
    let bank = two_accounts().await;
    bank.account("carol", "closed", 0).await;
    bank.change("closed", "close").await;
    let dollars = json!({ "owner": "dave", "id": "dollars", "currency": "USD" });
    bank.post("/accounts", dollars).await.ok(201);
    for (to, reason) in [
        ("nobody", "credit: there is no such account"),
        ("closed", "credit: the account is closed"),
        (
            "dollars",
            "credit: the account is kept in USD, so it has nothing to do with EUR",
        ),
    ] {
        let body = json!({ "from": "a", "to": to, "amount": 100, "id": to });
        bank.post("/transfers", body).await.ok(202);
        let ended = bank.transferred(to).await;
        assert_eq!(
            (&ended["status"], &ended["reason"]),
            (&json!("compensated"), &json!(reason))
        );
        assert_eq!(bank.balance("a").await, 100, "{to}");
    }
    bank.close().await;
}

#[tokio::test]
async fn money_comes_back_from_a_frozen_account_when_the_deadline_has_passed() {
    let bank = two_accounts_within(Duration::from_millis(300)).await;
    bank.change("b", "freeze").await;
    bank.post("/transfers", transfer(100, "t")).await.ok(202);
    let ended = bank.transferred("t").await;
    assert_eq!(ended["status"], "compensated");
    // A slow machine may not have got to ask the account by then.
    let reasons = [
        "not done within 300ms (the account is frozen)",
        "not done within 300ms",
    ];
    let reason = ended["reason"].as_str().unwrap();
    assert!(reasons.contains(&reason), "{reason}");
    assert_eq!((bank.balance("a").await, bank.balance("b").await), (100, 0));
    bank.close().await;
}

#[tokio::test]
async fn a_frozen_account_that_is_unfrozen_in_time_gets_its_money() {
    let bank = two_accounts().await;
    bank.change("b", "freeze").await;
    bank.post("/transfers", transfer(100, "t")).await.ok(202);
    bank.refused_once("t").await;
    assert_eq!(bank.get("/transfers/t").await.ok(200)["status"], "pending");
    bank.change("b", "unfreeze").await;
    assert_eq!(bank.transferred("t").await["status"], "completed");
    assert_eq!((bank.balance("a").await, bank.balance("b").await), (0, 100));
    bank.close().await;
}

#[tokio::test]
async fn money_that_comes_back_opens_a_closed_account_again() {
    let bank = two_accounts_within(Duration::from_millis(500)).await;
    bank.change("b", "freeze").await;
    bank.post("/transfers", transfer(100, "t")).await.ok(202);
    bank.refused_once("t").await;
    bank.change("a", "close").await;
    assert_eq!(bank.transferred("t").await["status"], "compensated");
    let account = bank.get("/accounts/a").await.ok(200);
    assert_eq!(
        (&account["status"], &account["balance"]),
        (&json!("open"), &json!(100))
    );
    let position = bank.events().await;
    let path = format!("/users/alice/balance?at_least={position}");
    let user = bank.get(&path).await.ok(200);
    assert_eq!(
        (&user["accounts"], &user["balance"]),
        (&json!(1), &json!(100))
    );
    bank.close().await;
}

#[tokio::test]
async fn money_comes_back_to_an_account_that_was_frozen_meanwhile() {
    let bank = two_accounts_within(Duration::from_millis(500)).await;
    bank.change("b", "freeze").await;
    bank.post("/transfers", transfer(100, "t")).await.ok(202);
    bank.refused_once("t").await;
    bank.change("a", "freeze").await;
    assert_eq!(bank.transferred("t").await["status"], "compensated");
    let account = bank.get("/accounts/a").await.ok(200);
    assert_eq!(
        (&account["status"], &account["balance"]),
        (&json!("frozen"), &json!(100))
    );
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_that_many_want_more_from_than_it_holds_is_never_overdrawn() {
    let bank = two_accounts().await;
    let requests = (0..40).map(|number| {
        let body = transfer(10, &format!("t{number}"));
        bank.post("/transfers", body)
    });
    let mut ends = Vec::new();
    for (number, answer) in join_all(requests).await.into_iter().enumerate() {
        match answer.status {
            202 => ends.push(bank.transferred(&format!("t{number}")).await),
            _ => drop(answer.problem(422, "insufficient-funds")),
        }
    }
    let completed = ends.iter().filter(|end| end["status"] == "completed");
    assert_eq!(completed.count(), 10);
    let others = ends.iter().filter(|end| end["status"] != "completed");
    for failed in others {
        assert_eq!(failed["status"], "failed");
        assert_eq!(
            failed["reason"],
            "debit: the account holds 0, which is less than 10"
        );
    }
    assert_eq!((bank.balance("a").await, bank.balance("b").await), (0, 100));
    bank.close().await;
}

impl Bank {
    /// Waits until a transfer was refused for the first time.
    async fn refused_once(&self, id: &str) {
        let transfer: TransferId = id.parse().unwrap();
        let mut head = self.app.store().head().await.unwrap();
        loop {
            let saga = self.app.saga::<Transfer>(&transfer).await.unwrap().unwrap();
            if saga
                .outstanding()
                .values()
                .any(|command| command.refusals > 0)
            {
                return;
            }
            head = self.app.store().wait_beyond(head).await.unwrap();
        }
    }
}
