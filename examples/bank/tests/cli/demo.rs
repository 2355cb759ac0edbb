//! `bank demo`.

use std::process::Command;

use crate::bank::{Bank, ROWS, stderr};

#[test]
fn help_of_the_demo_names_its_own_store() {
    let help = Bank::new().ok(&["demo", "--help"]);
    assert!(help.contains("`demo-bank.db`"), "{help}");
    assert!(help.contains("sqlite://demo-bank.db"), "{help}");
}

/// What a demo tells, however fast the machine is.
const STORY: [&str; 5] = [
    "An overdraft is rejected",
    "30 arrived, ",
    "nothing in flight",
    "ok     money is conserved",
    "0 rows differ",
];

fn tells(story: &str, parts: &[&str]) {
    for part in parts {
        assert!(story.contains(part), "{part} is missing:\n{story}");
    }
}

/// Twenty each, as it is told.
fn came_back_for_three_reasons(bank: &Bank, store: &str) {
    let list = ["saga", "list", "--state", "compensated", "--limit", "1000"];
    let listed = bank.json(&[&list[..], &["--json", "--store", store]].concat());
    let reasons = listed.as_array().unwrap().iter();
    let reasons: Vec<_> = reasons.filter_map(|row| row["reason"].as_str()).collect();
    for told in [
        "credit: the account is closed",
        "credit: there is no such account",
        "not done within 1s",
    ] {
        let times = reasons.iter().filter(|reason| reason.starts_with(told));
        assert_eq!(times.count(), 20, "{told}: {reasons:?}");
    }
}

#[test]
fn the_demo_tells_its_story_on_postgresql() {
    let bank = Bank::on_postgres();
    let url = bank.url();
    let small = [
        "demo",
        "--transactions",
        "300",
        "--accounts",
        "20",
        "--transfers",
        "30",
        "--store",
        &url,
    ];
    let story = bank.ok(&small);
    tells(&story, &STORY);
    assert!(!story.contains("sqlite3"), "{story}");
    came_back_for_three_reasons(&bank, &url);
}

#[test]
fn the_demo_tells_its_story_twice_and_leaves_other_stores_alone() {
    let bank = Bank::new();
    let small = [
        "demo",
        "--transactions",
        "300",
        "--accounts",
        "20",
        "--transfers",
        "30",
    ];
    let story = bank.ok(&small);
    tells(&story, &STORY);
    let more = [
        "30 arrived, 60 came back",
        "compensated (not done within 1s",
        "the account is frozen",
        "sqlite3",
    ];
    tells(&story, &more);
    came_back_for_three_reasons(&bank, "sqlite://demo-bank.db");
    assert!(bank.ok(&small).contains("holds an earlier demo"));

    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    let error = bank.fails(&[&small[..], &["--store", "sqlite://bank.db"]].concat());
    assert!(error.contains("holds other data already"), "{error}");
}

#[test]
fn what_the_demo_says_to_try_next_can_be_pasted() {
    let bank = Bank::new();
    let store = "sqlite://my demo's.db";
    let small = [
        "demo",
        "--transactions",
        "10",
        "--accounts",
        "1",
        "--transfers",
        "1",
    ];
    let story = bank.ok(&[&small[..], &["--store", store]].concat());
    let (_, next) = story.split_once("What to try next:\n").unwrap();
    let tried = next
        .lines()
        .filter(|line| {
            [" projection ", " stream show ", " saga "]
                .iter()
                .any(|command| line.contains(command))
        })
        .map(|line| {
            let pasted = Command::new("sh")
                .args(["-c", line])
                .current_dir(bank.path())
                .output()
                .unwrap();
            assert!(pasted.status.success(), "{line}: {}", stderr(&pasted));
        });
    assert_eq!(tried.count(), 5, "{next}");
}

#[test]
fn a_demo_in_memory_proposes_nothing_that_is_gone() {
    let small = [
        "demo",
        "--transactions",
        "10",
        "--accounts",
        "1",
        "--transfers",
        "1",
    ];
    let story = Bank::new().ok(&[&small[..], &["--store", "memory:"]].concat());
    assert!(story.contains("`memory:` is gone"), "{story}");
    assert!(!story.contains("sqlite3"), "{story}");
}
