//! Whole scenarios through the facade, on every store.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)] // a test fails by panicking

mod commands;
mod lamp;
#[cfg(feature = "sqlite")]
mod restored_log;
#[cfg(feature = "sqlite")]
mod sql_projections;
#[cfg(feature = "postgres")]
mod sql_projections_on_postgres;
