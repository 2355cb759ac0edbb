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

mod direct {
    annals_testing::database_conformance!(crate::schema::Schema);
}
mod through_pgbouncer {
    use crate::schema::{SchemaBy, ThroughPgBouncer};

    annals_testing::database_conformance!(SchemaBy<ThroughPgBouncer>);
}
mod single_connection {
    use crate::schema::{SchemaBy, SingleConnection};

    annals_testing::database_conformance!(SchemaBy<SingleConnection>);
}
