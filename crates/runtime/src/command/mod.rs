//! Command execution: load, decide, append, and again on a conflict.
