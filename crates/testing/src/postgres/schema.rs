//! A schema for each test on the server that all tests share.

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    str::FromStr as _,
    thread,
};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

/// The variable that names the tests' database.
pub const URL_VARIABLE: &str = "ANNALS_TEST_POSTGRES";
/// The variable that names the same database behind PgBouncer in transaction mode.
pub const PGBOUNCER_VARIABLE: &str = "ANNALS_TEST_PGBOUNCER";

/// The name of a schema that nothing else uses, in the database of [`URL_VARIABLE`]. The store
/// under test creates the schema; it is dropped, with all that stands in it, when this is, and
/// with it what a rebuild has left in schemas whose names begin as this one's does.
#[derive(Debug)]
#[must_use = "the schema is dropped with it"]
pub struct TestSchema {
    name: String,
}

impl TestSchema {
    /// A name for a schema, in a database that was seen to answer.
    ///
    /// # Panics
    /// When [`URL_VARIABLE`] is not set, or no server answers there.
    pub async fn create() -> Self {
        let connection = PgConnection::connect_with(&options())
            .await
            .unwrap_or_else(|error| panic!("no database answers at {URL_VARIABLE}: {error}"));
        connection.close().await.expect("a new connection closes");
        let number = RandomState::new().hash_one(std::process::id());
        Self {
            name: format!("test_{number:016x}"),
        }
    }

    /// The schema's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of a store in this schema.
    #[must_use]
    pub fn url(&self) -> String {
        with_parameter(&server_url(), "schema", &self.name)
    }

    /// The URL of the same store through PgBouncer in transaction mode.
    ///
    /// # Panics
    /// When [`PGBOUNCER_VARIABLE`] is not set.
    #[must_use]
    pub fn url_through_pgbouncer(&self) -> String {
        let url = with_parameter(&variable(PGBOUNCER_VARIABLE), "schema", &self.name);
        with_parameter(&url, "pgbouncer", "true")
    }
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        let statement = format!(
            "DO $$ DECLARE made name;
             BEGIN
                 FOR made IN SELECT nspname FROM pg_namespace WHERE starts_with(nspname, '{}') LOOP
                     EXECUTE format('DROP SCHEMA %I CASCADE', made);
                 END LOOP;
             END $$",
            self.name
        );
        // A thread with a runtime of its own, since the test's runtime may be what drops this.
        let dropped = thread::spawn(move || drop_schema(statement)).join();
        let failure = match dropped {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the thread that drops it panicked".to_owned(),
        };
        let name = &self.name;
        // A test that is failing already keeps its own message.
        assert!(
            thread::panicking(),
            "failed to drop schema {name}: {failure}"
        );
        eprintln!("failed to drop schema {name}: {failure}");
    }
}

fn drop_schema(statement: String) -> Result<(), sqlx::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut connection = PgConnection::connect_with(&options()).await?;
        // Whoever still has a transaction open there has a bug that is to be seen, not waited for.
        sqlx::raw_sql("SET lock_timeout = '20s'")
            .execute(&mut connection)
            .await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
        connection.close().await
    })
}

fn server_url() -> String {
    variable(URL_VARIABLE)
}

fn options() -> PgConnectOptions {
    PgConnectOptions::from_str(&server_url())
        .unwrap_or_else(|error| panic!("{URL_VARIABLE} is not a URL of PostgreSQL: {error}"))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("set {name}=postgres://... or run ./scripts/test, which starts a server")
    })
}

fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{name}={value}")
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;

    #[test]
    fn a_parameter_follows_those_that_are_there() {
        let url = with_parameter("postgres://host/database", "schema", "one");
        assert_eq!(url, "postgres://host/database?schema=one");
        let url = with_parameter(&url, "pgbouncer", "true");
        assert_eq!(url, "postgres://host/database?schema=one&pgbouncer=true");
    }

    #[tokio::test]
    async fn a_schema_goes_with_its_test() {
        let mut connection = PgConnection::connect_with(&options()).await.unwrap();
        let schema = TestSchema::create().await;
        let name = schema.name().to_owned();
        let create = format!(
            "CREATE SCHEMA {name} CREATE TABLE filled (number int);
             CREATE SCHEMA {name}_rebuild;"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(create))
            .execute(&mut connection)
            .await
            .unwrap();
        assert_eq!(count(&mut connection, &name).await, 2);
        drop(schema);
        assert_eq!(count(&mut connection, &name).await, 0);
    }

    async fn count(connection: &mut PgConnection, name: &str) -> i64 {
        sqlx::query("SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, $1)")
            .bind(name)
            .fetch_one(connection)
            .await
            .unwrap()
            .get(0)
    }
}
