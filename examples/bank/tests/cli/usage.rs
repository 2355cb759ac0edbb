//! What the binary says of itself, and stores and addresses that it can not use.

use std::fs;

use annals_testing::postgres::TestSchema;

use crate::bank::Bank;

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

#[tokio::test]
async fn looking_at_a_missing_schema_does_not_make_one() {
    let schema = TestSchema::create().await;
    let bank = Bank::on(schema.url());
    for _ in 0..2 {
        let error = bank.fails(&["store", "stats"]);
        let missing = format!("schema `{}` holds no store", schema.name());
        assert!(error.contains(&missing), "{error}");
        assert!(error.contains("check the path or URL"), "{error}");
    }
    bank.ok(&["store", "migrate"]);
    bank.ok(&["store", "stats"]);
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
fn a_store_whose_path_has_spaces_is_found() {
    let bank = Bank::new();
    for url in ["sqlite://my%20bank.db", "sqlite://my bank.db"] {
        bank.ok(&["store", "migrate", "--store", url]);
        bank.ok(&["store", "stats", "--store", url]);
    }
    assert!(bank.path().join("my bank.db").exists());
}
