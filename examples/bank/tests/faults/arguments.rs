//! Command lines that make no sense.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use crate::bank::{Bank, refusal};

/// Wrong usage ends with 2 and says how it is meant.
const USAGE: i32 = 2;

#[test]
fn unknown_commands_and_options_are_wrong_usage() {
    let bank = Bank::with_store();
    for args in [
        &["steal"][..],
        &["projections"],
        &["--verbose"],
        &["serve", "--port", "80"],
        &["serve", "extra"],
        &["import"],
        &["import", ""],
        &["import", "a.csv", "b.csv"],
        &["demo", "--transactions", "-1"],
        &["demo", "--transactions", "many"],
        &["demo", "--accounts", "0"],
        &["demo", "--accounts", "18446744073709551616"],
        &["projection"],
        &["projection", "rebuild"],
        &["projection", "rebuild", "user_balance", "--fast"],
        &["stream", "show"],
        &["stream", "list", "--limit", "x"],
        &["stream", "list", "--before", "-1"],
        &["stream", "tail", "--from", "x"],
        &["stream", "tail", "--from", "18446744073709551616"],
        &["store", "verify", "bank.db"],
        &["store", "drop"],
    ] {
        let message = bank.fails(args, USAGE);
        assert!(message.contains("--help"), "{args:?}: {message}");
    }
}

#[test]
fn names_that_can_be_no_stream_or_type_are_wrong_usage() {
    let bank = Bank::with_store();
    let long = format!("account-{}", "x".repeat(300));
    for name in ["", "no dash", "-", "account-", "a\nb-c", long.as_str()] {
        bank.fails(&["stream", "show", "--", name], USAGE);
    }
    let long = "x".repeat(300);
    for name in ["", "a\nb", long.as_str()] {
        bank.fails(&["stream", "tail", "--type", name], USAGE);
    }
}

#[test]
fn names_of_nothing_are_answered_with_what_there_is() {
    let bank = Bank::with_store();
    let long = "x".repeat(300);
    for name in [
        "",
        "balances",
        "'; DROP TABLE events; --",
        "a\"b",
        long.as_str(),
    ] {
        for doing in ["rebuild", "pause", "resume", "retry"] {
            let message = bank.fails(&["projection", doing, "--", name], 1);
            assert!(
                message.contains("there are: ") && message.contains("user_balance"),
                "{message}"
            );
        }
    }
    for stream in [
        "account-nobody",
        "account-'; DROP TABLE events; --",
        "account-\"`",
    ] {
        let message = bank.fails(&["stream", "show", stream], 1);
        assert!(
            message.contains(stream) && message.contains("`stream list`"),
            "{message}"
        );
    }
    bank.succeeds(&["store", "verify"]);
}

#[test]
fn arguments_that_are_no_text_are_wrong_usage() {
    let bank = Bank::with_store();
    let no_text = OsStr::from_bytes(b"account-\xff\xfe");
    refusal(bank.command(&["stream", "show"]).arg(no_text), USAGE);
    refusal(bank.command(&["projection", "pause"]).arg(no_text), USAGE);
    refusal(
        bank.command(&["projection", "list", "--store"])
            .arg(no_text),
        USAGE,
    );
    refusal(bank.command(&["serve", "--listen"]).arg(no_text), USAGE);
    // A file may be called so.
    refusal(bank.command(&["import"]).arg(no_text), 1);
}

#[test]
fn files_that_can_not_be_imported_make_no_store() {
    let bank = Bank::new();
    std::fs::create_dir(bank.path().join("directory")).unwrap();
    bank.write("binary.csv", [0xff, 0xfe, 0x00, 0x01]);
    bank.write("empty.csv", "");
    bank.write("endless.csv", "x".repeat(10_000_000));
    let long = format!("{}.csv", "x".repeat(300));
    for (file, word) in [
        ("nowhere.csv", "nowhere.csv"),
        ("rows.csv/rows.csv", "rows.csv/rows.csv"),
        ("directory", "directory"),
        ("binary.csv", "binary.csv:1:1"),
        ("empty.csv", "empty.csv:1:1"),
        ("endless.csv", "endless.csv:1:"),
        (long.as_str(), "xxx"),
    ] {
        let message = bank.fails(&["import", file], 1);
        assert!(message.contains(word), "{file}: {message}");
        assert!(!bank.store().exists(), "{file}");
    }
}
