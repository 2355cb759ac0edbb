#![doc = include_str!("../README.md")]

mod open;

pub use annals_core::*;
pub use annals_runtime::*;
pub use open::{Annals, OpenError};

#[cfg(feature = "cli")]
pub use annals_cli as cli;
#[cfg(feature = "postgres")]
pub use annals_postgres as postgres;
#[cfg(feature = "sqlite")]
pub use annals_sqlite as sqlite;

/// The guide, chapter by chapter.
pub mod guide {
    #[doc = include_str!("../docs/guide/aggregates.md")]
    pub mod aggregates {}
    #[doc = include_str!("../docs/guide/events.md")]
    pub mod events {}
    #[doc = include_str!("../docs/guide/moving.md")]
    pub mod moving {}
    #[doc = include_str!("../docs/guide/postgres.md")]
    pub mod postgres {}
    #[doc = include_str!("../docs/guide/projections.md")]
    pub mod projections {}
    #[doc = include_str!("../docs/guide/rebuild.md")]
    pub mod rebuild {}
    #[doc = include_str!("../docs/guide/sagas.md")]
    pub mod sagas {}
}
