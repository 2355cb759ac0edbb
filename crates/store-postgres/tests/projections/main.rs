//! What only this store promises of projections: SQL projections, and how read models live
//! beside the application's own tables.

// A test reports by panicking.
#![allow(clippy::unwrap_used)]

mod accounts;
mod failing_statements;
mod inline_installing;
mod owners;
mod read_models;
mod sql_live;
mod sql_rebuild;
