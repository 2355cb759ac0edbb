//! `POST /accounts/{id}/freeze` and `/unfreeze`.

use serde_json::json;

use super::server::Bank;
use crate::client::Request;

#[tokio::test]
async fn a_frozen_account_neither_gives_nor_takes() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 5).await;
    let frozen = bank.send(Request::new("POST", "/accounts/a/freeze")).await;
    assert_eq!((frozen.status, frozen.body.len()), (204, 0));
    assert_eq!(frozen.header("etag"), Some("\"3\""));
    assert_eq!(frozen.header("log-position"), Some("3"));
    let account = bank.get("/accounts/a").await.ok(200);
    assert_eq!(
        (&account["status"], &account["version"]),
        (&json!("frozen"), &json!(3))
    );

    for path in ["/accounts/a/deposits", "/accounts/a/withdrawals"] {
        let refused = bank.post(path, json!({ "amount": 1 })).await;
        refused.problem(422, "account-frozen");
    }
    let close = bank.send(Request::new("POST", "/accounts/a/close")).await;
    close.problem(422, "account-frozen");
    assert_eq!(bank.events().await, 3);
    bank.close().await;
}

#[tokio::test]
async fn an_unfrozen_account_gives_and_takes_again() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 5).await;
    // The second of each has nothing to do, and stays at the version.
    for (command, version) in [
        ("freeze", 3),
        ("freeze", 3),
        ("unfreeze", 4),
        ("unfreeze", 4),
    ] {
        let path = format!("/accounts/a/{command}");
        let answer = bank.send(Request::new("POST", &path)).await;
        assert_eq!(answer.status, 204, "{command}");
        assert_eq!(
            answer.header("etag"),
            Some(format!("\"{version}\"").as_str())
        );
    }
    let deposit = bank
        .post("/accounts/a/deposits", json!({ "amount": 1 }))
        .await;
    assert_eq!(deposit.ok(201)["balance"], 6);
    bank.close().await;
}

#[tokio::test]
async fn only_an_account_in_use_is_frozen_and_only_at_its_version() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let freeze = |id: &str| Request::new("POST", format!("/accounts/{id}/freeze"));
    bank.send(freeze("nobody"))
        .await
        .problem(404, "account-not-found");
    let stale = freeze("a").header("If-Match", "\"7\"");
    bank.send(stale).await.problem(412, "version-mismatch");
    bank.send(Request::new("POST", "/accounts/a/close")).await;
    bank.send(freeze("a")).await.problem(422, "account-closed");
    let body = freeze("a").json(json!({ "why": "fraud" }));
    bank.send(body).await.problem(422, "invalid-field");
    assert_eq!(bank.events().await, 2);
    bank.close().await;
}
