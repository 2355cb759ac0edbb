//! The engines of Annals: command execution, projections and rebuilds, over any store.
//!
//! This crate knows no SQL and no store; it drives the traits of `annals-core`. Applications
//! normally use it through the facade crate `annals`.

mod app;
mod builder;
mod command;
mod projection;
mod saga;
mod system;

pub use app::{App, ReadError};
pub use builder::{Builder, StartError};
pub use command::{
    CommandOptions, Execute, ExecuteError, Executed, LoadError, Loaded, SnapshotPolicyError,
};
pub use projection::{
    CaughtUpError, Progress, ProjectionHealth, ProjectionOptions, Projections, ReadModelFactory,
    RebuildOptions, RebuildPhase, RebuildSummary,
};
pub use saga::{
    DeadlineView, Operate, OperateError, OutstandingView, SagaDeadline, SagaError, SagaHealth,
    SagaOptions, SagaOverview, SagaQuery, SagaView, Sagas, StartSaga, StartSagaError, StartedSaga,
    TimelineEntry, WaitError,
};
pub use system::{RandomIds, SystemClock};
