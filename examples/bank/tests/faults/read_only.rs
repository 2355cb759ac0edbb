//! Stores that can't be written.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::{
    bank::{Bank, COMMANDS, MIGRATE, refusal},
    disk::Disk,
};

#[test]
fn a_read_only_file_is_refused() {
    let bank = Bank::with_store();
    fs::set_permissions(bank.store(), fs::Permissions::from_mode(0o444)).unwrap();
    for args in COMMANDS.iter().chain([&MIGRATE]) {
        let message = bank.fails(args, 1);
        for word in ["bank.db", "read-only", "what to do"] {
            assert!(message.contains(word), "{word:?} is missing: {message}");
        }
    }
}

#[test]
fn a_store_on_a_read_only_disk_is_refused() {
    let bank = Bank::with_store();
    let mut disk = Disk::new();
    disk.turns_read_only();
    for args in COMMANDS.iter().chain([&MIGRATE]) {
        let mut command = bank.command(args);
        disk.holds(bank.path(), &mut command);
        let message = refusal(&mut command, 1);
        for word in ["bank.db", "what to do"] {
            assert!(message.contains(word), "{word:?} is missing: {message}");
        }
    }
    bank.succeeds(&["store", "verify"]);
}

#[test]
fn no_store_is_made_on_a_read_only_disk() {
    let bank = Bank::new();
    let mut disk = Disk::new();
    disk.turns_read_only();
    for args in COMMANDS[..3].iter().chain([&MIGRATE]) {
        let mut command = bank.command(args);
        disk.holds(bank.path(), &mut command);
        let message = refusal(&mut command, 1);
        assert!(message.contains("bank.db"), "{message}");
    }
    assert!(!bank.store().exists());
}
