//! What PostgreSQL adds to the definition of a store: group commit in several processes' place,
//! appending in a transaction of one's own, holes, schemas, and the view for human eyes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a test does not expect fails it"
)]

mod at_once;
mod damage;
mod groups;
mod opening;
mod own_transaction;
mod sample;
mod tailing;
mod view;
