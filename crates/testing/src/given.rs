//! Given what happened, when this is asked, then that happens: specifications of aggregates,
//! projections and sagas, without a store.

mod aggregate;
mod difference;
mod projection;
mod saga;

pub use aggregate::{Outcome, Scenario};
pub use projection::ProjectionScenario;
pub use saga::SagaScenario;
