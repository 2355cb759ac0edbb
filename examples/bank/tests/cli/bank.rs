//! The binary, in a directory of its own.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use annals_testing::postgres::TestSchema;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, SqliteConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

/// Runs each of these scenarios on each kind of store.
macro_rules! on_each_store {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $scenario() {
                super::$scenario(&$crate::bank::Bank::new());
            })+
        }
        mod postgres {
            $(#[test]
            fn $scenario() {
                super::$scenario(&$crate::bank::Bank::on_postgres());
            })+
        }
        mod pgbouncer {
            $(#[test]
            fn $scenario() {
                super::$scenario(&$crate::bank::Bank::through_pgbouncer());
            })+
        }
        mod single_connection {
            $(#[test]
            fn $scenario() {
                super::$scenario(&$crate::bank::Bank::on_one_connection());
            })+
        }
    };
}
pub(crate) use on_each_store;

/// A directory of its own, to run the bank in.
pub(crate) struct Bank {
    directory: TempDir,
    /// Where it keeps its log, unless that is for the commands to say.
    store: Option<String>,
    /// Dropped with the bank.
    schema: Option<TestSchema>,
}

impl Bank {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            store: None,
            schema: None,
        }
    }

    /// A bank whose commands all work on a schema of its own.
    pub(crate) fn on_postgres() -> Self {
        Self::in_schema(TestSchema::url)
    }

    /// The same behind PgBouncer in transaction mode.
    pub(crate) fn through_pgbouncer() -> Self {
        Self::in_schema(TestSchema::url_through_pgbouncer)
    }

    /// The same with a pool of one connection.
    pub(crate) fn on_one_connection() -> Self {
        Self::in_schema(|schema| format!("{}&max_connections=1", schema.url()))
    }

    fn in_schema(url: impl FnOnce(&TestSchema) -> String) -> Self {
        let schema = in_runtime(TestSchema::create());
        Self {
            store: Some(url(&schema)),
            schema: Some(schema),
            ..Self::new()
        }
    }

    /// A bank whose commands all work on the store at a URL.
    pub(crate) fn on(url: String) -> Self {
        Self {
            store: Some(url),
            ..Self::new()
        }
    }

    /// The URL of the store.
    pub(crate) fn url(&self) -> String {
        let file = || format!("sqlite://{}", self.path().join("bank.db").display());
        self.store.clone().unwrap_or_else(file)
    }

    /// A command that is yet to be run.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
        command
            .args(args)
            .current_dir(self.path())
            .env_remove("ANNALS_STORE")
            .env_remove("RUST_LOG")
            .envs(self.store.iter().map(|store| ("ANNALS_STORE", store)));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that succeeds, and answers its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// How a projection stands.
    pub(crate) fn projection(&self, name: &str) -> Value {
        let list = self.json(&["projection", "list", "--json"]);
        let mut list = list.as_array().unwrap().iter();
        list.find(|row| row["name"] == name).unwrap().clone()
    }

    /// Runs a command that fails, and answers its standard error.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{args:?}: {}",
            stderr(&output)
        );
        stderr(&output)
    }

    /// Runs a statement on the store's tables, past the bank.
    pub(crate) fn sql(&self, statement: &'static str) {
        in_runtime(async {
            match &self.schema {
                None => {
                    let mut file = SqliteConnection::connect(&self.url()).await.unwrap();
                    sqlx::raw_sql(statement).execute(&mut file).await.unwrap();
                    file.close().await.unwrap();
                }
                Some(schema) => {
                    let options: PgConnectOptions = schema.url().parse().unwrap();
                    let options = options.options([("search_path", schema.name())]);
                    let mut session = PgConnection::connect_with(&options).await.unwrap();
                    let done = sqlx::raw_sql(statement).execute(&mut session).await;
                    done.unwrap();
                }
            }
        });
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn file(&self, name: &str, rows: &[&str]) {
        let header = "time,type,account,owner,counterparty,amount";
        let text = format!("{header}\n{}\n", rows.join("\n"));
        fs::write(self.path().join(name), text).unwrap();
    }
}

/// Waits for what a scenario does without the bank's commands.
pub(crate) fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) const ROWS: [&str; 6] = [
    "2026-03-01T09:00:00Z,open,a,alice,,",
    "2026-03-01T09:01:00Z,deposit,a,,,1000",
    "2026-03-01T09:02:00Z,withdraw,a,,,5000",
    "2026-03-01T09:03:00Z,deposit,a,,,9000",
    "2026-03-01T09:04:00Z,open,b,bob,,",
    "2026-03-01T09:06:00Z,close,b,,,",
];
