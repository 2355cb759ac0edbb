//! Given what happened, when this is asked, then that happens: specifications of aggregates
//! and projections, without a store.

mod aggregate;
mod difference;
mod projection;

pub use aggregate::{Outcome, Scenario};
pub use projection::ProjectionScenario;
