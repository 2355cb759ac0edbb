//! Test kits for Annals; only ever a dev-dependency.
//!
//! | to test | use |
//! |---|---|
//! | an aggregate's decisions | [`given::Scenario`] |
//! | a projection's rows | [`given::ProjectionScenario`] |
//! | what a saga sends, and when | [`given::SagaScenario`] |
//! | a store | [`conformance!`], with a [`conformance::Fixture`] |
//! | a store whose tables people reach with SQL | [`database_conformance!`], with a [`conformance::database::Database`] |
//! | what a store that fails does to an engine | [`delegating::Delegating`], with [`delegating::Hooks`] |
//! | a reader that follows the log | [`tail::check_tail`] |
//! | a store on PostgreSQL | `postgres`, with the feature of that name |
//! | several processes on one store | [`processes`] |
//! | time and ids that repeat | [`clock::ManualClock`], [`clock::SequentialIds`] |

// A test kit reports by panicking, with messages that say what was expected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod clock;
pub mod conformance;
pub mod delegating;
pub mod given;
#[cfg(all(feature = "postgres", unix))]
pub mod postgres;
pub mod processes;
pub mod seed;
pub mod tail;
