//! A user keeps accounts in one currency only, however fast the requests come.

use annals::ProjectionState;
use serde_json::json;

use super::server::Bank;

#[tokio::test]
async fn another_currency_is_refused() {
    let bank = Bank::open().await;
    bank.post("/accounts", json!({ "owner": "alice", "currency": "USD" }))
        .await
        .ok(201);
    let refused = bank
        .post("/accounts", json!({ "owner": "alice", "currency": "EUR" }))
        .await;
    let problem = refused.problem(422, "other-currency");
    assert_eq!(
        (&problem["field"], &problem["currency"]),
        (&json!("currency"), &json!("USD"))
    );
    bank.post("/accounts", json!({ "owner": "bob", "currency": "EUR" }))
        .await
        .ok(201);
    bank.close().await;
}

/// The read model is kept from showing the first account, as a slow one would for a moment: that
/// the second one is not opened is due to the append's condition alone.
#[tokio::test]
async fn an_account_that_the_read_model_does_not_show_yet_counts() {
    let bank = Bank::open().await;
    let store = bank.app.store();
    store
        .set_state("user_balance", ProjectionState::Paused, chrono::Utc::now())
        .await
        .unwrap();
    bank.post("/accounts", json!({ "owner": "alice", "currency": "USD" }))
        .await
        .ok(201);
    let second = bank
        .post("/accounts", json!({ "owner": "alice", "currency": "EUR" }))
        .await;
    second.problem(503, "unavailable");
    assert_eq!(bank.events().await, 1);

    store
        .set_state("user_balance", ProjectionState::Running, chrono::Utc::now())
        .await
        .unwrap();
    let second = bank
        .post("/accounts", json!({ "owner": "alice", "currency": "EUR" }))
        .await;
    second.problem(422, "other-currency");
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_currencies_at_once_exactly_one_wins() {
    let bank = Bank::open().await;
    for round in 0..25 {
        let owner = format!("user-{round}");
        let open = |currency: &str| {
            bank.post("/accounts", json!({ "owner": owner, "currency": currency }))
        };
        let (one, two) = tokio::join!(open("EUR"), open("USD"));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422], "{one:?} {two:?}");
    }
    assert_eq!(bank.events().await, 25);
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_accounts_in_one_currency_at_once_all_win() {
    let bank = Bank::open().await;
    let open = || bank.post("/accounts", json!({ "owner": "alice" }));
    for answer in futures_util::future::join_all((0..8).map(|_| open())).await {
        answer.ok(201);
    }
    let head = bank.caught_up().await;
    let path = format!("/users/alice/balance?at_least={head}");
    assert_eq!(bank.get(&path).await.ok(200)["accounts"], 8);
    bank.close().await;
}
