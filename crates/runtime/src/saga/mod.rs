//! The saga engine: follows the log, lets sagas react, and carries out what they decide.
//!
//! | file | subject |
//! |---|---|
//! | `sagas` | an application's sagas: running and operating them |
//! | `listing` | which sagas there are |
//! | `operate` | what an operator does to a saga |
//! | `view` | a saga with all that happened to it |
//! | `kind` | one kind of saga, whatever its type |
//! | `start` | starting a saga, and waiting for its end |
//! | `runner` | the task that runs one kind of saga on the node that holds its lease |
//! | `term` | what the runner does while it holds the lease |
//! | `intake` | what the runner takes in from the log |
//! | `trail` | where the runner's checkpoint may be set |
//! | `desk` | which sagas are being worked on, and what waits for them |
//! | `troubled` | which of them are in trouble, and when they are tried again |
//! | `worker` | one saga's work: react, append, send, again |
//! | `inbox` | what comes in for a saga while a worker is at it |
//! | `sending` | the commands of one saga that are on their way |
//! | `bare` | a saga as far as it is known without its own code |
//! | `journal` | a saga's stream: reading it, and appending a reaction |
//! | `delivery` | a stored command on its way to its aggregate |
//! | `canonical` | a stored command in one form, to be recognised by |
//! | `agenda` | what is due, from the table of deadlines |
//! | `read_models` | the tables `annals_sagas` and `annals_saga_deadlines` |
//!
//! What must hold, however many processes run a saga and whenever they are killed:
//!
//! - a reaction is one append with the version that it was decided at, so of two that react to the
//!   same cause one is late and reads what the other wrote;
//! - a command has one id however often it is sent, and its final rejection is recorded under the
//!   same id: of a command's effect and its rejection only one can be in the log;
//! - whatever is outstanding or scheduled stands in a table that is folded from the log, and is
//!   found there by whoever takes over.

mod agenda;
mod bare;
mod canonical;
mod delivery;
mod desk;
mod error;
mod inbox;
mod intake;
mod journal;
mod kind;
mod listing;
mod operate;
mod options;
mod read_models;
mod runner;
mod sagas;
mod sending;
mod start;
mod status;
mod term;
mod trail;
mod troubled;
mod view;
mod worker;

pub use error::{OperateError, SagaError, StartSagaError, WaitError};
pub(crate) use kind::{Kind, SagaKind};
pub use listing::SagaQuery;
pub use operate::Operate;
pub use options::SagaOptions;
pub use read_models::{SagaDeadline, SagaOverview};
pub(crate) use sagas::SagaParts;
pub use sagas::Sagas;
pub use start::{StartSaga, StartedSaga};
pub use status::SagaHealth;
pub use view::{DeadlineView, OutstandingView, SagaView, TimelineEntry};
