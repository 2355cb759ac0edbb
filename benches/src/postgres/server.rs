//! The server to measure on, and a schema in it for each contestant.

use std::time::Duration;

use annals::postgres::{PostgresOptions, PostgresStore};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

use crate::Outcome;

/// A database on which this run has schemas of its own.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    url: String,
    run: String,
}

impl Server {
    /// The server at a URL.
    pub(crate) fn at(url: &str) -> Self {
        let run = format!("annals_bench_{:08x}", Uuid::now_v7().as_u128() as u32);
        Self {
            url: url.to_owned(),
            run,
        }
    }

    /// Refuses a server that acknowledges what is not on the disk: figures would mean nothing.
    pub(crate) async fn check_durable(&self) -> Outcome<()> {
        let mut conn = self.options()?.connect().await?;
        for (sql, setting) in [
            ("SHOW fsync", "fsync"),
            ("SHOW synchronous_commit", "synchronous_commit"),
        ] {
            let value: String = sqlx::query_scalar(sql).fetch_one(&mut conn).await?;
            if value == "off" {
                return Err(format!("the server has {setting} = off").into());
            }
        }
        conn.close().await?;
        Ok(())
    }

    fn schema(&self, name: &str) -> String {
        format!("{}_{name}", self.run)
    }

    /// The URL of a store in a schema of its own.
    pub(crate) fn store_url(&self, name: &str) -> String {
        let joint = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{joint}schema={}", self.url, self.schema(name))
    }

    /// A store in a schema of its own.
    pub(crate) async fn store(&self, name: &str) -> Outcome<PostgresStore> {
        let options = PostgresOptions::default();
        Ok(PostgresStore::open(&self.store_url(name), options).await?)
    }

    /// So many connections into a schema, all open already.
    pub(crate) async fn pool(&self, name: &str, connections: u32) -> Outcome<PgPool> {
        let search_path = format!("SET search_path TO {}", self.schema(name));
        Ok(PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(connections)
            .acquire_timeout(Duration::from_secs(60))
            .test_before_acquire(false)
            .after_connect(move |conn, _| {
                let search_path = search_path.clone();
                Box::pin(async move {
                    sqlx::raw_sql(AssertSqlSafe(search_path))
                        .execute(conn)
                        .await
                        .map(drop)
                })
            })
            .connect_with(self.options()?)
            .await?)
    }

    /// A schema with what `sql` creates in it.
    pub(crate) async fn create(&self, name: &str, sql: &str) -> Outcome<()> {
        let schema = self.schema(name);
        let mut conn = self.options()?.connect().await?;
        let text = format!(
            "CREATE SCHEMA {schema}; {}",
            sql.replace("/*schema*/", &schema)
        );
        sqlx::raw_sql(AssertSqlSafe(text))
            .execute(&mut conn)
            .await?;
        conn.close().await?;
        Ok(())
    }

    /// Brings statistics and visibility up to date, which would else happen at some time later.
    pub(crate) async fn vacuum(&self, name: &str) -> Outcome<()> {
        let mut conn = self.options()?.connect().await?;
        let text = format!("VACUUM (ANALYZE) {}.events", self.schema(name));
        sqlx::raw_sql(AssertSqlSafe(text))
            .execute(&mut conn)
            .await?;
        conn.close().await?;
        Ok(())
    }

    /// Removes the schemas that were made for these names.
    pub(crate) async fn remove(&self, names: &[String]) -> Outcome<()> {
        let mut conn = self.options()?.connect().await?;
        for name in names {
            let text = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema(name));
            sqlx::raw_sql(AssertSqlSafe(text))
                .execute(&mut conn)
                .await?;
        }
        conn.close().await?;
        Ok(())
    }

    fn options(&self) -> Outcome<PgConnectOptions> {
        let options: PgConnectOptions = self.url.parse()?;
        Ok(options.disable_statement_logging())
    }
}
