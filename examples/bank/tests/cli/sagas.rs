//! `bank saga`: transfers, as an operator meets them.

use serde_json::json;

use crate::bank::{Bank, on_each_store, stderr};

on_each_store!(
    transfers_are_listed_by_how_they_stand,
    a_long_list_is_shown_page_by_page,
    a_transfers_timeline_tells_what_happened_and_why,
    a_transfer_that_has_ended_is_neither_retried_nor_abandoned,
    an_unknown_transfer_is_an_error,
);

/// Imports one transfer that arrives and one that comes back, and answers their ids.
fn two_transfers(bank: &Bank) -> (String, String) {
    let rows = [
        "open,a,alice,,",
        "deposit,a,,,100",
        "open,b,bob,,",
        "transfer,a,,b,1",
        "transfer,a,,nobody,1",
    ];
    let rows = rows.map(|row| format!("2026-03-01T09:00:00Z,{row}"));
    bank.file("march.csv", &rows.each_ref().map(String::as_str));
    bank.ok(&["import", "march.csv"]);
    let id = |state: &str| {
        let list = bank.json(&["saga", "list", "--state", state, "--json"]);
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), 1, "{state}: {list:?}");
        list[0]["id"].as_str().unwrap().to_owned()
    };
    (id("completed"), id("compensated"))
}

fn transfers_are_listed_by_how_they_stand(bank: &Bank) {
    two_transfers(bank);
    let all = bank.json(&["saga", "list", "--json"]);
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(
        bank.json(&["saga", "list", "--state", "stuck", "--json"]),
        json!([])
    );
    assert_eq!(
        bank.run(&["saga", "list", "--state", "lost"]).status.code(),
        Some(2)
    );
}

fn a_long_list_is_shown_page_by_page(bank: &Bank) {
    let (completed, compensated) = two_transfers(bank);
    let mut ids = [completed, compensated];
    ids.sort();
    let [first, second] = ids;
    let page = bank.run(&["saga", "list", "--limit", "1"]);
    let shown = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(
        shown.contains(&first) && !shown.contains(&second),
        "{shown}"
    );
    let hint = format!("there are more; go on with --after 'transfer:{first}'\n");
    assert_eq!(stderr(&page), hint);

    let after = format!("transfer:{first}");
    let page = bank.run(&["saga", "list", "--limit", "1", "--after", &after]);
    let shown = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(
        shown.contains(&second) && !shown.contains(&first),
        "{shown}"
    );
    assert_eq!(stderr(&page), "");

    let (limit, after) = (["--limit", "0"], ["--after", "nonsense"]);
    for wrong in [limit, after] {
        let output = bank.run(&[&["saga", "list"], &wrong[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

fn a_transfers_timeline_tells_what_happened_and_why(bank: &Bank) {
    let (completed, compensated) = two_transfers(bank);
    let shown = bank.ok(&["saga", "show", &completed]);
    for said in ["completed", "debit", "credit", "account-a", "account-b"] {
        assert!(shown.contains(said), "{said} is missing:\n{shown}");
    }
    let shown = bank.ok(&["saga", "show", &compensated]);
    for said in ["compensated", "there is no such account", "undo:debit"] {
        assert!(shown.contains(said), "{said} is missing:\n{shown}");
    }
}

fn a_transfer_that_has_ended_is_neither_retried_nor_abandoned(bank: &Bank) {
    let (completed, _) = two_transfers(bank);
    let error = bank.fails(&["saga", "retry", &completed]);
    assert!(error.contains("completed"), "{error}");
    let error = bank.fails(&["saga", "abandon", &completed, "--reason", "why not"]);
    assert!(error.contains("completed"), "{error}");
    let output = bank.run(&["saga", "abandon", &completed]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

fn an_unknown_transfer_is_an_error(bank: &Bank) {
    bank.ok(&["store", "migrate"]);
    for command in ["show", "retry"] {
        let error = bank.fails(&["saga", command, "nobody"]);
        assert!(error.contains("nobody"), "{error}");
    }
}
