//! Several processes on one store: how a test starts and leads them, what they write down, and
//! what must be true of the log in the end.
//!
//! A test starts its own program again, once for each process ([`Child`]), with a part to play.
//! Each process appends [`Numbered`] appends, or follows the log, and journals what the store
//! has told it ([`Journal`]); the test then compares the journals with the log ([`check`]).

mod appends;
pub mod check;
mod child;
mod follow;
mod journal;

pub use appends::{Numbered, event, event_id, to};
pub use child::{Child, enter, ready, start_together};
pub use follow::follow;
pub use journal::{Acked, Journal, Seen, count, read};
