//! Sagas: long-running processes across aggregates, with compensation and deadlines.
//!
//! | part | is |
//! |---|---|
//! | [`Saga`] | the usual kind: a [`Plan`] of steps, each with the command that undoes it |
//! | [`ProcessManager`] | what it rests on, for processes that are not a line of steps |
//! | [`SagaEvent`] | what a saga's own stream holds: all it received, decided, sent and scheduled |
//! | [`Instance`] | a saga as its stream tells it, and the pure function from a cause to what is appended next |
//!
//! Everything here is pure: no clock, no task, no store. The engine that drives it stands in
//! `annals-runtime`.

mod actions;
mod command;
mod event;
mod input;
mod instance;
mod ledger;
mod linear;
mod plan;
mod process;
mod reaction;
mod replay;
mod retry;
mod status;
mod stream;
mod targets;

pub use actions::{Actions, Sending};
pub use command::SagaCommand;
pub use event::{ReceivedEvent, SagaEvent};
pub use instance::{Instance, InstanceError, Outstanding};
pub use linear::{Linear, LinearStart, Saga};
pub use plan::{Plan, PlanError, PlanStep, Step};
pub use process::{Correlation, Input, NoEvents, ProcessManager, ReactError};
pub use reaction::{Cause, Operation, Reaction, Refused};
pub use retry::Retry;
pub use status::SagaStatus;
pub use stream::{SAGA_CATEGORY, SagaName, saga_stream};
pub use targets::{SendsTo, TargetVisitor};
