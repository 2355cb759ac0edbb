//! The HTTP API end to end: a server on a real socket, over a real SQLite file.

mod accounts;
mod bad_requests;
mod client;
mod currency;
mod idempotency;
mod operations;
mod server;
mod users;
