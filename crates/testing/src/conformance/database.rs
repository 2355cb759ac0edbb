//! What a store on an SQL database promises besides: its tables stand among the application's
//! own, where any SQL tool reaches them, and projections may be written in SQL.

mod accounts;
#[doc(hidden)]
#[allow(missing_docs, reason = "a scenario's name is its sentence")]
pub mod backlog;
mod balances;
mod bank;
mod driver;
#[doc(hidden)]
#[allow(missing_docs, reason = "a scenario's name is its sentence")]
pub mod sql_live;
#[doc(hidden)]
#[allow(missing_docs, reason = "a scenario's name is its sentence")]
pub mod sql_rebuild;
#[doc(hidden)]
#[allow(missing_docs, reason = "a scenario's name is its sentence")]
pub mod tables;

use annals_core::ProjectorFactory;
use async_trait::async_trait;

use super::fixture::{Fixture, in_time};

pub use accounts::{AccountEvent, cursed, deposited};
pub use balances::{BALANCES, balance};
pub use bank::{Bank, append_to};
pub use driver::Driver;

/// An SQL database with a store in it, and the other way in.
#[async_trait]
pub trait Database: Fixture {
    /// A connection as any SQL tool has it.
    type Connection: Send;

    /// A query for the names of the indexes on the store's tables.
    const INDEXES: &'static str;

    /// Connects to where the store's tables are.
    async fn connect(&self) -> Self::Connection;

    /// Executes statements, all of which succeed.
    async fn execute(connection: &mut Self::Connection, statements: &'static str);

    /// The first column of a query, which is text.
    async fn query(connection: &mut Self::Connection, statement: &'static str) -> Vec<String>;

    /// A projection `totals` written in SQL, which follows the log or is inline. It has two
    /// tables: `totals(owner, total)`, and `movements` with an `owner`, a row for each event, and
    /// an index `movements_by_owner`. A deposit counts as often as `factor` in the application's
    /// table `factors` says; a cursed event sets that factor to zero and fails with "it is cursed".
    fn totals(inline: bool) -> Box<dyn ProjectorFactory>;

    /// How many rebuilds of that projection have left something outside the store's tables.
    async fn rebuilds_left(&self) -> usize;

    /// Takes away what a rebuild of that projection has built so far.
    async fn lose_rebuild(&self);
}

/// Runs one scenario on a fresh database, on several threads and with a deadline; what
/// [`database_conformance!`](crate::database_conformance!) calls.
///
/// # Panics
/// When the store fails the scenario.
pub fn run<D: Database, S: Future<Output = ()>>(scenario: impl FnOnce(Bank<D>) -> S) {
    in_time(async { scenario(Bank::open().await).await });
}
