//! The bank's binary in a directory of its own, and what it says when it fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long a command may take to fail, on a machine that does much else.
const SOON: Duration = Duration::from_secs(60);

/// Every command that works on a store, and arguments that are right.
pub(crate) const COMMANDS: [&[&str]; 13] = [
    &["serve", "--listen", "127.0.0.1:0"],
    &["import", "rows.csv"],
    &["demo", "--transactions", "5", "--accounts", "2"],
    &["projection", "list"],
    &["projection", "rebuild", "user_balance"],
    &["projection", "pause", "user_balance"],
    &["projection", "resume", "user_balance"],
    &["projection", "retry", "user_balance"],
    &["stream", "list"],
    &["stream", "show", "account-a"],
    &["stream", "tail"],
    &["store", "verify"],
    &["store", "stats"],
];

/// The one that also works on a store that is not there.
pub(crate) const MIGRATE: &[&str] = &["store", "migrate"];

/// A directory to run the bank in.
pub(crate) struct Bank {
    directory: TempDir,
}

/// What a command wrote, and how it ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bank {
    /// With a file to import, and nothing else.
    pub(crate) fn new() -> Self {
        let bank = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        bank.write(
            "rows.csv",
            "time,type,account,owner,counterparty,amount\n\
             2026-03-01T09:00:00Z,open,a,alice,,\n\
             2026-03-01T09:01:00Z,deposit,a,,,1000\n",
        );
        bank
    }

    /// With a sound store, too: one account with 1000.
    pub(crate) fn with_store() -> Self {
        let bank = Self::new();
        bank.succeeds(&["import", "rows.csv"]);
        bank
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("bank.db")
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    /// A command, on `bank.db` unless it says otherwise.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
        command
            .args(args)
            .current_dir(self.path())
            .env("ANNALS_STORE", "sqlite://bank.db")
            .env("RUST_BACKTRACE", "1")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        let ended = end(&mut self.command(args));
        assert!(ended.status.success(), "{args:?}: {}", ended.stderr);
        ended.stdout
    }

    /// Runs a command that fails with this exit code, and answers what it says.
    pub(crate) fn fails(&self, args: &[&str], code: i32) -> String {
        refusal(&mut self.command(args), code)
    }
}

/// Runs a command that fails with this exit code, and answers what it says.
pub(crate) fn refusal(command: &mut Command, code: i32) -> String {
    let args: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_string_lossy())
        .collect();
    let what = format!("bank {}", args.join(" "));
    let ended = end(command);
    println!("$ {}\n{}", shortened(&what), shortened(&ended.stderr));
    assert_eq!(ended.status.code(), Some(code), "{what}: {}", ended.stderr);
    check(&what, &ended.stderr);
    ended.stderr
}

/// What holds for every message.
pub(crate) fn check(what: &str, message: &str) {
    assert!(message.starts_with("error: "), "{what}: {message}");
    for inside in ["panicked", "RUST_BACKTRACE", "Error {", "Some(", "Os {"] {
        assert!(
            !message.contains(inside),
            "{what} shows {inside}: {message}"
        );
    }
}

/// Runs a command, and kills it when it does not end by itself.
pub(crate) fn end(command: &mut Command) -> Ended {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    let waiting = thread::spawn(move || child.wait_with_output().unwrap());
    let deadline = Instant::now() + SOON;
    while !waiting.is_finished() {
        if Instant::now() > deadline {
            Command::new("kill").arg(id.to_string()).status().unwrap();
            panic!("{command:?} does not end");
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    let output = waiting.join().unwrap();
    Ended {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Without runs of one letter, which only tests write.
fn shortened(text: &str) -> String {
    text.replace(&"x".repeat(100), "x..")
}

/// A process that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
