//! Read models, checkpoints and rebuilds on SQLite.

pub(crate) mod inline;
