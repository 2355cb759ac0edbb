//! The life of an account.

use serde_json::json;

use super::server::Bank;
use crate::client::Request;

#[tokio::test]
async fn an_opened_account_is_where_its_location_says() {
    let bank = Bank::open().await;
    let opened = bank
        .post("/accounts", json!({ "owner": "alice", "id": "a 1/ü'\"" }))
        .await;
    let view = json!({
        "id": "a 1/ü'\"", "owner": "alice", "currency": "EUR",
        "balance": 0, "status": "open", "version": 1,
    });
    assert_eq!(opened.ok(201), view);
    assert_eq!(opened.header("etag"), Some("\"1\""));
    assert_eq!(opened.header("log-position"), Some("1"));
    let location = opened.header("location").unwrap();
    assert_eq!(location, "/accounts/a%201%2F%C3%BC%27%22");
    let shown = bank.get(location).await;
    assert_eq!(shown.ok(200), view);
    assert_eq!(shown.header("etag"), Some("\"1\""));
    bank.close().await;
}

#[tokio::test]
async fn the_server_makes_up_an_id_and_takes_a_currency() {
    let bank = Bank::open().await;
    let one = bank
        .post("/accounts", json!({ "owner": "alice", "currency": "USD" }))
        .await
        .ok(201);
    let two = bank
        .post("/accounts", json!({ "owner": "alice", "currency": "USD" }))
        .await
        .ok(201);
    assert_ne!(one["id"], two["id"]);
    assert_eq!(one["currency"], "USD");
    let id = one["id"].as_str().unwrap();
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
    bank.get(&format!("/accounts/{id}")).await.ok(200);
    bank.close().await;
}

#[tokio::test]
async fn an_id_is_taken_once() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let again = bank
        .post("/accounts", json!({ "owner": "bob", "id": "a" }))
        .await;
    again.problem(409, "account-exists");
    assert_eq!(bank.events().await, 1);
    bank.close().await;
}

#[tokio::test]
async fn money_goes_in_and_out() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let deposited = bank
        .post("/accounts/a/deposits", json!({ "amount": 500 }))
        .await;
    let view = json!({ "account": "a", "version": 2, "position": 2, "balance": 500 });
    assert_eq!(deposited.ok(201), view);
    assert_eq!(deposited.header("etag"), Some("\"2\""));
    let withdrawn = bank
        .post("/accounts/a/withdrawals", json!({ "amount": 200 }))
        .await;
    let view = json!({ "account": "a", "version": 3, "position": 3, "balance": 300 });
    assert_eq!(withdrawn.ok(201), view);
    bank.close().await;
}

#[tokio::test]
async fn the_smallest_and_the_largest_amount_are_taken() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 1).await;
    let largest = json!({ "amount": 1_000_000_000_000_000_i64 });
    let deposited = bank.post("/accounts/a/deposits", largest).await.ok(201);
    assert_eq!(deposited["balance"], 1_000_000_000_000_001_i64);
    bank.close().await;
}

#[tokio::test]
async fn an_overdraft_is_refused_and_changes_nothing() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 500).await;
    let refused = bank
        .post("/accounts/a/withdrawals", json!({ "amount": 501 }))
        .await;
    let problem = refused.problem(422, "insufficient-funds");
    assert_eq!(
        (&problem["balance"], &problem["amount"]),
        (&json!(500), &json!(501))
    );
    assert_eq!(bank.get("/accounts/a").await.ok(200)["balance"], 500);
    bank.close().await;
}

#[tokio::test]
async fn an_account_is_closed_once_and_only_when_it_is_empty() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 5).await;
    let close = || Request::new("POST", "/accounts/a/close");
    let problem = bank.send(close()).await.problem(422, "account-not-empty");
    assert_eq!(problem["balance"], 5);
    bank.post("/accounts/a/withdrawals", json!({ "amount": 5 }))
        .await
        .ok(201);

    let closed = bank.send(close().json("{}")).await;
    assert_eq!(
        (closed.status, closed.body.as_slice()),
        (204, b"".as_slice())
    );
    assert_eq!(closed.header("etag"), Some("\"4\""));
    assert_eq!(bank.get("/accounts/a").await.ok(200)["status"], "closed");
    bank.send(close()).await.problem(422, "account-closed");
    for path in ["/accounts/a/deposits", "/accounts/a/withdrawals"] {
        bank.post(path, json!({ "amount": 1 }))
            .await
            .problem(422, "account-closed");
    }
    bank.close().await;
}

#[tokio::test]
async fn an_account_that_nobody_opened_is_not_found() {
    let bank = Bank::open().await;
    for path in ["/accounts/nobody", "/accounts/nobody/events"] {
        bank.get(path).await.problem(404, "account-not-found");
    }
    for path in ["/accounts/nobody/deposits", "/accounts/nobody/withdrawals"] {
        bank.post(path, json!({ "amount": 1 }))
            .await
            .problem(404, "account-not-found");
    }
    let close = Request::new("POST", "/accounts/nobody/close");
    bank.send(close.clone())
        .await
        .problem(404, "account-not-found");
    // A precondition does not hide it.
    bank.send(close.header("If-Match", "\"3\""))
        .await
        .problem(404, "account-not-found");
    assert_eq!(bank.events().await, 0);
    bank.close().await;
}

#[tokio::test]
async fn a_command_that_expects_another_version_is_refused() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 500).await;
    let withdraw = |version: &str| {
        let request = Request::new("POST", "/accounts/a/withdrawals").json(r#"{"amount":1}"#);
        request.header("If-Match", version)
    };
    for version in ["\"1\"", "\"3\"", "\"0\""] {
        let problem = bank
            .send(withdraw(version))
            .await
            .problem(412, "version-mismatch");
        assert_eq!(problem["version"], 2);
    }
    let etag = bank
        .get("/accounts/a")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    assert_eq!(bank.send(withdraw(&etag)).await.ok(201)["version"], 3);
    assert_eq!(bank.send(withdraw("*")).await.ok(201)["version"], 4);
    bank.send(withdraw(&etag))
        .await
        .problem(412, "version-mismatch");

    let open = Request::new("POST", "/accounts").json(r#"{"owner":"bob"}"#);
    bank.send(open.header("If-Match", "*"))
        .await
        .problem(412, "version-mismatch");
    assert_eq!(bank.events().await, 4);
    bank.close().await;
}

#[tokio::test]
async fn of_commands_that_expect_the_same_version_one_is_carried_out() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 500).await;
    let deposit = Request::new("POST", "/accounts/a/deposits").json(r#"{"amount":1}"#);
    let racers = (0..8).map(|_| bank.send(deposit.clone().header("If-Match", "\"2\"")));
    let answers = futures_util::future::join_all(racers).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((won.len(), lost.len()), (1, 7));
    lost.iter()
        .for_each(|answer| drop(answer.problem(412, "version-mismatch")));
    bank.close().await;
}

#[tokio::test]
async fn the_history_comes_in_pages() {
    let bank = Bank::open().await;
    bank.account("bob", "b", 1).await;
    bank.account("alice", "a", 10).await;
    for _ in 0..3 {
        bank.post("/accounts/a/withdrawals", json!({ "amount": 1 }))
            .await
            .ok(201);
    }
    let first = bank.get("/accounts/a/events?limit=2").await.ok(200);
    let events = first["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["type"], "account.opened");
    assert_eq!(
        events[0]["data"],
        json!({ "owner": "alice", "currency": "EUR" })
    );
    assert_eq!(events[1]["type"], "account.deposited");
    assert_eq!(
        (&events[1]["version"], &events[1]["position"]),
        (&json!(2), &json!(4))
    );
    assert_eq!(events[1]["data"], json!({ "owner": "alice", "amount": 10 }));
    assert!(
        events[1]["time"]
            .as_str()
            .unwrap()
            .parse::<chrono::DateTime<chrono::Utc>>()
            .is_ok()
    );
    assert_eq!(first["next"], 2);

    let second = bank.get("/accounts/a/events?after=2&limit=3").await.ok(200);
    let versions = second["events"].as_array().unwrap().iter();
    assert_eq!(
        versions
            .map(|event| event["version"].clone())
            .collect::<Vec<_>>(),
        [3, 4, 5]
    );
    assert!(second["next"].is_null());
    let beyond = bank
        .get("/accounts/a/events?after=5&limit=1000")
        .await
        .ok(200);
    assert_eq!(beyond, json!({ "events": [], "next": null }));
    bank.close().await;
}

#[tokio::test]
async fn events_keep_the_trace_they_belong_to() {
    let bank = Bank::open().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let open = Request::new("POST", "/accounts").json(r#"{"owner":"alice","id":"a"}"#);
    let traced = open
        .header("traceparent", parent)
        .header("tracestate", "x=1");
    bank.send(traced).await.ok(201);
    let deposit = Request::new("POST", "/accounts/a/deposits").json(r#"{"amount":1}"#);
    bank.send(deposit.header("traceparent", "nonsense"))
        .await
        .ok(201);

    let page = bank
        .app
        .store()
        .read_log(annals::LogRead::after(annals::Position::START, 9));
    let events = page.await.unwrap().events;
    let trace = events[0].metadata.trace.clone().unwrap();
    assert_eq!(
        (trace.traceparent.as_str(), trace.tracestate.as_deref()),
        (parent, Some("x=1"))
    );
    assert_eq!(events[1].metadata.trace, None);
    bank.close().await;
}
