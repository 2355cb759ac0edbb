//! The HTTP API end to end: a server on a real socket, over a real SQLite file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod accounts;
mod bad_requests;
mod client;
mod currency;
mod frozen;
mod idempotency;
mod late_keys;
mod operations;
mod server;
mod stalled;
mod transfers;
mod users;
