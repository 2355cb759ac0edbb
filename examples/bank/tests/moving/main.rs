//! A log that moves from one store to another by the bank's own commands.
//!
//! | file | subject |
//! |---|---|
//! | `moves` | there and back again |
//! | `interrupted` | kills and Ctrl-C on the way, and exports under load |
//! | `refused` | files that are not what they should be, and places where none can be |
//! | `bank` | the commands, and logs to move |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

mod bank;
mod interrupted;
mod moves;
mod refused;
