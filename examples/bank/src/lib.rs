//! The bank: accounts, deposits, withdrawals and balances, on Annals.
//!
//! | module | subject |
//! |---|---|
//! | [`domain`] | what the bank knows and decides; no store, no HTTP |
//! | [`http`] | the bank as a web service |
//! | [`opening`] | opening an account, in the one currency that its owner has |
//! | [`transferring`] | asking for a transfer, and hearing at once what is known at once |
//! | [`commands`] | the bank at the command line |

pub mod commands;
pub mod domain;
pub mod http;
pub mod opening;
pub mod transferring;
