//! What a store is: every promise of `annals_core`'s store traits as a test.
//!
//! A new store passes or fails the suite with about ten lines, `tests/conformance.rs`:
//!
//! ```
//! use std::sync::Arc;
//! use annals_core::{Store, memory::MemoryStore};
//! use annals_testing::conformance::Fixture;
//!
//! struct Memory(Arc<MemoryStore>);
//!
//! #[async_trait::async_trait]
//! impl Fixture for Memory {
//!     // A store on disk leaves this out, and opens the same file again and again.
//!     const REOPENS: bool = false;
//!
//!     async fn create() -> Self { Self(Arc::new(MemoryStore::new())) }
//!     async fn open(&self) -> Arc<dyn Store> { self.0.clone() }
//! }
//!
//! annals_testing::conformance!(Memory);
//! # fn main() {}
//! ```
//!
//! Every scenario gets storage of its own and becomes a `#[test]`, so that a runner shows each
//! by name. Random choices print their seed; [`crate::seed::SEED_VARIABLE`] repeats them.

mod check;
pub mod database;
mod fixture;
mod model;
mod operation;
mod sample;
mod scenarios;
mod table;
mod tally;

macro_rules! scenario_modules {
    ($($name:ident),+ $(,)?) => {
        $(
            #[doc(hidden)]
            #[allow(missing_docs, reason = "a scenario's name is its sentence")]
            pub mod $name;
        )+
    };
}

scenario_modules! {
    append, bytes, cancellation, closing, conditions, idempotency, inline, leases, limits, paging,
    projections, properties, queries, races, reads, rebuild, rows, snapshots, swap, tail,
    transfer,
}

pub use fixture::{Effort, Fixture, Subject, run};
pub use model::Model;
