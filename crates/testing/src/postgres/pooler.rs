//! A PgBouncer before a cluster, which outlives the server's outages.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::cluster::{Cluster, free_port};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A PgBouncer that gives out a cluster's connections by transaction, on a free port of the
/// loopback interface.
///
/// It ends when it is dropped, and also when the thread that started it ends, as that of a killed
/// process does. Once it could not reach the server it tries again after a second.
#[derive(Debug)]
#[must_use = "connections end with it"]
pub struct Pooler {
    directory: TempDir,
    port: u16,
    process: Child,
}

impl Pooler {
    /// Starts one.
    ///
    /// # Panics
    /// When PgBouncer is not installed (Debian and Ubuntu: `apt install pgbouncer`) or does not
    /// start, with what it said.
    pub fn before(cluster: &Cluster) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("annals-pooler-")
            .tempdir()
            .expect("a temporary directory");
        cluster.programs.hand_over(directory.path());
        let port = free_port();
        let settings = format!(
            "[databases]
             annals = host=127.0.0.1 port={}
             [pgbouncer]
             listen_addr = 127.0.0.1
             listen_port = {port}
             unix_socket_dir =
             auth_type = plain
             auth_file = users
             pool_mode = transaction
             server_login_retry = 1
             logfile = log
            ",
            cluster.port()
        );
        let users = format!("\"postgres\" \"{}\"\n", cluster.password);
        for (name, text) in [("pgbouncer.ini", settings), ("users", users)] {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("a new directory can be written");
            cluster.programs.hand_over(&path);
        }
        let process = cluster
            .programs
            .found_on_path("pgbouncer")
            .args(["-q", "pgbouncer.ini"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`setpriv` of util-linux starts PgBouncer");
        let mut pooler = Self {
            directory,
            port,
            process,
        };
        pooler.wait();
        pooler
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn wait(&mut self) {
        let late = Instant::now() + PATIENCE;
        loop {
            let listens = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
            // Another process may have taken the port before it.
            let ended = self.process.try_wait().expect("it is a child");
            if listens && ended.is_none() {
                return;
            }
            if ended.is_some() || Instant::now() > late {
                let log = self.directory.path().join("log");
                let said = fs::read_to_string(log).unwrap_or_default();
                panic!("PgBouncer did not start ({ended:?}); is it installed?\n{said}");
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
