//! Addresses that can't be listened on.

use std::net::TcpListener;

use crate::bank::Bank;

#[test]
fn a_port_in_use_is_named_before_the_store_is_touched() {
    let bank = Bank::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let message = bank.fails(&["serve", "--listen", &address], 1);
    for word in [address.as_str(), "in use", "--listen"] {
        assert!(message.contains(word), "{word:?} is missing: {message}");
    }
    assert!(!bank.store().exists());
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let bank = Bank::new();
    // Kept for documentation (RFC 5737), so nobody has it.
    let message = bank.fails(&["serve", "--listen", "192.0.2.1:8080"], 1);
    assert!(message.contains("192.0.2.1:8080"), "{message}");
    assert!(!bank.store().exists());
}

#[test]
fn what_is_no_address_is_wrong_usage() {
    let bank = Bank::new();
    for address in [
        "",
        "8080",
        "localhost",
        "localhost:8080",
        ":8080",
        "127.0.0.1",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "[::1",
    ] {
        let message = bank.fails(&["serve", "--listen", address], 2);
        assert!(message.contains("such as 127.0.0.1:8080"), "{message}");
    }
    assert!(!bank.store().exists());
}
