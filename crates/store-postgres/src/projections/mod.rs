//! Projections: their rows, checkpoints, failures and rebuilds.

pub(crate) mod inline;
