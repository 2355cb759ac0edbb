//! Files that are not what they should be, and places where none can be.

use std::fs;

use crate::bank::Bank;

/// A bank with an exported log, and a store to import it into.
fn exported() -> (Bank, String, String) {
    let bank = Bank::new();
    let from = bank.sqlite("from.db");
    bank.fill(&from);
    let log = bank.exported(&from);
    let to = bank.sqlite("to.db");
    (bank, to, log)
}

/// Asserts that a file is refused with these words, and that nothing of it comes in.
fn assert_refused(bank: &Bank, to: &str, log: &str, says: &str) {
    bank.write("bad.jsonl", log);
    let told = bank.fails(to, &["store", "import", "bad.jsonl"]);
    assert!(told.contains(says), "{told} says {says:?}");
    assert_eq!(bank.json(to, &["store", "stats"])["events"], 0);
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    let (bank, to, log) = exported();
    let lines: Vec<&str> = log.lines().collect();
    let whole = lines.len();
    let without_end = format!("{}\n", lines[..whole - 1].join("\n"));
    assert_refused(
        &bank,
        &to,
        &without_end,
        &format!("line {whole}: the file ends here"),
    );
    let within_a_line = &log[..log.len() / 2];
    assert_refused(&bank, &to, within_a_line, "it was cut off");
    let without_line_feed = log.trim_end();
    assert_refused(&bank, &to, without_line_feed, "it was cut off");
    bank.write("good.jsonl", &log);
    bank.json(&to, &["store", "import", "good.jsonl"]);
}

#[test]
fn a_file_that_was_altered_is_refused() {
    let (bank, to, log) = exported();
    let end = log.lines().count();
    let altered = log.replace("9000", "9001");
    assert_ne!(altered, log);
    assert_refused(
        &bank,
        &to,
        &altered,
        &format!("line {end}: the lines before it have"),
    );
    let mut lines: Vec<&str> = log.lines().collect();
    lines.remove(3);
    let without_an_event = format!("{}\n", lines.join("\n"));
    assert_refused(
        &bank,
        &to,
        &without_an_event,
        "line 4: position 3 should be here",
    );
    let mut lines: Vec<&str> = log.lines().collect();
    lines.remove(end - 2);
    let without_an_append = format!("{}\n", lines.join("\n"));
    assert_refused(
        &bank,
        &to,
        &without_an_append,
        "lines were added or taken away",
    );
    let longer = format!("{log}{log}");
    assert_refused(&bank, &to, &longer, "something follows the end");
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let (bank, to, log) = exported();
    for foreign in ["", "\n", "time,type\n", "{\"a\":1}\n", "\u{0}"] {
        assert_refused(&bank, &to, foreign, "line 1: it is no exported log");
    }
    let newer = log.replacen("\"format\":1", "\"format\":2", 1);
    assert_refused(&bank, &to, &newer, "run the release that wrote it");
    let odd = log.replacen("{\"event\":", "{\"fact\":", 1);
    assert_refused(
        &bank,
        &to,
        &odd,
        "line 2: it can't be read: unknown variant `fact`",
    );
}

#[test]
fn a_store_with_another_log_is_left_alone() {
    let (bank, to, log) = exported();
    bank.write("good.jsonl", &log);
    bank.fill(&to);
    let before = bank.exported(&to);
    let told = bank.fails(&to, &["store", "import", "good.jsonl"]);
    assert!(told.contains("another event at position 1;"), "{told}");
    assert_eq!(bank.exported(&to), before);
}

#[test]
fn a_store_that_has_gone_on_is_left_alone() {
    let (bank, to, log) = exported();
    bank.write("good.jsonl", &log);
    bank.json(&to, &["store", "import", "good.jsonl"]);
    bank.write(
        "more.csv",
        "time,type,account,owner,counterparty,amount\n2026-03-01T10:00:00Z,open,c,carol,,\n",
    );
    bank.json(&to, &["import", "more.csv"]);
    let told = bank.fails(&to, &["store", "import", "good.jsonl"]);
    assert!(
        told.contains("the store has 7 events, the file only 6"),
        "{told}"
    );
}

#[test]
fn a_file_that_is_there_is_not_overwritten_unless_forced() {
    let (bank, _, log) = exported();
    let from = bank.sqlite("from.db");
    bank.write("log.jsonl", "mine");
    let told = bank.fails(&from, &["store", "export", "log.jsonl"]);
    assert!(told.contains("--force overwrites it"), "{told}");
    assert_eq!(fs::read_to_string(bank.path("log.jsonl")).unwrap(), "mine");
    bank.json(&from, &["store", "export", "log.jsonl", "--force"]);
    assert_eq!(fs::read_to_string(bank.path("log.jsonl")).unwrap(), log);
}

#[test]
fn a_place_that_takes_no_file_is_told() {
    let (bank, _, _) = exported();
    let from = bank.sqlite("from.db");
    let cases = [
        ("nowhere/log.jsonl", "the directory does not exist"),
        (".", "is a directory"),
        ("/dev/full", "No space left on device"),
    ];
    for (file, says) in cases {
        let told = bank.fails(&from, &["store", "export", file]);
        assert!(told.contains(says), "{file}: {told}");
    }
    let told = bank.fails(&from, &["store", "import", "nowhere.jsonl"]);
    assert!(told.contains("No such file"), "{told}");
}
