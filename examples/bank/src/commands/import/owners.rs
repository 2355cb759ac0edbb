//! Openings of one user's accounts, one at a time.
//!
//! Each rests on the user having opened nothing else meanwhile. Side by side they would only make
//! each other start over, and of many some would give up.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use tokio::sync::{Mutex, MutexGuard};

use crate::domain::UserId;

/// How many openings can be on their way at a time.
const TURNS: usize = 64;

/// Whose turn it is, shared by all lanes of an import.
#[derive(Clone, Debug)]
pub(super) struct Owners(Arc<[Mutex<()>]>);

impl Owners {
    pub(super) fn new() -> Self {
        Self((0..TURNS).map(|_| Mutex::default()).collect())
    }

    /// Waits while an account of this user is being opened. Some other users share its turn.
    pub(super) async fn one_at_a_time(&self, owner: &UserId) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        owner.hash(&mut hasher);
        let turns = u64::try_from(self.0.len()).unwrap_or(1).max(1);
        let turn = usize::try_from(hasher.finish() % turns).unwrap_or(0);
        match self.0.get(turn) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }
}
