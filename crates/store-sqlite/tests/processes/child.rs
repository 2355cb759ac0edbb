//! Both ends of a child process: how a test starts and leads it, and how it enters.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::role::{self, Role};

const ENTRY: &str = "child_process_entry";
const PART: &str = "PROCESSES_PART";

/// No role takes longer; what hangs is to fail with its own name.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// What a child is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) directory: PathBuf,
    pub(crate) seed: u64,
    pub(crate) role: Role,
}

/// A child process; killed when it is let go of too early.
pub(crate) struct Child {
    process: process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    role: Role,
}

impl Child {
    pub(crate) fn start(directory: &Path, seed: u64, role: Role) -> Self {
        let part = Part {
            directory: directory.to_owned(),
            seed,
            role: role.clone(),
        };
        let program = env::current_exe().expect("a program knows where it is");
        let mut process = Command::new(program)
            .args([ENTRY, "--exact", "--nocapture", "--test-threads=1"])
            .env(PART, serde_json::to_string(&part).expect("a part is JSON"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child starts");
        Self {
            input: process.stdin.take().expect("it is piped"),
            output: BufReader::new(process.stdout.take().expect("it is piped")),
            process,
            role,
        }
    }

    pub(crate) fn wait_until_ready(&mut self) {
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            let bytes = self
                .output
                .read_line(&mut line)
                .expect("its output is text");
            assert_ne!(bytes, 0, "{:?} ended before it was ready", self.role);
        }
    }

    pub(crate) fn tell(&mut self, message: &str) {
        writeln!(self.input, "{message}").expect("the child listens");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process
            .try_wait()
            .expect("a child can be asked")
            .is_some()
    }

    /// Kills it with SIGKILL; says no when it has ended by itself.
    pub(crate) fn kill(&mut self) -> bool {
        if self.has_ended() {
            self.finish();
            return false;
        }
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a killed child ends");
        true
    }

    /// Waits for it to end well.
    pub(crate) fn finish(&mut self) {
        let mut output = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut output).expect("its output is text");
        let status = self.process.wait().expect("a child ends");
        assert!(
            status.success(),
            "{:?} failed ({status}):\n{output}",
            self.role
        );
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.process.kill().ok();
            self.process.wait().ok();
        }
    }
}

/// The other end: plays the part that the environment names, if it does.
pub(crate) fn enter() {
    let Ok(part) = env::var(PART) else {
        return;
    };
    let part: Part = serde_json::from_str(&part).expect("the part is what a test has written");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        tokio::time::timeout(TIME_LIMIT, role::play(part))
            .await
            .expect("the part takes too long");
    });
}

/// Says that the child is ready, waits for the word to go, and then listens for up to where a
/// reader is to read; zero stands for not yet known.
pub(crate) async fn ready() -> watch::Receiver<u64> {
    println!("\nready");
    let (sender, until) = watch::channel(0);
    let (go, gone) = tokio::sync::oneshot::channel();
    // A thread rather than a task: nothing can interrupt it, and it need not end.
    std::thread::spawn(move || {
        let mut lines = std::io::stdin().lines();
        assert_eq!(lines.next().expect("a word").expect("text"), "go");
        go.send(()).expect("somebody waits");
        for line in lines.map_while(Result::ok) {
            let position = line.strip_prefix("until ").expect("nothing else is said");
            sender.send_replace(position.parse().expect("a position"));
        }
    });
    gone.await.expect("the word comes");
    until
}
