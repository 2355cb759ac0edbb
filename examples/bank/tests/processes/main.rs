//! The bank's processes, killed and stopped at random moments.
//!
//! | file | subject |
//! |---|---|
//! | `server_killed` | kills of a server and an import under load |
//! | `rebuild_killed` | kills of a rebuild while a server goes on |
//! | `rebuild_stopped` | one rebuild at a time, and Ctrl-C |
//! | `stopped` | a server that is asked to stop |
//! | `nodes` | several servers on one store, of which one dies and one stalls |
//! | `transfers_killed` | kills of a server that carries out transfers, at random under load |
//! | `transfers_steps` | kills of a server at every step of a transfer |
//! | `transfers_nodes` | two servers that carry out transfers, of which one dies and one stalls |
//! | `transfers_imported` | kills of an import amid its transfers |
//! | `tail` | a tail in another process |
//! | `bank` | a bank's store, and the processes that work on it |
//! | `client` | HTTP, as a client that is cut off at any time |
//! | `traffic` | commands whose outcome is known |
//! | `transfers` | wishes for transfers, and whether each of them ended as it must |
//! | `courses` | how transfers stand in the log: their money, and their deadlines |
//! | `history` | a log that takes a while to fold |
//! | `import` | a file to import, and what it brings about |
//! | `database` | a connection to a store of either kind |
//! | `log` | the store as it is: the log, and whether the table is a fold of it |
//!
//! The random choices start from a printed seed, which `ANNALS_SEED` sets. The processes' own
//! timing is theirs, so a seed repeats what was tried and not always what came of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

mod bank;
mod client;
mod courses;
mod database;
mod history;
mod import;
mod log;
mod nodes;
mod rebuild_killed;
mod rebuild_stopped;
mod server_killed;
mod stopped;
mod tail;
mod traffic;
mod transfers;
mod transfers_imported;
mod transfers_killed;
mod transfers_nodes;
mod transfers_steps;
