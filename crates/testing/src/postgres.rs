//! PostgreSQL for tests: a schema of one's own on a shared server, or a whole server of one's own.
//!
//! | to have | use |
//! |---|---|
//! | fresh storage for a test, directly or through PgBouncer | [`TestSchema`] |
//! | a server to kill, to stop, to fail over or to restore | [`Cluster`] |
//! | a pooler that stays while its server goes | [`Pooler`] |
//! | a network that can be cut or led elsewhere | [`Proxy`] |
//!
//! Everything listens on the loopback interface only and is gone when it is dropped; a cluster
//! also goes when the process that started it is killed.

mod certificate;
mod cluster;
mod copies;
mod pooler;
mod programs;
mod proxy;
mod schema;
mod server;

pub use cluster::Cluster;
pub use copies::Backup;
pub use pooler::Pooler;
pub use programs::PROGRAMS_VARIABLE;
pub use proxy::{Lost, Proxy};
pub use schema::{PGBOUNCER_VARIABLE, TestSchema, URL_VARIABLE};
