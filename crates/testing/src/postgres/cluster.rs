//! A PostgreSQL server of a test's own, to do to it what no shared one would bear.

use std::{
    ffi::OsStr,
    fs,
    hash::{BuildHasher as _, RandomState},
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{
    programs::{Programs, run},
    server::Server,
};

/// As in production where it matters: what is acknowledged is on the disk.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
fsync = on
synchronous_commit = on
full_page_writes = on
wal_level = replica
log_min_messages = warning
log_line_prefix = '%m [%p] %a '
";

/// Below what the system gives to outgoing connections: while a server is down, one of those
/// could otherwise take its port, or even connect to itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A throw-away PostgreSQL server with data of its own, on a free port of the loopback interface.
///
/// It is stopped and removed when it is dropped, and also when this process is killed. It syncs
/// to the disk as in production. Its version is the newest that is installed, unless
/// [`PROGRAMS_VARIABLE`](super::PROGRAMS_VARIABLE) names another.
///
/// The functions block; that is fine in tests, on a runtime with several threads.
#[derive(Debug)]
#[must_use = "the server is stopped with it"]
pub struct Cluster {
    pub(super) directory: TempDir,
    pub(super) programs: Programs,
    pub(super) password: String,
    port: u16,
    environment: Vec<(String, String)>,
    server: Option<Server>,
}

impl Cluster {
    /// A new cluster with an empty database, running.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, with what to install, or does not start.
    pub fn create() -> Self {
        Self::with_settings(&[])
    }

    /// A new cluster with lines added to its `postgresql.conf`, running.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, with what to install, or does not start.
    pub fn with_settings(settings: &[&str]) -> Self {
        let mut cluster = Self::empty(Programs::find(), new_password());
        let password = cluster.directory.path().join("password");
        fs::write(&password, &cluster.password).expect("a new directory can be written");
        cluster.programs.hand_over(&password);
        let mut initdb = cluster.command("initdb");
        // A password in clear text never leaves the machine, and costs no time to check.
        initdb
            .args(["--no-sync", "--encoding=UTF8", "--locale=C"])
            .args(["--username=postgres", "--auth=password"])
            .arg(argument("--pwfile=", &password))
            .arg(argument("--pgdata=", cluster.data()));
        run(&mut initdb);
        cluster.configure(SETTINGS);
        for setting in settings {
            cluster.configure(setting);
        }
        cluster.start();
        cluster.sql_in("postgres", "CREATE DATABASE annals");
        cluster
    }

    /// A place for a cluster, without data.
    pub(super) fn empty(programs: Programs, password: String) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("annals-cluster-")
            .tempdir()
            .expect("a temporary directory");
        programs.hand_over(directory.path());
        Self {
            directory,
            programs,
            password,
            port: free_port(),
            environment: Vec::new(),
            server: None,
        }
    }

    /// The URL of its database, for a superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The URL of its database as seen through another port, such as that of a
    /// [`Proxy`](super::Proxy).
    #[must_use]
    pub fn url_at(&self, port: u16) -> String {
        format!(
            "postgres://postgres:{}@127.0.0.1:{port}/annals",
            self.password
        )
    }

    /// The port it listens on; the same for its whole life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its data stands.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Adds lines to `postgresql.conf`, for the next start or [`reload`](Self::reload).
    ///
    /// # Panics
    /// When the file can't be written.
    pub fn configure(&self, lines: &str) {
        let file = fs::OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"));
        writeln!(file.expect("a cluster has settings"), "{lines}").expect("settings can be added");
    }

    /// Sets a variable of the server's environment, from its next start on.
    pub fn set_variable(&mut self, name: &str, value: &OsStr) {
        let value = value.to_str().expect("a value is text").to_owned();
        self.environment.push((name.to_owned(), value));
    }

    /// Starts the server, and waits until it takes connections.
    ///
    /// # Panics
    /// When it does not start, with what it said; or when it runs.
    pub fn start(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let server = Server::start(&command, self.directory.path(), &self.data());
        self.server =
            Some(server.unwrap_or_else(|said| panic!("PostgreSQL did not start:\n{said}")));
    }

    /// Stops the server as an administrator does: what is under way is broken off and rolled back.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&mut self) {
        self.stop_by("fast");
    }

    /// Stops the server and starts it again.
    ///
    /// # Panics
    /// When it does not stop or start.
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Kills the server with SIGKILL, all its processes at once, as the end of a machine would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        self.server.take().expect("the server runs").kill();
    }

    /// Has the running server read its settings again.
    ///
    /// # Panics
    /// When it does not run.
    pub fn reload(&self) {
        self.sql("SELECT pg_reload_conf()");
    }

    /// Runs SQL as a superuser in the cluster's database; answers the rows as text, one a line.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, statements: &str) -> String {
        self.sql_in("annals", statements)
    }

    /// Runs SQL as a superuser in a database.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql_in(&self, database: &str, statements: &str) -> String {
        let mut psql = self.client("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set=ON_ERROR_STOP=1", "--dbname", database])
            .args(["--command", statements]);
        let rows = run(&mut psql);
        String::from_utf8_lossy(&rows).trim().to_owned()
    }

    pub(super) fn stop_by(&mut self, mode: &str) {
        let server = self.server.take().expect("the server runs");
        run(self
            .command("pg_ctl")
            .args(["stop", "--silent", "--wait", "--mode", mode, "--pgdata"])
            .arg(self.data()));
        server.stopped();
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        command
            .current_dir(self.directory.path())
            .env("LC_ALL", "C");
        command
    }

    /// A program that connects to the server.
    pub(super) fn client(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command
            .env("PGPASSWORD", &self.password)
            .args(["--host=127.0.0.1", "--username=postgres"])
            .arg(format!("--port={}", self.port));
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nobody needs the data any more.
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }
}

/// An option whose value is a path.
pub(super) fn argument(option: &str, path: impl AsRef<Path>) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(path.as_ref());
    argument
}

fn new_password() -> String {
    format!("{:016x}", RandomState::new().hash_one("password"))
}

pub(super) fn free_port() -> u16 {
    let mut seed = crate::seed::Seed::new(RandomState::new().hash_one("port"));
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(|| PORTS.start + u16::try_from(seed.below(PORTS.len())).unwrap_or(0))
        .take(1_000)
        .find(is_free)
        .expect("one of the ports is free")
}
