//! A bank's store, and the processes that work on it.
//!
//! Whatever becomes of a test, no process outlives it: each is killed when it is dropped.

use std::{
    fs,
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use annals_testing::postgres::TestSchema;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// How long anything may take that should not take long, on a machine that does much else.
pub(crate) const SOON: Duration = Duration::from_secs(60);

const SIGKILL: i32 = 9;

/// Runs each of these scenarios on each kind of store, and on PostgreSQL in each way to reach it.
///
/// Those after `directly` show that a scenario would notice what it is there to notice, which is
/// the same in each way.
macro_rules! on_each_store {
    (@ $module:ident, $store:ident, $($scenario:ident),*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    super::$scenario($crate::bank::Store::$store).await;
                }
            )*
        }
    };
    ($($scenario:ident),+ $(,)? $(; directly $($control:ident),+ $(,)?)?) => {
        $crate::bank::on_each_store!(@ sqlite, Sqlite, $($scenario),+ $($(, $control)+)?);
        $crate::bank::on_each_store!(@ postgres, Postgres, $($scenario),+ $($(, $control)+)?);
        $crate::bank::on_each_store!(@ through_pgbouncer, ThroughPgBouncer, $($scenario),+);
        $crate::bank::on_each_store!(@ on_one_connection, OneConnection, $($scenario),+);
    };
}
pub(crate) use on_each_store;

/// What kind of store a bank has, and how it reaches it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
    /// PgBouncer is between them, and gives out connections by transaction.
    ThroughPgBouncer,
    /// A process has but one connection for all that is no append.
    OneConnection,
}

impl Store {
    /// How often what is repeated so many times on each kind of store is done in this way: less
    /// in the further ways to a server.
    pub(crate) fn share(self, whole: usize) -> usize {
        match self {
            Self::Sqlite | Self::Postgres => whole,
            Self::ThroughPgBouncer | Self::OneConnection => whole.div_ceil(2),
        }
    }

    fn url(self, schema: &TestSchema) -> String {
        match self {
            Self::ThroughPgBouncer => schema.url_through_pgbouncer(),
            Self::OneConnection => format!("{}&max_connections=1", schema.url()),
            Self::Postgres | Self::Sqlite => schema.url(),
        }
    }
}

/// Where a bank's store is.
#[derive(Debug)]
pub(crate) enum Place {
    File(PathBuf),
    Schema(TestSchema),
}

/// A bank, with a store and a directory of its own.
#[derive(Debug)]
pub(crate) struct Bank {
    directory: TempDir,
    place: Place,
    url: String,
}

impl Bank {
    pub(crate) async fn on(store: Store) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (place, url) = match store {
            Store::Sqlite => {
                let path = directory.path().join("bank.db");
                let url = format!("sqlite://{}", path.display());
                (Place::File(path), url)
            }
            Store::Postgres | Store::ThroughPgBouncer | Store::OneConnection => {
                let schema = TestSchema::create().await;
                let url = store.url(&schema);
                (Place::Schema(schema), url)
            }
        };
        Self {
            directory,
            place,
            url,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Writes a file for the bank to read, and answers its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Starts a command.
    pub(crate) fn start(&self, args: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
        command
            .args(args)
            .args(["--store", self.url()])
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Process {
            child: command.spawn().unwrap(),
            what: args.join(" "),
        }
    }

    /// Runs a command that must succeed, and answers its JSON.
    pub(crate) async fn json(&self, args: &[&str]) -> Value {
        let output = self.start(&[args, &["--json"]].concat()).end().await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts a server, and waits until it listens.
    pub(crate) async fn serve(&self) -> Server {
        self.serve_with(&[]).await
    }

    /// Starts a server that gives transfers so many seconds.
    pub(crate) async fn serve_within(&self, deadline: u64) -> Server {
        self.serve_with(&["--transfer-deadline", &deadline.to_string()])
            .await
    }

    async fn serve_with(&self, options: &[&str]) -> Server {
        let serve = [&["serve", "--listen", "127.0.0.1:0"], options].concat();
        let mut process = self.start(&serve);
        let mut stdout = process.lines();
        // What it complains about belongs to the test's output.
        let stderr = process.child.stderr.take().unwrap();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                println!("server: {line}");
            }
        });
        let line = timeout(SOON, stdout.next_line()).await;
        let line = line.expect("the server listens soon").unwrap();
        let line = line.expect("the server says where it listens");
        let address = line.strip_prefix("listening on http://").expect(&line);
        Server {
            address: address.parse().unwrap(),
            process,
            _stdout: stdout,
        }
    }
}

/// A running command of the bank.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    what: String,
}

impl Process {
    /// The lines that it writes to standard output.
    pub(crate) fn lines(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.child.stdout.take().unwrap()).lines()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the process still runs")
    }

    /// Whether it is still there.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.pid();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status();
        assert!(sent.await.unwrap().success(), "{} is gone", self.what);
    }

    /// Kills it by SIGKILL. When it had ended by itself before, that is answered.
    pub(crate) async fn kill(mut self) -> Option<Output> {
        self.child.start_kill().unwrap();
        let output = self.end().await;
        (output.status.signal() != Some(SIGKILL)).then_some(output)
    }

    /// Waits until it has ended, and answers what it wrote.
    pub(crate) async fn end(self) -> Output {
        let ended = timeout(SOON, self.child.wait_with_output()).await;
        let what = self.what;
        ended
            .unwrap_or_else(|_| panic!("`bank {what}` does not end"))
            .unwrap()
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    /// Held open, or what the server writes would have nowhere to go.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Kills it, which must find it running.
    pub(crate) async fn kill(self) {
        let ended = self.process.kill().await;
        assert!(ended.is_none(), "the server ended by itself: {ended:?}");
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.process.signal("TERM").await;
        let status = self.process.end().await.status;
        assert!(status.success(), "the server stopped with {status}");
    }
}
