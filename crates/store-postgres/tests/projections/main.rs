//! What PostgreSQL promises of projections, as a database, and what only it promises.

// A test reports by panicking.
#![allow(clippy::unwrap_used)]

mod bulk;
mod comparing;
mod failing_statements;
mod inline_installing;
mod others;
mod owners;
mod schema;

annals_testing::database_conformance!(crate::schema::Schema);
