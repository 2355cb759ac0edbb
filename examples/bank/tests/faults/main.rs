//! Everything that can be wrong with what the bank is given: files, disks, addresses, arguments.
//!
//! Each fault is an error that says what was being done, to what, why it failed and what to do,
//! and changes nothing. The messages are printed, for people to judge.

// A shim is loaded with LD_PRELOAD and reads /proc.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod addresses;
mod arguments;
mod bank;
mod disk;
mod full_disk;
mod read_only;
mod server;
#[path = "../../../../crates/store-sqlite/tests/crash/shim.rs"]
mod shim;
mod stores;
