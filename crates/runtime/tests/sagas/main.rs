//! Sagas on the memory store: what they do, and what becomes of what goes wrong.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)] // a test fails by panicking

mod accounts;
mod bank;
mod deadlines;
mod failures;
mod names;
mod operators;
mod processes;
mod redeploy;
mod releases;
mod settled;
mod slow;
mod start;
mod targets;
mod transfers;
mod trouble;
mod unsteady;
