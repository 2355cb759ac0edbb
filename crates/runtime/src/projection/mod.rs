//! The projection engine: follows the log, folds events, commits rows and checkpoints together.
