//! Compiles what is put between a process and its C library.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Compiles a shim for `LD_PRELOAD`. A C compiler is no extra demand: bundled SQLite could not
/// have been built without one on this machine.
pub(crate) fn compile(scratch: &Path, name: &str, source: &str) -> Result<PathBuf, String> {
    let file = scratch.join(name).with_extension("c");
    let library = scratch.join(name).with_extension("so");
    fs::write(&file, source).map_err(|e| format!("{}: {e}", file.display()))?;
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-pthread", "-o"])
        .args([&library, &file])
        .output()
        .map_err(|e| match e.kind() {
            ErrorKind::NotFound => String::from(
                "the tests with crashes and failing disks need a C compiler named cc: install one \
                 (Debian and Ubuntu: apt install gcc libc6-dev; Fedora: dnf install gcc)",
            ),
            _ => format!("cannot start cc: {e}"),
        })?;
    expect_success("the C compiler", &output)?;
    Ok(library)
}

/// An error with all its output, unless it ended well.
pub(crate) fn expect_success(what: &str, output: &Output) -> Result<(), String> {
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
