//! A directory on a disk that fails on demand; it can always be read.
//!
//! Permissions don't bind root, and a small file system needs rights; what lies between a process
//! and its C library works the same for every user.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::shim;

const SOURCE: &str = concat!(
    include_str!("../../../../crates/store-sqlite/tests/storage_faults/failing_disk.c"),
    include_str!("../../../../crates/store-sqlite/tests/crash/opening.c")
);
const NO_SPACE: i32 = 28;
const READ_ONLY: i32 = 30;

/// Makes what processes write below a directory fail.
pub(crate) struct Disk {
    scratch: TempDir,
    library: PathBuf,
    generation: u64,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let library = shim::compile(scratch.path(), "failing_disk", SOURCE).unwrap();
        let mut disk = Self {
            scratch,
            library,
            generation: 0,
        };
        disk.heals();
        disk
    }

    /// Puts a process on this disk, with all that it writes below a directory.
    pub(crate) fn holds(&self, directory: &Path, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAILING_DIRECTORY", directory)
            .env("FAILING_CONTROL", self.control());
    }

    /// From now on, there is space for so many bytes.
    pub(crate) fn has_left(&mut self, bytes: u64) {
        self.order(NO_SPACE, bytes);
    }

    /// From now on, nothing can be written.
    pub(crate) fn turns_read_only(&mut self) {
        self.order(READ_ONLY, 0);
    }

    /// From now on, everything works.
    pub(crate) fn heals(&mut self) {
        self.order(0, 0);
    }

    fn control(&self) -> PathBuf {
        self.scratch.path().join("control")
    }

    fn order(&mut self, error: i32, bytes: u64) {
        self.generation += 1;
        let orders = format!("{} {error} {bytes} 0", self.generation);
        // Renamed into place, so that nobody reads half of it.
        let new = self.scratch.path().join("control.new");
        fs::write(&new, orders).unwrap();
        fs::rename(new, self.control()).unwrap();
    }
}
