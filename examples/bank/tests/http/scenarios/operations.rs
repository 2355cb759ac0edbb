//! Health, the API's description, failures and the end.

use std::time::Duration;

use annals::ProjectionState;
use bank::http::{Kind, Limits, endpoints};
use serde_json::{Value, json};

use super::server::Bank;
use crate::client::{Connection, Request};

#[tokio::test]
async fn a_running_server_is_alive_and_ready() {
    let bank = Bank::open().await;
    assert_eq!(
        bank.get("/healthz").await.ok(200),
        json!({ "status": "alive" })
    );
    bank.account("alice", "a", 5).await;
    let ready = bank.get("/readyz").await.ok(200);
    assert_eq!(ready, json!({ "status": "ready", "position": 2 }));
    bank.close().await;
}

#[tokio::test]
async fn a_paused_projection_makes_the_server_unready() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 5).await;
    bank.caught_up().await;
    let set = |state| {
        bank.app
            .store()
            .set_state("user_balance", state, chrono::Utc::now())
    };
    set(ProjectionState::Paused).await.unwrap();
    bank.account("bob", "b", 5).await;
    let answer = bank.get("/readyz").await;
    let reasons = answer.problem(503, "not-ready")["reasons"].clone();
    assert!(
        reasons[0].as_str().unwrap().contains("user_balance"),
        "{reasons}"
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    bank.get("/healthz").await.ok(200);

    set(ProjectionState::Running).await.unwrap();
    bank.caught_up().await;
    bank.get("/readyz").await.ok(200);
    bank.close().await;
}

#[tokio::test]
async fn a_store_that_is_gone_is_a_problem_that_passes() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 5).await;
    bank.app.shutdown().await;
    let answers = [
        bank.get("/accounts/a").await,
        bank.get("/accounts/a/events").await,
        bank.get("/users/alice/balance").await,
        bank.post("/accounts", json!({ "owner": "alice" })).await,
        bank.post("/accounts/a/deposits", json!({ "amount": 1 }))
            .await,
    ];
    for answer in answers {
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    bank.get("/readyz").await.problem(503, "not-ready");
    bank.get("/healthz").await.ok(200);
    bank.close().await;
}

#[tokio::test]
async fn the_description_has_every_endpoint_and_no_other() {
    let bank = Bank::open().await;
    let description = bank.get("/openapi.json").await.ok(200);
    assert_eq!(description["openapi"], "3.1.0");
    let mut described = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        let methods = item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters");
        described.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    let mut served: Vec<_> = endpoints()
        .map(|(method, path)| (method.to_string(), path.to_owned()))
        .collect();
    described.sort();
    served.sort();
    assert_eq!(described, served);
    bank.close().await;
}

#[tokio::test]
async fn the_description_knows_every_kind_of_problem() {
    let bank = Bank::open().await;
    let description = bank.get("/openapi.json").await.ok(200);
    let described = &description["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    let kinds = Kind::ALL
        .iter()
        .map(|kind| json!(kind.uri()))
        .collect::<Vec<_>>();
    assert_eq!(described, &json!(kinds));
    bank.close().await;
}

#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    fn check(value: &Value, whole: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let target = reference.strip_prefix('#').unwrap();
                    assert!(whole.pointer(target).is_some(), "{reference}");
                }
                members.values().for_each(|value| check(value, whole));
            }
            Value::Array(values) => values.iter().for_each(|value| check(value, whole)),
            _ => {}
        }
    }
    let bank = Bank::open().await;
    let description = bank.get("/openapi.json").await.ok(200);
    check(&description, &description);
    bank.close().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    let bank = Bank::open().await;
    let request = Request::new("POST", "/accounts").json(r#"{"owner":"alice"}"#);
    let mut connection = Connection::to(bank.address).await;
    connection.begin(&request).await;
    let stopping = bank.stop();
    connection.finish(&request).await.ok(201);
    stopping.ended().await;
}

#[tokio::test]
async fn a_client_that_never_finishes_does_not_hold_up_the_end() {
    let limits = Limits {
        drain_within: Duration::from_millis(50),
        ..Limits::default()
    };
    let bank = Bank::open_with(limits).await;
    let request = Request::new("POST", "/accounts").json(r#"{"owner":"alice"}"#);
    let mut connection = Connection::to(bank.address).await;
    connection.begin(&request).await;
    let stopping = bank.stop();
    stopping.ended().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let limits = Limits {
        body_within: Duration::from_millis(50),
        ..Limits::default()
    };
    let bank = Bank::open_with(limits).await;
    let request = Request::new("POST", "/accounts").json(r#"{"owner":"alice"}"#);
    let mut connection = Connection::to(bank.address).await;
    connection.begin(&request).await;
    connection
        .finish(&request.clone().body(""))
        .await
        .problem(408, "request-timeout");
    bank.close().await;
}
