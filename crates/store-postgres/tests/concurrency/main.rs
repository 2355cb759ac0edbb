//! Appends that race, and appends whose callers go away.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod cancellation;
mod races;
mod sessions;
mod steps;
