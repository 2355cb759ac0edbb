//! Servers that are killed, cut off, replaced or restored while applications run on them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod accounts;
#[cfg(feature = "tls")]
mod encryption;
mod failover;
mod full_disk;
mod held_lock;
mod kills;
mod ledger;
mod lost_answers;
mod lost_swaps;
mod network;
mod outages;
mod read_only;
mod refusals;
mod rights;
mod stalled_writers;
mod standby;
