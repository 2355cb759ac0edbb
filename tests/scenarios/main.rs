//! Whole scenarios through the facade, on every store.

mod commands;
mod lamp;
#[cfg(feature = "sqlite")]
mod sql_projections;
