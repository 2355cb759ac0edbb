//! Runs a workload in a process of its own, under the recorder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shim;

/// The source travels inside the test binary, which therefore does not depend
/// on the directory it is started from.
const SOURCE: &str = concat!(include_str!("recorder.c"), include_str!("opening.c"));

/// A finished recording run.
pub(crate) struct Recorded {
    /// The recording; [`crate::recording::load`] reads it.
    pub(crate) file: PathBuf,
    /// The recorded directory, as the workload left it.
    pub(crate) directory: PathBuf,
}

/// Re-executes this test binary with only the test `entry`, under the
/// recorder, and with `variables` to tell it that (and how) it has to work.
/// Recorder, recording and recorded directory are put below `scratch`.
pub(crate) fn record(
    scratch: &Path,
    entry: &str,
    directory_variable: &str,
    variables: &[(&str, String)],
) -> Result<Recorded, String> {
    let library = shim::compile(scratch, "recorder", SOURCE)?;
    let recorded = Recorded {
        file: scratch.join("recording"),
        directory: scratch.join("store"),
    };
    fs::create_dir(&recorded.directory)
        .map_err(|e| format!("{}: {e}", recorded.directory.display()))?;
    let program = env::current_exe().map_err(|e| format!("own executable unknown: {e}"))?;
    let mut command = Command::new(program);
    command
        .args([entry, "--exact", "--nocapture", "--test-threads=1"])
        .env("LD_PRELOAD", &library)
        .env("CRASH_RECORD_FILE", &recorded.file)
        .env("CRASH_RECORD_DIRECTORY", &recorded.directory)
        .env(directory_variable, &recorded.directory)
        .envs(variables.iter().map(|(name, value)| (name, value)));
    let output = command
        .output()
        .map_err(|e| format!("cannot start the workload: {e}"))?;
    shim::expect_success("the workload process", &output)?;
    Ok(recorded)
}
