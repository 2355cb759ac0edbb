//! What users have, from the read model.

use std::time::Duration;

use annals::ProjectionState;
use bank::http::Limits;
use serde_json::json;

use super::server::Bank;

#[tokio::test]
async fn a_balance_is_the_sum_over_all_open_accounts() {
    let bank = Bank::open().await;
    bank.account("alice", "a-1", 500).await;
    bank.account("alice", "a-2", 70).await;
    bank.account("bob", "b", 1).await;
    let position = bank
        .post("/accounts/a-1/withdrawals", json!({ "amount": 100 }))
        .await
        .ok(201)["position"]
        .clone();
    let shown = bank
        .get(&format!("/users/alice/balance?at_least={position}"))
        .await
        .ok(200);
    let expected = json!({ "owner": "alice", "balance": 470, "accounts": 2, "position": position });
    assert_eq!(shown, expected);
    bank.close().await;
}

#[tokio::test]
async fn every_write_can_be_read_back_at_once() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    for round in 1..=50 {
        let written = bank
            .post("/accounts/a/deposits", json!({ "amount": 1 }))
            .await;
        let position = written.header("log-position").unwrap();
        for path in ["/users/alice/balance", "/accounts/a"] {
            let shown = bank
                .get(&format!("{path}?at_least={position}"))
                .await
                .ok(200);
            assert_eq!(shown["balance"], round);
        }
    }
    bank.close().await;
}

#[tokio::test]
async fn a_position_that_does_not_come_is_not_waited_for_for_ever() {
    let limits = Limits {
        caught_up_within: Duration::from_millis(50),
        ..Limits::default()
    };
    let bank = Bank::open_with(limits).await;
    bank.account("alice", "a", 0).await;
    let paths = ["/users/alice/balance", "/accounts/a", "/accounts/a/events"];
    for path in paths {
        for position in ["2", "18446744073709551615"] {
            let answer = bank.get(&format!("{path}?at_least={position}")).await;
            answer.problem(503, "behind");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        let at_once = bank.get(&format!("{path}?at_least=0")).await;
        assert_ne!(at_once.status, 503, "{path}");
    }
    bank.close().await;
}

#[tokio::test]
async fn a_paused_read_model_says_so_instead_of_answering_too_little() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 5).await;
    bank.caught_up().await;
    let store = bank.app.store();
    store
        .set_state("user_balance", ProjectionState::Paused, chrono::Utc::now())
        .await
        .unwrap();
    let position = bank
        .post("/accounts/a/deposits", json!({ "amount": 1 }))
        .await
        .ok(201);
    let path = format!("/users/alice/balance?at_least={}", position["position"]);
    let answer = bank.get(&path).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(bank.get("/users/alice/balance").await.ok(200)["balance"], 5);
    bank.close().await;
}

#[tokio::test]
async fn a_user_without_accounts_is_not_found() {
    let bank = Bank::open().await;
    bank.get("/users/nobody/balance")
        .await
        .problem(404, "user-not-found");
    bank.close().await;
}
