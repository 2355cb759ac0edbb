//! The HTTP API end to end: a server on a real socket, over a real store of each kind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    clippy::duplicate_mod,
    reason = "each store runs the same scenarios, and is known by the module that they are in"
)]

mod client;
mod store;

#[path = "."]
mod sqlite {
    const STORE: crate::store::Store = crate::store::Store::Sqlite;
    mod scenarios;
}

#[path = "."]
mod postgres {
    const STORE: crate::store::Store = crate::store::Store::Postgres;
    mod scenarios;
}

#[path = "."]
mod pgbouncer {
    const STORE: crate::store::Store = crate::store::Store::PgBouncer;
    mod scenarios;
}

#[path = "."]
mod single_connection {
    const STORE: crate::store::Store = crate::store::Store::SingleConnection;
    mod scenarios;
}
