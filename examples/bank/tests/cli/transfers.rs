//! Transfers in a file to import.

use serde_json::{Value, json};

use crate::bank::{Bank, on_each_store};

on_each_store!(
    later_rows_of_both_accounts_wait_for_a_transfer,
    transfers_that_come_to_nothing_are_counted_by_reason_now_and_again,
    two_equal_rows_are_two_transfers,
    transfers_between_many_accounts_do_not_stand_in_each_others_way,
);

const T: &str = "2026-03-01T09:00:00Z";

/// Alice's account `a` with 100, bob's `b`, and carol's `closed`.
fn opening() -> Vec<String> {
    [
        "open,a,alice,,",
        "deposit,a,,,100",
        "open,b,bob,,",
        "open,closed,carol,,",
        "close,closed,,,",
    ]
    .map(|row| format!("{T},{row}"))
    .to_vec()
}

/// Imports those and these rows, and answers the summary.
fn import(bank: &Bank, rows: &[&str]) -> Value {
    let rows = rows.iter().map(|row| format!("{T},{row}"));
    let rows: Vec<_> = opening().into_iter().chain(rows).collect();
    let rows: Vec<_> = rows.iter().map(String::as_str).collect();
    bank.file("march.csv", &rows);
    bank.json(&["import", "march.csv", "--json"])
}

/// The types of an account's events, and by how much each was.
fn history(bank: &Bank, account: &str) -> Vec<(String, Value)> {
    let stream = format!("account-{account}");
    let events = bank.json(&["stream", "show", &stream, "--json"]);
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| {
            let kind = event["type"].as_str().unwrap();
            let kind = kind.strip_prefix("account.").unwrap().to_owned();
            (kind, event["payload"]["amount"].clone())
        })
        .collect()
}

fn later_rows_of_both_accounts_wait_for_a_transfer(bank: &Bank) {
    // Each row but the first needs what the one before it has brought.
    let rows = [
        "transfer,a,,b,100",
        "withdraw,b,,,30",
        "transfer,b,,a,70",
        "withdraw,a,,,70",
        "close,a,,,",
        "close,b,,,",
    ];
    let summary = import(bank, &rows);
    assert_eq!(
        (&summary["applied"], &summary["rejected"]),
        (&json!(11), &json!({})),
        "{summary}"
    );
    let kinds: Vec<_> = history(bank, "a")
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    let expected = [
        "opened",
        "deposited",
        "transfer_sent",
        "transfer_received",
        "withdrawn",
        "closed",
    ];
    assert_eq!(kinds, expected);
}

fn transfers_that_come_to_nothing_are_counted_by_reason_now_and_again(bank: &Bank) {
    let rows = [
        "transfer,a,,a,1",
        "transfer,a,,b,101",
        "transfer,nobody,,b,1",
        "transfer,closed,,b,1",
        "transfer,a,,nobody,1",
        "transfer,a,,closed,1",
        "transfer,a,,closed,1",
        "transfer,a,,b,100",
    ];
    let rejected = json!({
        "to_itself": 1,
        "insufficient_funds": 1,
        "not_found": 1,
        "closed": 1,
        "counterparty_not_found": 1,
        "counterparty_closed": 2,
    });
    for (applied, applied_before) in [(6, 0), (0, 6)] {
        let summary = import(bank, &rows);
        assert_eq!(summary["rejected"], rejected);
        assert_eq!(
            (&summary["applied"], &summary["applied_before"]),
            (&json!(applied), &json!(applied_before))
        );
    }
    let verified = bank.json(&["store", "verify", "--json"]);
    assert_eq!(verified["notes"]["money is conserved"], "nothing in flight");
}

fn two_equal_rows_are_two_transfers(bank: &Bank) {
    let summary = import(bank, &["transfer,a,,b,5", "transfer,a,,b,5"]);
    assert_eq!(summary["applied"], 7);
    let received = history(bank, "b").into_iter().skip(1);
    let expected = ("transfer_received".to_owned(), json!(5));
    assert_eq!(received.collect::<Vec<_>>(), [expected.clone(), expected]);
}

fn transfers_between_many_accounts_do_not_stand_in_each_others_way(bank: &Bank) {
    let accounts = 30;
    let open = (0..accounts).flat_map(|n| {
        [
            format!("{T},open,x{n},user{n},,"),
            format!("{T},deposit,x{n},,,10"),
        ]
    });
    // A ring that every account's whole money goes around twice.
    let ring = (0..2 * accounts).map(|n| {
        let (from, to) = (n % accounts, (n + 1) % accounts);
        format!("{T},transfer,x{from},,x{to},10")
    });
    let rows: Vec<_> = open.chain(ring).collect();
    let rows: Vec<_> = rows.iter().map(String::as_str).collect();
    bank.file("ring.csv", &rows);
    let summary = bank.json(&["import", "ring.csv", "--json"]);
    assert_eq!(
        (&summary["applied"], &summary["rejected"]),
        (&json!(4 * accounts), &json!({})),
    );
}

#[test]
fn a_bad_deadline_is_wrong_usage() {
    for seconds in ["0", "-1", "soon", "99999999999"] {
        let args = ["serve", "--transfer-deadline", seconds];
        assert_eq!(Bank::new().run(&args).status.code(), Some(2), "{seconds}");
    }
}
