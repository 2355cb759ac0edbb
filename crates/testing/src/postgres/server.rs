//! A running postmaster, and who looks after it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Starts the server, says its process id, and listens. One word means that the server has been
/// stopped; when nobody is left to say it, then it stops the server and clears up. Signals from a
/// terminal are not for it.
const GUARD: &str = r#"
trap '' HUP INT TERM
directory=$1
shift
"$@" </dev/null >>"$directory/log" 2>&1 &
echo $!
read -r word || { kill -QUIT $!; wait; rm -rf "$directory"; }
"#;

/// How long a server may take to start; recovery after a kill included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that was started.
#[derive(Debug)]
pub(super) struct Server {
    guard: Child,
    postmaster: u32,
}

impl Server {
    /// Starts a server whose `command` works in `directory`, with its files in `data`; answers when
    /// it takes connections, or with what it said when it ended instead.
    pub(super) fn start(command: &Command, directory: &Path, data: &Path) -> Result<Self, String> {
        let environment = command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(directory)
            .arg(command.get_program())
            .args(command.get_args())
            .envs(environment)
            .current_dir(directory)
            // What kills the group of this process is not to kill who clears up after it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        let mut postmaster = String::new();
        BufReader::new(guard.stdout.take().expect("it is piped"))
            .read_line(&mut postmaster)
            .expect("the shell says a process id");
        let postmaster = postmaster.trim().parse().expect("a process id");
        let server = Self { guard, postmaster };
        let deadline = Instant::now() + PATIENCE;
        while !server.is_ready(data) {
            if !is_alive(postmaster) || Instant::now() > deadline {
                server.kill();
                let said = fs::read_to_string(directory.join("log")).unwrap_or_default();
                let lines: Vec<_> = said.lines().rev().take(20).collect();
                return Err(lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Whether the file that the postmaster keeps says so. It may be one that a killed postmaster
    /// has left behind.
    fn is_ready(&self, data: &Path) -> bool {
        let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = state.lines();
        let whose = lines.next().and_then(|line| line.trim().parse().ok());
        let status = lines.nth(6).unwrap_or_default().trim();
        whose == Some(self.postmaster) && matches!(status, "ready" | "standby")
    }

    /// Sends SIGKILL to the postmaster and all its children, and waits until they are gone.
    pub(super) fn kill(self) {
        // A stopped postmaster starts no more children while they are being counted.
        signal("STOP", &[self.postmaster]);
        let mut all = children(self.postmaster);
        all.push(self.postmaster);
        signal("KILL", &all);
        wait_until_gone(&all);
        self.dismiss();
    }

    /// To be called when the server has been stopped.
    pub(super) fn stopped(self) {
        wait_until_gone(&[self.postmaster]);
        self.dismiss();
    }

    fn dismiss(mut self) {
        let input = self.guard.stdin.as_mut().expect("it is piped");
        writeln!(input, "stopped").expect("the guard listens");
        self.guard.wait().expect("the guard ends");
    }
}

fn signal(name: &str, processes: &[u32]) {
    let numbers = processes.iter().map(u32::to_string);
    // A process that has just ended is no failure.
    Command::new("sh")
        .args([
            "-c",
            "name=$1; shift; for p; do kill -s $name $p; done",
            "kill",
            name,
        ])
        .args(numbers)
        .stderr(Stdio::null())
        .status()
        .expect("a shell starts");
}

fn wait_until_gone(processes: &[u32]) {
    let deadline = Instant::now() + PATIENCE;
    while processes.iter().any(|process| is_alive(*process)) {
        assert!(
            Instant::now() < deadline,
            "one of the processes {processes:?} does not end"
        );
        sleep(Duration::from_millis(2));
    }
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("the processes can be listed");
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|process| status(*process).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// Whether a process runs; one that has ended but was not asked for its status does not.
fn is_alive(process: u32) -> bool {
    status(process).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// The state and the parent of a process.
fn status(process: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it can have spaces and brackets.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.to_owned();
    Some((state, fields.next()?.parse().ok()?))
}
