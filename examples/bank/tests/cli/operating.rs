//! Projections and streams, as an operator meets them.

use annals::{Annals, Append, EventId, EventType, Expected, Metadata, NewEvent, StreamName};
use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bank::{Bank, ROWS, in_runtime, on_each_store, stderr};

on_each_store!(
    the_projection_is_listed_and_rebuilt,
    an_unknown_projection_is_answered_with_the_known_ones,
    a_paused_projection_is_resumed_and_not_retried,
    what_is_paused_or_running_already_is_said_to_be,
    streams_are_listed_page_by_page,
    the_tail_shows_one_object_per_line_and_can_be_narrowed,
    the_tail_says_when_a_type_has_never_been_recorded,
    a_stream_without_events_is_an_error,
    what_diverged_from_the_log_goes_on_when_the_log_is_back,
);

fn the_projection_is_listed_and_rebuilt(bank: &Bank) {
    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    let balances = bank.projection("user_balance");
    assert_eq!(
        (&balances["status"], &balances["lag"]),
        (&json!("running"), &json!(0))
    );

    let rebuilt = bank.ok(&["projection", "rebuild", "user_balance", "--verify"]);
    assert!(
        rebuilt.starts_with("rebuilt user_balance: 5 events into 2 rows in "),
        "{rebuilt}"
    );
    assert!(rebuilt.trim_end().ends_with("; 0 rows differ"), "{rebuilt}");
}

fn an_unknown_projection_is_answered_with_the_known_ones(bank: &Bank) {
    bank.ok(&["store", "migrate"]);
    for command in ["rebuild", "pause", "resume", "retry"] {
        let error = bank.fails(&["projection", command, "balances"]);
        let expected = "error: failed to find projection `balances`; there are: ";
        assert!(error.starts_with(expected), "{error}");
        assert!(error.contains("user_balance"), "{error}");
    }
}

fn a_paused_projection_is_resumed_and_not_retried(bank: &Bank) {
    bank.ok(&["store", "migrate"]);
    bank.ok(&["projection", "pause", "user_balance"]);
    assert_eq!(bank.projection("user_balance")["status"], "paused");
    let error = bank.fails(&["projection", "retry", "user_balance"]);
    assert!(error.contains("`projection resume`"), "{error}");
    bank.ok(&["projection", "resume", "user_balance"]);
    assert_eq!(bank.projection("user_balance")["status"], "running");
}

fn what_is_paused_or_running_already_is_said_to_be(bank: &Bank) {
    bank.ok(&["store", "migrate"]);
    for (command, first, again) in [
        ("pause", "paused", "already paused"),
        ("resume", "running again", "already running"),
    ] {
        for said in [first, again] {
            let answer = bank.ok(&["projection", command, "user_balance"]);
            let expected = format!("user_balance: {said} (at position ");
            assert!(answer.starts_with(&expected), "{answer}");
        }
    }
}

fn streams_are_listed_page_by_page(bank: &Bank) {
    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let mut args = vec!["stream", "list", "--json", "--limit", "1"];
        if !before.is_empty() {
            args.extend(["--before", &before]);
        }
        let page = bank.json(&args);
        let streams = page["streams"].as_array().unwrap();
        seen.extend(
            streams
                .iter()
                .map(|stream| stream["stream"].as_str().unwrap().to_owned()),
        );
        match page["before"].as_u64() {
            Some(position) => before = position.to_string(),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, ["account-a", "account-b"]);
}

fn the_tail_shows_one_object_per_line_and_can_be_narrowed(bank: &Bank) {
    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    let tail = |args: &[&str]| -> Vec<Value> {
        let text = bank.ok(&[&["stream", "tail", "--json"], args].concat());
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    assert_eq!(tail(&[]).len(), 5);
    assert_eq!(tail(&["--from", "4"]).len(), 2);
    let deposits = tail(&["--type", "account.deposited"]);
    let amounts: Vec<_> = deposits
        .iter()
        .map(|event| &event["payload"]["amount"])
        .collect();
    assert_eq!(amounts, [1000, 9000]);
}

fn the_tail_says_when_a_type_has_never_been_recorded(bank: &Bank) {
    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    for (event_type, said) in [("account.deposited", false), ("account.deposit", true)] {
        let output = bank.run(&["stream", "tail", "--type", event_type]);
        assert!(output.status.success());
        assert_eq!(stderr(&output).contains("no event of type"), said);
        assert_eq!(output.stdout.is_empty(), said);
    }
}

fn a_stream_without_events_is_an_error(bank: &Bank) {
    bank.ok(&["store", "migrate"]);
    let error = bank.fails(&["stream", "show", "account-nobody"]);
    assert!(
        error.contains("failed to find stream `account-nobody`"),
        "{error}"
    );
}

#[test]
fn a_stream_of_large_events_is_shown_to_its_end() {
    let bank = Bank::new();
    in_runtime(write_large_notes(&bank.url()));
    let shown = bank.ok(&["stream", "show", "note-1"]);
    assert_eq!(shown.lines().count(), 5);
}

/// More than the 32 MiB that a store reads in one page.
async fn write_large_notes(url: &str) {
    let app = Annals::open(url).await.unwrap().connect().await.unwrap();
    let stream = StreamName::parse("note-1").unwrap();
    for _ in 0..5 {
        let id = EventId::new(Uuid::new_v4());
        let event = NewEvent {
            id,
            event_type: EventType::new("note.written").unwrap(),
            schema_version: 1,
            payload: serde_json::to_vec(&"x".repeat(8_000_000)).unwrap(),
            tags: Vec::new(),
            metadata: Metadata::caused_by(id.into(), id.uuid().into()),
        };
        let append = Append::to(stream.clone(), Expected::Any, vec![event], Utc::now());
        app.store().append(append).await.unwrap();
    }
    app.shutdown().await;
}

fn what_diverged_from_the_log_goes_on_when_the_log_is_back(bank: &Bank) {
    bank.ok(&["store", "migrate"]);
    bank.sql("UPDATE annals_projections SET state = 'diverged'");
    // A saga's runner has no table that could be rebuilt.
    for name in ["user_balance", "saga:transfer"] {
        let error = bank.fails(&["projection", "resume", name]);
        assert!(error.contains("`projection retry`"), "{error}");
        bank.ok(&["projection", "retry", name]);
        assert_eq!(bank.projection(name)["status"], "running");
    }
}
