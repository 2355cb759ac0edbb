//! Derives of the Annals event-sourcing framework; use them through the `annals` crate.
