//! Writing a file, so that what stands under its name is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

const BUFFER: usize = 1 << 16;

/// Where a log is written to.
#[derive(Debug)]
pub(in crate::store) enum Destination {
    /// Standard output.
    Stdout(BufWriter<io::Stdout>),
    /// A device or a pipe, which takes what comes.
    Device(BufWriter<File>),
    /// A file that gets its name when it is whole.
    File {
        written: BufWriter<NamedTempFile>,
        name: PathBuf,
        overwrite: bool,
    },
}

impl Destination {
    /// Opens a file, or standard output for `-`.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when there is a file of that name, unless it may be
    /// overwritten; and whatever else is in the way.
    pub(in crate::store) fn open(file: &Path, overwrite: bool) -> io::Result<Self> {
        if file.as_os_str() == "-" {
            let stdout = BufWriter::with_capacity(BUFFER, io::stdout());
            return Ok(Self::Stdout(stdout));
        }
        match fs::metadata(file) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => {
                let device = OpenOptions::new().write(true).open(file)?;
                return Ok(Self::Device(BufWriter::with_capacity(BUFFER, device)));
            }
            Ok(_) if !overwrite => return Err(io::ErrorKind::AlreadyExists.into()),
            _ => {}
        }
        // In the same directory, so that it can be renamed.
        let unfinished = NamedTempFile::with_prefix_in(".annals-export-", directory(file))?;
        Ok(Self::File {
            written: BufWriter::with_capacity(BUFFER, unfinished),
            name: file.to_owned(),
            overwrite,
        })
    }

    /// Whether answers to the operator have to go elsewhere.
    pub(in crate::store) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout(_))
    }

    /// Makes what was written durable, and gives it its name.
    pub(in crate::store) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        let Self::File {
            written,
            name,
            overwrite,
        } = self
        else {
            return Ok(());
        };
        let file = written
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        if overwrite {
            file.persist(&name)?;
        } else {
            file.persist_noclobber(&name)?;
        }
        // The name as well; where directories can't be opened, they need not be.
        File::open(directory(&name)).map_or(Ok(()), |directory| directory.sync_all())
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::Device(device) => device.write(bytes),
            Self::File { written, .. } => written.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::Device(device) => device.flush(),
            Self::File { written, .. } => written.flush(),
        }
    }
}

/// The directory that a file is in.
fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
