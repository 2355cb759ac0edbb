//! Forward-only migrations, in a table of the store's own.

use annals_core::{Migrated, StoreError, StoreErrorKind};
use sqlx::{Row, SqliteConnection};

use crate::{error::failed_on_own, sql};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal;)+) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../migrations/", $name, ".sql")),
        }),+]
    };
}

/// Every migration, oldest first. One that has been released never changes.
const MIGRATIONS: &[Migration] = migrations! {
    1 "0001_log";
    2 "0002_projections";
    3 "0003_leases";
};

const DOING: &str = "bring the store's tables up to date";

/// Runs the migrations that are missing, in the caller's write transaction, and tells which.
///
/// # Errors
/// [`StoreErrorKind::NewerSchema`] when a newer release has been here.
pub(crate) async fn migrate(conn: &mut SqliteConnection) -> Result<Migrated, StoreError> {
    sqlx::raw_sql(sql::CREATE_MIGRATIONS)
        .execute(&mut *conn)
        .await
        .map_err(failed_on_own(DOING))?;
    let row = sqlx::query(sql::NEWEST_MIGRATION)
        .fetch_one(&mut *conn)
        .await
        .map_err(failed_on_own(DOING))?;
    let newest: i64 = row.try_get(0).map_err(failed_on_own(DOING))?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if newest > known {
        return Err(
            StoreError::new(StoreErrorKind::NewerSchema, DOING).caused_by(format!(
                "the file has migration {newest}, but this program knows migrations up to {known}: \
             a newer release wrote it, so run that one"
            )),
        );
    }
    if newest == 0 {
        refuse_strangers(conn).await?;
    }
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > newest)
    {
        run(conn, migration).await?;
    }
    sqlx::query(sql::CHECK_WRITABLE)
        .execute(conn)
        .await
        .map_err(failed_on_own("write to the file"))?;
    let count = |version| u32::try_from(version).unwrap_or_default();
    Ok(Migrated {
        from: count(newest),
        to: count(known),
    })
}

/// A file of another application may well have a table of one of our names: it stays as it is.
async fn refuse_strangers(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let names: Option<String> = sqlx::query(sql::TAKEN_NAMES)
        .fetch_one(conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed_on_own(DOING))?;
    names.map_or(Ok(()), |names| {
        Err(StoreError::new(StoreErrorKind::Invalid, DOING).caused_by(format!(
            "the file belongs to another application: it already has {names}; name a file of its own"
        )))
    })
}

async fn run(conn: &mut SqliteConnection, migration: &Migration) -> Result<(), StoreError> {
    let doing = || format!("run migration {}", migration.name);
    sqlx::raw_sql(migration.sql)
        .execute(&mut *conn)
        .await
        .map_err(failed_on_own(doing()))?;
    sqlx::query(sql::RECORD_MIGRATION)
        .bind(migration.version)
        .bind(migration.name)
        .execute(&mut *conn)
        .await
        .map_err(failed_on_own(doing()))?;
    tracing::info!(migration = migration.name, "migration has run");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_holes_and_named_by_their_number() {
        for (expected, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, expected);
            assert!(migration.name.starts_with(&format!("{expected:04}_")));
        }
    }
}
