//! `bank import`.

use std::fs;

use bank::{domain::UserBalance, opening::Opening};
use serde_json::{Value, json};

use crate::bank::{Bank, ROWS, in_runtime, on_each_store, stderr};

on_each_store!(
    importing_a_file_twice_applies_it_once,
    an_extended_file_applies_its_new_rows_only,
    a_malformed_row_stops_the_import_after_the_rows_before_it,
    the_time_of_a_row_is_kept_with_its_event,
    an_import_opens_no_account_in_another_currency,
);

#[test]
fn a_missing_import_file_makes_no_store() {
    let bank = Bank::new();
    let error = bank.fails(&["import", "nowhere.csv"]);
    assert!(
        error.contains("failed to read the transaction file `nowhere.csv`"),
        "{error}"
    );
    assert!(!bank.path().join("bank.db").exists());
}

fn importing_a_file_twice_applies_it_once(bank: &Bank) {
    bank.file("march.csv", &ROWS);
    let mut first = bank.json(&["import", "march.csv", "--json"]);
    assert!(first["seconds"].take().is_number());
    let rejected = json!({ "insufficient_funds": 1 });
    assert_eq!(
        first,
        json!({ "rows": 6, "applied": 5, "applied_before": 0, "rejected": rejected, "seconds": null })
    );

    // The account could pay the rejected withdrawal now, but the row was rejected for good.
    let mut second = bank.json(&["import", "march.csv", "--json"]);
    second["seconds"].take();
    assert_eq!(
        second,
        json!({ "rows": 6, "applied": 0, "applied_before": 5, "rejected": rejected, "seconds": null })
    );
    assert_eq!(bank.json(&["store", "verify", "--json"])["events"], 5);
}

fn an_extended_file_applies_its_new_rows_only(bank: &Bank) {
    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    let new = ["2026-03-02T09:00:00Z,deposit,a,,,1"; 2];
    bank.file("march.csv", &[&ROWS[..], &new].concat());
    let extended = bank.json(&["import", "march.csv", "--json"]);
    assert_eq!(
        (&extended["applied"], &extended["rows"]),
        (&json!(2), &json!(8))
    );
}

fn a_malformed_row_stops_the_import_after_the_rows_before_it(bank: &Bank) {
    let bad = "2026-03-01T09:07:00Z,deposit,a,,,12.50";
    bank.file("bad.csv", &[ROWS[0], ROWS[1], bad, ROWS[3]]);
    let output = bank.run(&["import", "bad.csv", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(
        error.contains("error: failed to import bad.csv:4:34: `amount` must be"),
        "{error}"
    );
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["applied"], 2);

    // Mended, the file goes on from there.
    bank.file("bad.csv", &[ROWS[0], ROWS[1], ROWS[3]]);
    assert_eq!(bank.json(&["import", "bad.csv", "--json"])["applied"], 1);
}

#[test]
fn another_header_is_refused_at_its_place() {
    let bank = Bank::new();
    fs::write(bank.path().join("f.csv"), "time,type,account\n").unwrap();
    let error = bank.fails(&["import", "f.csv"]);
    assert!(
        error.contains("f.csv:1:18: the header should be `time,type"),
        "{error}"
    );
}

fn the_time_of_a_row_is_kept_with_its_event(bank: &Bank) {
    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    let events = bank.json(&["stream", "show", "account-a", "--json"]);
    let kept: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            (
                event["type"].clone(),
                event["metadata"]["extra"]["booked_at"].clone(),
            )
        })
        .collect();
    assert_eq!(
        kept,
        [
            (json!("account.opened"), json!("2026-03-01T09:00:00Z")),
            (json!("account.deposited"), json!("2026-03-01T09:01:00Z")),
            (json!("account.deposited"), json!("2026-03-01T09:03:00Z")),
        ]
    );
}

/// Opens an account in dollars for alice, as the API would.
fn open_in_dollars(bank: &Bank) {
    let opening = Opening {
        id: "dollars".parse().unwrap(),
        owner: "alice".parse().unwrap(),
        currency: "USD".parse().unwrap(),
        command_id: None,
        fingerprint: Vec::new(),
        trace: None,
    };
    in_runtime(async {
        let builder = annals::Annals::open(&bank.url()).await.unwrap();
        let app = builder.projection::<UserBalance>().start().await.unwrap();
        opening.execute(&app).await.unwrap();
        app.shutdown().await;
    });
}

fn an_import_opens_no_account_in_another_currency(bank: &Bank) {
    open_in_dollars(bank);
    bank.file("march.csv", &ROWS);
    // Neither now nor again.
    for applied in [("applied", "applied_before"), ("applied_before", "applied")] {
        let summary = bank.json(&["import", "march.csv", "--json"]);
        assert_eq!(summary["rejected"]["other_currency"], 1, "{summary}");
        assert_eq!(
            (&summary[applied.0], &summary[applied.1]),
            (&json!(2), &json!(0)),
            "{summary}"
        );
    }
}

#[test]
fn an_import_opens_all_accounts_of_one_user() {
    let bank = Bank::new();
    let rows: Vec<_> = (0..300)
        .map(|number| format!("2026-03-01T09:00:00Z,open,account-{number},alice,,"))
        .collect();
    let rows: Vec<_> = rows.iter().map(String::as_str).collect();
    bank.file("accounts.csv", &rows);
    let summary = bank.json(&["import", "accounts.csv", "--json"]);
    assert_eq!(
        (&summary["applied"], &summary["rejected"]),
        (&json!(300), &json!({}))
    );
}
