//! A disk without space: under a server, an import and a rebuild.

use serde_json::json;

use crate::{
    bank::{Bank, COMMANDS, MIGRATE, refusal},
    disk::Disk,
    server::Server,
};

const SERVE: &[&str] = COMMANDS[0];

#[test]
fn a_server_on_a_full_disk_says_so_and_goes_on_when_there_is_space() {
    let bank = Bank::with_store();
    let mut disk = Disk::new();
    let mut command = bank.command(SERVE);
    disk.holds(bank.path(), &mut command);
    let server = Server::start(&mut command);
    assert_eq!(server.deposit("before").0, 201);

    let mut acknowledged = 1;
    for (number, bytes) in [0, 1, 500, 4_096, 5_000, 20_000].into_iter().enumerate() {
        disk.has_left(bytes);
        let mut refused = None;
        for deposit in 0..20 {
            match server.deposit(&format!("{number}-{deposit}")) {
                (201, _) => acknowledged += 1,
                other => {
                    refused = Some((deposit, other));
                    break;
                }
            }
        }
        let (deposit, (status, problem)) = refused.expect("the disk is full at some time");
        println!("with {bytes} bytes left: {status} {problem}");
        assert_eq!(status, 503, "{problem}");
        assert_eq!(problem["type"], "/problems/unavailable");
        // What is there can be read.
        assert_eq!(server.get("/healthz").0, 200);
        let (status, account) = server.get("/accounts/a");
        assert_eq!(
            (status, &account["balance"]),
            (200, &json!(1_000 + 100 * acknowledged))
        );
        assert_eq!(server.get("/users/alice/balance").0, 200);

        disk.heals();
        // What was refused can be repeated, and counts once.
        for _ in 0..2 {
            assert_eq!(server.deposit(&format!("{number}-{deposit}")).0, 201);
        }
        acknowledged += 1;
    }
    let (_, account) = server.get("/accounts/a");
    let position = account["version"].as_u64().unwrap();
    let (_, balance) = server.get(&format!("/users/alice/balance?at_least={position}"));
    let expected = 1_000 + 100 * acknowledged;
    assert_eq!(
        (&account["balance"], &balance["balance"]),
        (&json!(expected), &json!(expected))
    );
    assert_eq!(server.get("/readyz").0, 200);
    server.stop();
    bank.succeeds(&["store", "verify"]);
}

#[test]
fn a_disk_that_turns_read_only_is_a_problem_and_balances_stay_readable() {
    let bank = Bank::with_store();
    let mut disk = Disk::new();
    let mut command = bank.command(SERVE);
    disk.holds(bank.path(), &mut command);
    let server = Server::start(&mut command);
    disk.turns_read_only();
    let (status, problem) = server.deposit("refused");
    println!("read-only: {status} {problem}");
    assert!(matches!(status, 500 | 503), "{problem}");
    assert_eq!(server.get("/accounts/a").1["balance"], 1_000);
    assert_eq!(server.get("/users/alice/balance").0, 200);
    disk.heals();
    assert_eq!(server.deposit("refused").0, 201);
    server.stop();
    bank.succeeds(&["store", "verify"]);
}

#[test]
fn commands_that_must_write_fail_on_a_full_disk_and_lose_nothing() {
    let bank = Bank::with_store();
    let rows: String = (0..200)
        .map(|_| "2026-03-01T09:02:00Z,deposit,a,,,1\n")
        .collect();
    let header = "time,type,account,owner,counterparty,amount\n";
    bank.write("more.csv", format!("{header}{rows}"));
    let mut disk = Disk::new();
    for args in [
        &["import", "more.csv"][..],
        &["projection", "rebuild", "user_balance"],
        &["projection", "pause", "user_balance"],
    ] {
        // Space for opening the store, and for little more.
        disk.has_left(40_000);
        let mut command = bank.command(args);
        disk.holds(bank.path(), &mut command);
        disk.has_left(0);
        let message = refusal(&mut command, 1);
        assert!(
            message.contains("full") && message.contains("what to do"),
            "{message}"
        );
    }
    disk.heals();
    bank.succeeds(&["import", "more.csv"]);
    let verified = bank.succeeds(&["store", "verify", "--json"]);
    let verified: serde_json::Value = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified["events"], 202);
}

#[test]
fn no_store_is_made_on_a_full_disk() {
    let bank = Bank::new();
    let mut disk = Disk::new();
    for args in COMMANDS[..3].iter().chain([&MIGRATE]) {
        disk.has_left(0);
        let mut command = bank.command(args);
        disk.holds(bank.path(), &mut command);
        let message = refusal(&mut command, 1);
        for word in ["bank.db", "full", "what to do"] {
            assert!(message.contains(word), "{word:?} is missing: {message}");
        }
    }
    // The next one with some space finds nothing in its way.
    disk.heals();
    bank.succeeds(&["import", "rows.csv"]);
}
