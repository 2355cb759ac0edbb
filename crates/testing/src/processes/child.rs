//! Both ends of a child process: how a test starts and leads it, and how it enters.

use std::{
    env,
    fmt::Debug,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{oneshot, watch};

const PART: &str = "ANNALS_TEST_PART";

/// No part takes longer; what hangs is to fail with its own name.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// A child process; killed when it is let go of too early.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    part: String,
}

impl Child {
    /// Starts this program again with only the test named `entry`, which calls [`enter`], to play
    /// a part.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(entry: &str, part: &(impl Serialize + Debug)) -> Self {
        let program = env::current_exe().expect("a program knows where it is");
        let mut process = Command::new(program)
            .args([entry, "--exact", "--nocapture", "--test-threads=1"])
            .env(PART, serde_json::to_string(part).expect("a part is JSON"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child starts");
        Self {
            input: process.stdin.take().expect("it is piped"),
            output: BufReader::new(process.stdout.take().expect("it is piped")),
            process,
            part: format!("{part:?}"),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it calls [`ready`].
    ///
    /// # Panics
    /// When it ends instead.
    pub fn wait_until_ready(&mut self) {
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            let read = self.output.read_line(&mut line);
            let bytes = read.expect("its output is text");
            assert_ne!(bytes, 0, "{} ended before it was ready", self.part);
        }
    }

    /// Says something to it: `go` first, `until POSITION` later.
    ///
    /// # Panics
    /// When it has ended.
    pub fn tell(&mut self, message: &str) {
        writeln!(self.input, "{message}").expect("the child listens");
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn has_ended(&mut self) -> bool {
        let status = self.process.try_wait();
        status.expect("a child can be asked").is_some()
    }

    /// Kills it with SIGKILL; says no when it has ended well by itself.
    ///
    /// # Panics
    /// When it has failed.
    pub fn kill(&mut self) -> bool {
        if self.has_ended() {
            self.finish();
            return false;
        }
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a killed child ends");
        true
    }

    /// Waits for it to end well.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn finish(&mut self) {
        let mut output = String::new();
        let read = self.output.read_to_string(&mut output);
        read.expect("its output is text");
        let status = self.process.wait().expect("a child ends");
        assert!(
            status.success(),
            "{} failed ({status}):\n{output}",
            self.part
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

/// Starts processes, which begin together once all of them are ready.
///
/// # Panics
/// When one of them can't be started.
#[must_use]
pub fn start_together(
    entry: &str,
    parts: impl IntoIterator<Item = impl Serialize + Debug>,
) -> Vec<Child> {
    let mut children: Vec<_> = parts
        .into_iter()
        .map(|part| Child::start(entry, &part))
        .collect();
    children.iter_mut().for_each(Child::wait_until_ready);
    for child in &mut children {
        child.tell("go");
    }
    children
}

/// The other end: plays the part that the environment names, if it does.
///
/// # Panics
/// When the part fails or takes too long.
pub fn enter<P: DeserializeOwned, F: Future<Output = ()>>(play: impl FnOnce(P) -> F) {
    let Ok(part) = env::var(PART) else {
        return;
    };
    let part = serde_json::from_str(&part).expect("the part is what a test has written");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        let played = tokio::time::timeout(TIME_LIMIT, play(part)).await;
        played.expect("the part takes too long");
    });
}

/// Says that the child is ready, waits for the word to go, and then listens for up to where a
/// reader is to read; zero stands for not yet known.
///
/// # Panics
/// When the test says something else.
pub async fn ready() -> watch::Receiver<u64> {
    println!("\nready");
    let (sender, until) = watch::channel(0);
    let (go, gone) = oneshot::channel();
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
