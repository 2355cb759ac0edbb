//! The bank's binary, as an operator meets it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

mod bank;
mod demo;
mod importing;
mod operating;
mod sagas;
mod server;
mod stuck;
mod transfers;
mod usage;
