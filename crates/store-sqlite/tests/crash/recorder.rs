//! Runs a workload in a process of its own, under the recorder.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The source travels inside the test binary, which therefore does not depend
/// on the directory it is started from.
const SOURCE: &str = include_str!("recorder.c");

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
    let library = compile(scratch)?;
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
    expect_success("the workload process", &output)?;
    Ok(recorded)
}

/// Compiles the shim. A C compiler is no extra demand: bundled `SQLite` could
/// not have been built without one on this machine.
fn compile(scratch: &Path) -> Result<PathBuf, String> {
    let source = scratch.join("recorder.c");
    let library = scratch.join("recorder.so");
    fs::write(&source, SOURCE).map_err(|e| format!("{}: {e}", source.display()))?;
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-pthread", "-o"])
        .args([&library, &source])
        .output()
        .map_err(|e| match e.kind() {
            ErrorKind::NotFound => String::from(
                "the crash tests need a C compiler named cc: install one (Debian and Ubuntu: \
                 apt install gcc libc6-dev; Fedora: dnf install gcc)",
            ),
            _ => format!("cannot start cc: {e}"),
        })?;
    expect_success("the C compiler", &output)?;
    Ok(library)
}

fn expect_success(what: &str, output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{what} failed ({})\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}
