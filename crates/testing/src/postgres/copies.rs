//! What operators make of a cluster: backups, standbys, dumps.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{
    cluster::{Cluster, argument},
    programs::run,
};

/// A copy of a cluster's data as it was at one moment.
#[derive(Debug)]
pub struct Backup {
    directory: TempDir,
}

impl Backup {
    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

impl Cluster {
    /// Takes a base backup of the running server.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn base_backup(&self) -> Backup {
        let directory = tempfile::Builder::new()
            .prefix("annals-backup-")
            .tempdir()
            .expect("a temporary directory");
        self.programs.hand_over(directory.path());
        let backup = Backup { directory };
        run(self
            .client("pg_basebackup")
            .args(["--checkpoint=fast", "--no-sync"])
            .arg(argument("--pgdata=", backup.data())));
        backup
    }

    /// Puts a backup in the place of a stopped cluster's data; it can then be started.
    ///
    /// # Panics
    /// When the data can't be replaced.
    pub fn restore(&mut self, backup: Backup) {
        fs::remove_dir_all(self.data()).expect("the old data can be removed");
        fs::rename(backup.data(), self.data()).expect("a backup can be moved");
    }

    /// A standby that follows this server, running.
    ///
    /// # Panics
    /// When it fails.
    pub fn standby(&self) -> Self {
        let mut standby = Self::empty(self.programs.clone(), self.password.clone());
        run(self
            .client("pg_basebackup")
            .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf"])
            .arg(argument("--pgdata=", standby.data())));
        standby.start();
        standby
    }

    /// Lets a standby fall behind: from now on it hears nothing of the server that it followed.
    ///
    /// # Panics
    /// When it is no standby.
    pub fn cut_off(&self) {
        self.sql("ALTER SYSTEM SET primary_conninfo = ''");
        self.reload();
        while !self.sql("SELECT pid FROM pg_stat_wal_receiver").is_empty() {
            std::thread::yield_now();
        }
    }

    /// Makes a standby a server that takes writes.
    ///
    /// # Panics
    /// When it is no standby, or does not become one that does.
    pub fn promote(&self) {
        run(self
            .command("pg_ctl")
            .args(["promote", "--silent", "--wait", "--pgdata"])
            .arg(self.data()));
    }

    /// The whole database as SQL.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        run(self.client("pg_dump").args(["--dbname", "annals"]))
    }

    /// The rows of some tables as SQL.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn dump_data(&self, tables: &[impl AsRef<str>]) -> Vec<u8> {
        let tables = tables
            .iter()
            .map(|table| format!("--table={}", table.as_ref()));
        run(self
            .client("pg_dump")
            .args(["--data-only", "--dbname", "annals"])
            .args(tables))
    }

    /// Runs what [`dump`](Self::dump) or [`dump_data`](Self::dump_data) gave.
    ///
    /// # Panics
    /// When it fails.
    pub fn load(&self, dump: &[u8]) {
        let file = self.directory.path().join("dump.sql");
        fs::write(&file, dump).expect("a dump can be written");
        self.programs.hand_over(&file);
        run(self
            .client("psql")
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"])
            .args(["--single-transaction", "--dbname", "annals"])
            .arg(argument("--file=", &file)));
        fs::remove_file(file).expect("a dump can be removed");
    }
}
