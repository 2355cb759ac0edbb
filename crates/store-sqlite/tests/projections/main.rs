//! What SQLite promises of projections, as a database, and what only it promises.

// A test reports by panicking.
#![allow(clippy::unwrap_used)]

mod comparing;
mod file;
mod others;
mod rebuild_files;

annals_testing::database_conformance!(crate::file::File);
