//! Opens a store: connects, checks the server, and brings the tables up to date.

use std::{sync::Arc, time::Duration};

use annals_core::{Migrated, StoreError, StoreErrorKind};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use crate::{
    PostgresOptions,
    error::{failed_to_open, silent},
    location, migrate,
    pool::Pool,
    retry::Attempts,
    sql::{Schema, Sql},
    transaction::{Connections, begin_text},
};

/// The oldest server that the store is tested with, as PostgreSQL numbers releases.
const OLDEST_SERVER: u32 = 140_000;
/// How long a connection may take to be made.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many statements a connection keeps prepared.
const PREPARED_STATEMENTS: usize = 200;

/// What an open store works with.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connections: Arc<Connections>,
    /// How to make a connection besides the pooled ones.
    pub(crate) connect: PgConnectOptions,
    /// How a transaction that writes begins.
    pub(crate) begin: String,
    pub(crate) options: PostgresOptions,
    pub(crate) migrated: Migrated,
}

/// Connects, and brings the store's tables up to date.
pub(crate) async fn open(url: &str, options: PostgresOptions) -> Result<Opened, StoreError> {
    let (connect, options) = location::parse(url, options)?;
    let connect = configured(connect, &options);
    let sql = Sql::new(Schema::new(&options.schema)?);
    let begin = begin_text(&options);
    let mut attempts = Attempts::default();
    let migrated = loop {
        match prepare(&connect, &sql, &begin, options.create).await {
            Ok(migrated) => break migrated,
            Err(error) if attempts.go_on_after(&error).await => {}
            Err(error) => return Err(error),
        }
    };
    let pool = Pool::new(connect.clone(), &options);
    let connections = Connections::new(pool, sql, &begin, &options);
    Ok(Opened {
        connections: Arc::new(connections),
        connect,
        begin,
        options,
        migrated,
    })
}

fn configured(connect: PgConnectOptions, options: &PostgresOptions) -> PgConnectOptions {
    let named = match connect.get_application_name() {
        Some(_) => connect,
        None => connect.application_name("annals"),
    };
    let connect = named
        // A startup parameter that PgBouncer refuses, and that nothing here needs.
        .extra_float_digits(None)
        .disable_statement_logging();
    if options.transaction_pooling {
        // Nothing may be taken to be prepared that was so in an earlier transaction.
        connect.statement_cache_capacity(0)
    } else {
        connect.statement_cache_capacity(PREPARED_STATEMENTS)
    }
}

async fn prepare(
    connect: &PgConnectOptions,
    sql: &Sql,
    begin: &str,
    create: bool,
) -> Result<Migrated, StoreError> {
    const DOING: &str = "connect to the database";
    let connected = timeout(CONNECT_TIMEOUT, connect.connect()).await;
    let mut conn = connected
        .map_err(|_| silent(DOING))?
        .map_err(failed_to_open(DOING))?;
    check_release(&conn)?;
    let migrated = migrate::migrate(&mut conn, sql, begin, create).await?;
    // It has done its work; an unclean end changes nothing.
    conn.close().await.ok();
    Ok(migrated)
}

fn check_release(conn: &PgConnection) -> Result<(), StoreError> {
    match conn.server_version_num() {
        Some(number) if number < OLDEST_SERVER => {
            let (found, needed) = (number / 10_000, OLDEST_SERVER / 10_000);
            let error = StoreError::new(StoreErrorKind::Invalid, "check the server's release");
            Err(error.caused_by(format!(
                "it is PostgreSQL {found}, and {needed} or later is needed"
            )))
        }
        _ => Ok(()),
    }
}
