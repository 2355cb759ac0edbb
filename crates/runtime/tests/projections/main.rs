//! Projections and rebuilds on the memory store: each event counts once, whatever happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bank;
mod failures;
mod leases;
mod live;
mod rebuild;
mod unknown;
mod unsteady;
