//! The engines of Annals: command execution, projections and rebuilds, over any store.
//!
//! This crate knows no SQL and no store; it drives the traits of `annals-core`. Applications
//! normally use it through the facade crate `annals`.

pub mod command;
pub mod projection;
pub mod system;
