//! The bank's binary, as an operator meets it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use bank::{domain::UserBalance, opening::Opening};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory of its own, to run the bank in.
struct Bank {
    directory: TempDir,
}

impl Bank {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bank"))
            .args(args)
            .current_dir(self.path())
            .env_remove("ANNALS_STORE")
            .env_remove("RUST_LOG")
            .output()
            .unwrap()
    }

    /// Runs a command that succeeds, and answers its standard output.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Runs a command that fails, and answers its standard error.
    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{args:?}: {}",
            stderr(&output)
        );
        stderr(&output)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str, rows: &[&str]) {
        let header = "time,type,account,owner,counterparty,amount";
        let text = format!("{header}\n{}\n", rows.join("\n"));
        fs::write(self.path().join(name), text).unwrap();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const ROWS: [&str; 7] = [
    "2026-03-01T09:00:00Z,open,a,alice,,",
    "2026-03-01T09:01:00Z,deposit,a,,,1000",
    "2026-03-01T09:02:00Z,withdraw,a,,,5000",
    "2026-03-01T09:03:00Z,deposit,a,,,9000",
    "2026-03-01T09:04:00Z,open,b,bob,,",
    "2026-03-01T09:05:00Z,transfer,a,,b,10",
    "2026-03-01T09:06:00Z,close,b,,,",
];

#[test]
fn help_shows_every_command_with_examples() {
    let help = Bank::new().ok(&["--help"]);
    for command in [
        "demo",
        "serve",
        "import",
        "projection",
        "stream",
        "store",
        "Examples:",
    ] {
        assert!(help.contains(command), "{command} is missing:\n{help}");
    }
}

#[test]
fn help_of_the_demo_names_its_own_store() {
    let help = Bank::new().ok(&["demo", "--help"]);
    assert!(help.contains("`demo-bank.db`"), "{help}");
    assert!(help.contains("sqlite://demo-bank.db"), "{help}");
}

#[test]
fn wrong_usage_ends_with_2() {
    let bank = Bank::new();
    for args in [
        &["steal"][..],
        &["projection", "rebuild"],
        &["stream", "show", "no dash"],
        &["stream", "show", "account-a", "--limit", "0"],
    ] {
        assert_eq!(bank.run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn an_unknown_store_url_is_refused() {
    let error = Bank::new().fails(&["--store", "mysql://me:secret@host/db", "store", "stats"]);
    assert!(
        error.starts_with("error: failed to open the store"),
        "{error}"
    );
    assert!(
        error.contains("sqlite://PATH") && !error.contains("secret"),
        "{error}"
    );
}

#[test]
fn looking_at_a_missing_store_does_not_make_one() {
    let bank = Bank::new();
    let error = bank.fails(&["projection", "list"]);
    assert!(
        error.contains("`bank.db`: there is no such file"),
        "{error}"
    );
    assert!(!bank.path().join("bank.db").exists());
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let bank = Bank::new();
    let text = "this is no database ".repeat(100);
    fs::write(bank.path().join("bank.db"), &text).unwrap();
    let error = bank.fails(&["store", "verify"]);
    assert!(
        error.starts_with("error: failed to open the store"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(bank.path().join("bank.db")).unwrap(),
        text
    );
}

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

#[test]
fn importing_a_file_twice_applies_it_once() {
    let bank = Bank::new();
    bank.file("march.csv", &ROWS);
    let mut first = bank.json(&["import", "march.csv", "--json"]);
    assert!(first["seconds"].take().is_number());
    let rejected = json!({ "insufficient_funds": 1, "transfers_not_supported": 1 });
    assert_eq!(
        first,
        json!({ "rows": 7, "applied": 5, "applied_before": 0, "rejected": rejected, "seconds": null })
    );

    // The account could pay the rejected withdrawal now, but the row was rejected for good.
    let mut second = bank.json(&["import", "march.csv", "--json"]);
    second["seconds"].take();
    assert_eq!(
        second,
        json!({ "rows": 7, "applied": 0, "applied_before": 5, "rejected": rejected, "seconds": null })
    );
    assert_eq!(bank.json(&["store", "verify", "--json"])["events"], 5);
}

#[test]
fn an_extended_file_applies_its_new_rows_only() {
    let bank = Bank::new();
    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    let new = ["2026-03-02T09:00:00Z,deposit,a,,,1"; 2];
    bank.file("march.csv", &[&ROWS[..], &new].concat());
    let extended = bank.json(&["import", "march.csv", "--json"]);
    assert_eq!(
        (&extended["applied"], &extended["rows"]),
        (&json!(2), &json!(9))
    );
}

#[test]
fn a_malformed_row_stops_the_import_after_the_rows_before_it() {
    let bank = Bank::new();
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

#[test]
fn the_time_of_a_row_is_kept_with_its_event() {
    let bank = Bank::new();
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

#[test]
fn the_projection_is_listed_and_rebuilt() {
    let bank = Bank::new();
    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    let list = bank.json(&["projection", "list", "--json"]);
    assert_eq!(list[0]["name"], "user_balance");
    assert_eq!(
        (&list[0]["status"], &list[0]["lag"]),
        (&json!("running"), &json!(0))
    );

    let rebuilt = bank.ok(&["projection", "rebuild", "user_balance", "--verify"]);
    assert!(
        rebuilt.starts_with("rebuilt user_balance: 5 events into 2 rows in "),
        "{rebuilt}"
    );
    assert!(rebuilt.trim_end().ends_with("; 0 rows differ"), "{rebuilt}");
}

#[test]
fn an_unknown_projection_is_answered_with_the_known_ones() {
    let bank = Bank::new();
    bank.ok(&["store", "migrate"]);
    for command in ["rebuild", "pause", "resume", "retry"] {
        let error = bank.fails(&["projection", command, "balances"]);
        let expected = "error: failed to find projection `balances`; there are: user_balance";
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_paused_projection_is_resumed_and_not_retried() {
    let bank = Bank::new();
    bank.ok(&["store", "migrate"]);
    bank.ok(&["projection", "pause", "user_balance"]);
    assert_eq!(
        bank.json(&["projection", "list", "--json"])[0]["status"],
        "paused"
    );
    let error = bank.fails(&["projection", "retry", "user_balance"]);
    assert!(error.contains("`projection resume`"), "{error}");
    bank.ok(&["projection", "resume", "user_balance"]);
    assert_eq!(
        bank.json(&["projection", "list", "--json"])[0]["status"],
        "running"
    );
}

#[test]
fn streams_are_listed_page_by_page() {
    let bank = Bank::new();
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

#[test]
fn the_tail_shows_one_object_per_line_and_can_be_narrowed() {
    let bank = Bank::new();
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

#[test]
fn a_stream_without_events_is_an_error() {
    let bank = Bank::new();
    bank.ok(&["store", "migrate"]);
    let error = bank.fails(&["stream", "show", "account-nobody"]);
    assert!(
        error.contains("failed to find stream `account-nobody`"),
        "{error}"
    );
}

#[test]
fn the_demo_tells_its_story_twice_and_leaves_other_stores_alone() {
    let bank = Bank::new();
    let small = ["demo", "--transactions", "300", "--accounts", "20"];
    let story = bank.ok(&small);
    for said in [
        "An overdraft is rejected",
        "ok     money is conserved",
        "0 rows differ",
        "sqlite3",
    ] {
        assert!(story.contains(said), "{said} is missing:\n{story}");
    }
    assert!(bank.ok(&small).contains("holds an earlier demo"));

    bank.file("march.csv", &ROWS);
    bank.ok(&["import", "march.csv"]);
    let error = bank.fails(&[&small[..], &["--store", "sqlite://bank.db"]].concat());
    assert!(error.contains("holds other data already"), "{error}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = Bank::new().fails(&["serve", "--listen", &address]);
    assert!(
        error.contains(&format!("failed to listen on {address}")),
        "{error}"
    );
}

#[test]
fn what_the_demo_says_to_try_next_can_be_pasted() {
    let bank = Bank::new();
    let store = "sqlite://my demo's.db";
    let small = ["demo", "--transactions", "10", "--accounts", "1"];
    let story = bank.ok(&[&small[..], &["--store", store]].concat());
    let (_, next) = story.split_once("What to try next:\n").unwrap();
    let tried = next
        .lines()
        .filter(|line| line.contains("projection") || line.contains("stream show"))
        .map(|line| {
            let pasted = Command::new("sh")
                .args(["-c", line])
                .current_dir(bank.path())
                .output()
                .unwrap();
            assert!(pasted.status.success(), "{line}: {}", stderr(&pasted));
        });
    assert_eq!(tried.count(), 3, "{next}");
}

/// Opens an account in dollars for alice, as the API would.
fn open_in_dollars(bank: &Bank) {
    let url = format!("sqlite://{}", bank.path().join("bank.db").display());
    let opening = Opening {
        id: "dollars".parse().unwrap(),
        owner: "alice".parse().unwrap(),
        currency: "USD".parse().unwrap(),
        command_id: None,
        fingerprint: Vec::new(),
        trace: None,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let builder = annals::Annals::open(&url).await.unwrap();
        let app = builder.projection::<UserBalance>().start().await.unwrap();
        opening.execute(&app).await.unwrap();
        app.shutdown().await;
    });
}

#[test]
fn an_import_opens_no_account_in_another_currency() {
    let bank = Bank::new();
    open_in_dollars(&bank);
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

#[test]
fn a_demo_in_memory_proposes_nothing_that_is_gone() {
    let small = ["demo", "--transactions", "10", "--accounts", "1"];
    let story = Bank::new().ok(&[&small[..], &["--store", "memory:"]].concat());
    assert!(story.contains("`memory:` is gone"), "{story}");
    assert!(!story.contains("sqlite3"), "{story}");
}

#[test]
fn a_store_whose_path_has_spaces_is_found() {
    let bank = Bank::new();
    for url in ["sqlite://my%20bank.db", "sqlite://my bank.db"] {
        bank.ok(&["store", "migrate", "--store", url]);
        bank.ok(&["store", "stats", "--store", url]);
    }
    assert!(bank.path().join("my bank.db").exists());
}
