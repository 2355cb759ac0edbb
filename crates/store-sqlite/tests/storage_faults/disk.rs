//! A directory on a disk that fails on demand, and the process that works there.

use std::{
    cell::Cell,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::shim;

const SOURCE: &str = concat!(
    include_str!("failing_disk.c"),
    include_str!("../crash/opening.c")
);
const SCENARIO: &str = "STORAGE_FAULTS_SCENARIO";
const DIRECTORY: &str = "FAILING_DIRECTORY";
const CONTROL: &str = "FAILING_CONTROL";

/// `No space left on device`.
pub(crate) const ENOSPC: i32 = 28;
/// `Read-only file system`.
pub(crate) const EROFS: i32 = 30;
/// `Input/output error`.
pub(crate) const EIO: i32 = 5;

/// Runs a scenario in a process of its own, started again as only the test `entry`, whose files
/// below a directory of its own can be made to fail. Prints what it printed.
pub(crate) fn run(entry: &str, scenario: &str, seed: u64) {
    let scratch = TempDir::new().expect("a temporary directory");
    let directory = scratch.path().join("disk");
    fs::create_dir(&directory).expect("a new directory");
    let library = shim::compile(scratch.path(), "failing_disk", SOURCE).expect("it compiles");
    let program = env::current_exe().expect("a program knows where it is");
    let output = Command::new(program)
        .args([entry, "--exact", "--nocapture", "--test-threads=1"])
        .env("LD_PRELOAD", library)
        .env(DIRECTORY, directory)
        .env(CONTROL, scratch.path().join("control"))
        .env(SCENARIO, format!("{scenario} {seed}"))
        .output()
        .expect("a child starts");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    shim::expect_success(scenario, &output).unwrap_or_else(|error| panic!("{error}"));
}

/// The scenario and seed that this process was started for, if it was.
pub(crate) fn scenario() -> Option<(String, u64)> {
    let text = env::var(SCENARIO).ok()?;
    let (scenario, seed) = text.split_once(' ').expect("a scenario and a seed");
    Some((scenario.to_owned(), seed.parse().expect("a number")))
}

/// The disk, seen from the process that works there.
pub(crate) struct Disk {
    directory: PathBuf,
    control: PathBuf,
    generation: Cell<u64>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let path = |name| PathBuf::from(env::var_os(name).expect("the test has set it"));
        Self {
            directory: path(DIRECTORY),
            control: path(CONTROL),
            generation: Cell::new(0),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// From now on, writes fail with this number after so many more bytes.
    pub(crate) fn fail_writes(&self, errno: i32, after_bytes: usize) {
        self.order(errno, after_bytes, 0);
    }

    /// From now on, syncs fail with this number.
    pub(crate) fn fail_syncs(&self, errno: i32) {
        self.order(0, 0, errno);
    }

    /// Everything works again.
    pub(crate) fn heal(&self) {
        self.order(0, 0, 0);
    }

    fn order(&self, write: i32, bytes: usize, sync: i32) {
        self.generation.set(self.generation.get() + 1);
        let orders = format!("{} {write} {bytes} {sync}", self.generation.get());
        // Renamed into place, so that nobody reads half of it.
        let new = self.control.with_extension("new");
        fs::write(&new, orders).expect("the control file can be written");
        fs::rename(new, &self.control).expect("the control file can be replaced");
    }
}
