//! What holds of the HTTP API on whatever store.

mod accounts;
mod bad_requests;
mod currency;
mod frozen;
mod idempotency;
mod late_keys;
mod operations;
mod server;
mod stalled;
mod transfers;
mod users;
