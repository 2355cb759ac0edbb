//! Every kind of bad input is answered by a problem that names what is wrong, and changes nothing.

use serde_json::{Value, json};

use super::server::Bank;
use crate::client::Request;

/// A body, the status and kind of the problem with it, and the field that it names.
type Case = (&'static str, u16, &'static str, Option<&'static str>);

const BODIES_OF_ANY_POST: &[Case] = &[
    ("{", 400, "malformed-json", None),
    ("nonsense", 400, "malformed-json", None),
    ("[1,", 400, "malformed-json", None),
    ("{} {}", 400, "malformed-json", None),
    ("{} x", 400, "malformed-json", None),
    ("[]", 422, "invalid-field", None),
    ("[100]", 422, "invalid-field", None),
    ("null", 422, "invalid-field", None),
    ("5", 422, "invalid-field", None),
    ("\"amount\"", 422, "invalid-field", None),
    (r#"{"colour":"red"}"#, 422, "invalid-field", Some("colour")),
];

const DEPOSITS: &[Case] = &[
    ("", 400, "malformed-json", None),
    ("{}", 422, "invalid-field", Some("amount")),
    (r#"{"amount":null}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":0}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":-1}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":-0}"#, 422, "invalid-field", Some("amount")),
    (
        r#"{"amount":1000000000000001}"#,
        422,
        "invalid-field",
        Some("amount"),
    ),
    (
        r#"{"amount":9223372036854775807}"#,
        422,
        "invalid-field",
        Some("amount"),
    ),
    (
        r#"{"amount":9223372036854775808}"#,
        422,
        "invalid-field",
        Some("amount"),
    ),
    (
        r#"{"amount":18446744073709551616}"#,
        422,
        "invalid-field",
        Some("amount"),
    ),
    (
        r#"{"amount":-9223372036854775809}"#,
        422,
        "invalid-field",
        Some("amount"),
    ),
    (r#"{"amount":1.5}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":1.0}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":1e2}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":"100"}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":true}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":[1]}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":{}}"#, 422, "invalid-field", Some("amount")),
    (r#"{"amount":1e999}"#, 400, "malformed-json", None),
    (r#"{"amount":0100}"#, 400, "malformed-json", None),
    (r#"{"amount":NaN}"#, 400, "malformed-json", None),
    (r#"{"amount":1,"amount":2}"#, 422, "invalid-field", None),
    (
        r#"{"amount":1,"Amount":2}"#,
        422,
        "invalid-field",
        Some("Amount"),
    ),
    (
        r#"{"amount":1,"currency":"EUR"}"#,
        422,
        "invalid-field",
        Some("currency"),
    ),
];

const OPENINGS: &[Case] = &[
    ("", 400, "malformed-json", None),
    ("{}", 422, "invalid-field", Some("owner")),
    (r#"{"owner":""}"#, 422, "invalid-field", Some("owner")),
    (r#"{"owner":5}"#, 422, "invalid-field", Some("owner")),
    (
        r#"{"owner":["alice"]}"#,
        422,
        "invalid-field",
        Some("owner"),
    ),
    (
        r#"{"owner":"a\u0000b"}"#,
        422,
        "invalid-field",
        Some("owner"),
    ),
    (r#"{"owner":"a\nb"}"#, 422, "invalid-field", Some("owner")),
    (
        r#"{"owner":"a\u0085b"}"#,
        422,
        "invalid-field",
        Some("owner"),
    ),
    (r#"{"owner":"\ud800"}"#, 400, "malformed-json", None),
    (
        r#"{"owner":"alice","id":""}"#,
        422,
        "invalid-field",
        Some("id"),
    ),
    (
        r#"{"owner":"alice","id":7}"#,
        422,
        "invalid-field",
        Some("id"),
    ),
    (
        r#"{"owner":"alice","id":"a\u0000"}"#,
        422,
        "invalid-field",
        Some("id"),
    ),
    (
        r#"{"owner":"alice","id":"\u007f"}"#,
        422,
        "invalid-field",
        Some("id"),
    ),
    (
        r#"{"owner":"alice","currency":"eur"}"#,
        422,
        "invalid-field",
        Some("currency"),
    ),
    (
        r#"{"owner":"alice","currency":"EURO"}"#,
        422,
        "invalid-field",
        Some("currency"),
    ),
    (
        r#"{"owner":"alice","currency":""}"#,
        422,
        "invalid-field",
        Some("currency"),
    ),
    (
        r#"{"owner":"alice","currency":978}"#,
        422,
        "invalid-field",
        Some("currency"),
    ),
    (
        r#"{"owner":"alice","balance":5}"#,
        422,
        "invalid-field",
        Some("balance"),
    ),
];

async fn refuses(bank: &Bank, path: &str, cases: &[Case]) {
    for (body, status, kind, field) in cases {
        let answer = bank.send(Request::new("POST", path).json(body)).await;
        let problem = answer.problem(*status, kind);
        assert_eq!(
            problem.get("field").and_then(Value::as_str),
            *field,
            "{path} {body}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            field.is_none_or(|field| detail.contains(field)),
            "{path} {body} {detail}"
        );
    }
}

#[tokio::test]
async fn the_place_of_a_bad_field_stands_apart_from_what_is_wrong() {
    let bank = Bank::open().await;
    let request = Request::new("POST", "/accounts").json(r#"{"owner":"alice","currency":"eur"}"#);
    let answer = bank.send(request).await;
    assert_eq!(
        answer.problem(422, "invalid-field")["detail"],
        "`currency`: a currency is three capital letters, such as EUR (line 1, column 34)"
    );
    bank.close().await;
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    for path in [
        "/accounts",
        "/accounts/a/deposits",
        "/accounts/a/withdrawals",
        "/accounts/a/close",
    ] {
        refuses(&bank, path, BODIES_OF_ANY_POST).await;
    }
    refuses(&bank, "/accounts/a/deposits", DEPOSITS).await;
    refuses(&bank, "/accounts/a/withdrawals", DEPOSITS).await;
    refuses(&bank, "/accounts", OPENINGS).await;
    assert_eq!(bank.events().await, 1);
    bank.close().await;
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_refused() {
    let bank = Bank::open().await;
    let request = Request::new("POST", "/accounts").header("Content-Type", "application/json");
    let answer = bank.send(request.body(*b"{\"owner\":\"\xff\xfe\"}")).await;
    answer.problem(400, "malformed-json");
    bank.close().await;
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let bank = Bank::open().await;
    let deep = format!(r#"{{"owner":{}"#, "[".repeat(50_000));
    let answer = bank
        .send(Request::new("POST", "/accounts").json(deep))
        .await;
    assert!(matches!(answer.status, 400 | 422), "{answer:?}");
    bank.get("/healthz").await.ok(200);
    bank.close().await;
}

#[tokio::test]
async fn ids_have_1_to_255_bytes_and_may_hold_quotes() {
    let bank = Bank::open().await;
    let open =
        |owner: String, id: String| bank.post("/accounts", json!({ "owner": owner, "id": id }));
    open(
        "o'brien \"; drop table events;--".to_owned(),
        "'\"`;--".to_owned(),
    )
    .await
    .ok(201);
    open("o".repeat(249), "i".repeat(255)).await.ok(201);
    for (owner, id, field) in [
        (250, 1, "owner"),
        (300, 1, "owner"),
        (1, 256, "id"),
        (1, 300, "id"),
    ] {
        let answer = open("o".repeat(owner), "i".repeat(id)).await;
        assert_eq!(answer.problem(422, "invalid-field")["field"], field);
    }
    assert_eq!(bank.events().await, 2);
    bank.close().await;
}

#[tokio::test]
async fn bad_paths_are_refused() {
    let bank = Bank::open().await;
    let long = "i".repeat(256);
    let ids = [
        ("%00", 422, "invalid-field"),
        ("a%0Ab", 422, "invalid-field"),
        (long.as_str(), 422, "invalid-field"),
        ("%zz", 400, "invalid-path"),
        ("a%", 400, "invalid-path"),
        ("a%4", 400, "invalid-path"),
        ("%ff%fe", 400, "invalid-path"),
        ("%C3", 400, "invalid-path"),
    ];
    for (id, status, kind) in ids {
        for path in [
            format!("/accounts/{id}"),
            format!("/accounts/{id}/events"),
            format!("/users/{id}/balance"),
        ] {
            assert_eq!(
                bank.get(&path).await.problem(status, kind)["field"],
                "id",
                "{path}"
            );
        }
        for path in ["deposits", "withdrawals"] {
            let path = format!("/accounts/{id}/{path}");
            bank.post(&path, json!({ "amount": 1 }))
                .await
                .problem(status, kind);
        }
        let close = Request::new("POST", format!("/accounts/{id}/close"));
        bank.send(close).await.problem(status, kind);
    }
    let nameless = bank.get("/accounts//events").await;
    assert_eq!(nameless.problem(422, "invalid-field")["field"], "id");
    bank.close().await;
}

#[tokio::test]
async fn bad_queries_are_refused() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let queries = [
        ("/accounts/a?atleast=1", "atleast"),
        ("/accounts/a?limit=1", "limit"),
        ("/accounts/a?at_least=x", "at_least"),
        ("/accounts/a?at_least=", "at_least"),
        ("/accounts/a?at_least=-1", "at_least"),
        ("/accounts/a?at_least=%2B1", "at_least"),
        ("/accounts/a?at_least=1.0", "at_least"),
        ("/accounts/a?at_least=18446744073709551616", "at_least"),
        ("/accounts/a?at_least=1&at_least=1", "at_least"),
        ("/accounts/a/events?limit=0", "limit"),
        ("/accounts/a/events?limit=1001", "limit"),
        ("/accounts/a/events?after=x", "after"),
        ("/accounts/a/events?before=1", "before"),
        ("/users/alice/balance?after=1", "after"),
        ("/users/alice/balance?at_least=%00", "at_least"),
    ];
    for (path, field) in queries {
        let problem = bank.get(path).await.problem(400, "invalid-query");
        assert_eq!(problem["field"], field, "{path}");
    }
    bank.close().await;
}

#[tokio::test]
async fn a_malformed_if_match_is_refused() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let values = [
        "",
        "1",
        "\"",
        "\"\"",
        "\"x\"",
        "\"+1\"",
        "\"1",
        "W/\"1\"",
        "\"1\", \"2\"",
        "\"18446744073709551616\"",
    ];
    for value in values {
        let deposit = Request::new("POST", "/accounts/a/deposits").json(r#"{"amount":1}"#);
        let answer = bank.send(deposit.header("If-Match", value)).await;
        assert_eq!(
            answer.problem(400, "invalid-header")["field"],
            "If-Match",
            "{value}"
        );
    }
    assert_eq!(bank.events().await, 1);
    bank.close().await;
}

#[tokio::test]
async fn a_body_must_be_declared_as_json() {
    let bank = Bank::open().await;
    bank.account("alice", "a", 0).await;
    let types = [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
    ];
    for (path, body) in [
        ("/accounts", r#"{"owner":"bob"}"#),
        ("/accounts/a/deposits", r#"{"amount":1}"#),
        ("/accounts/a/withdrawals", r#"{"amount":1}"#),
        ("/accounts/a/close", "{}"),
    ] {
        for content_type in types {
            let mut request = Request::new("POST", path).body(body);
            if let Some(content_type) = content_type {
                request = request.header("Content-Type", content_type);
            }
            bank.send(request)
                .await
                .problem(415, "unsupported-media-type");
        }
    }
    let request = Request::new("POST", "/accounts/a/deposits").body(r#"{"amount":1}"#);
    bank.send(request.header("Content-Type", "Application/JSON; charset=utf-8"))
        .await
        .ok(201);
    bank.close().await;
}

#[tokio::test]
async fn a_body_of_more_than_64_kib_is_refused() {
    let bank = Bank::open().await;
    let body = |bytes: usize| format!("{{\"owner\":\"alice\"{}}}", " ".repeat(bytes - 17));
    let open = |bytes| bank.send(Request::new("POST", "/accounts").json(body(bytes)));
    open(64 * 1024 + 1).await.problem(413, "body-too-large");
    open(64 * 1024).await.ok(201);
    bank.close().await;
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let bank = Bank::open().await;
    for (method, path, allowed) in [
        ("GET", "/accounts", "POST"),
        ("DELETE", "/accounts/a", "GET,HEAD"),
        ("PUT", "/accounts/a/deposits", "POST"),
        ("POST", "/users/alice/balance", "GET,HEAD"),
        ("POST", "/healthz", "GET,HEAD"),
    ] {
        let answer = bank.send(Request::new(method, path)).await;
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    for path in [
        "/",
        "/account",
        "/accounts/",
        "/accounts/a/b",
        "/users/alice",
    ] {
        bank.get(path).await.problem(404, "not-found");
    }
    bank.close().await;
}
