//! PostgreSQL's own programs: where they are, and as whom they run.

use std::{
    env, fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where distributions put each version's programs, newest last after sorting by number.
const FOLDERS: [&str; 2] = ["/usr/lib/postgresql", "/usr/local/pgsql"];

/// The environment variable that names a folder with the programs of the version to test, in the
/// place of the newest that is installed.
pub const PROGRAMS_VARIABLE: &str = "ANNALS_TEST_POSTGRES_BIN";

const ADVICE: &str = "the programs of PostgreSQL 14 or later are missing: install them \
    (Debian and Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server), \
    or run ./scripts/test, which does";

/// The programs of one version, and the user that they run as.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    /// Set when this process is root's, as which PostgreSQL refuses to run.
    user: Option<User>,
}

#[derive(Clone, Copy, Debug)]
struct User {
    id: u32,
    group: u32,
}

impl Programs {
    /// The programs that [`PROGRAMS_VARIABLE`] names, or else the newest ones of this machine.
    ///
    /// # Panics
    /// When there are none.
    pub(super) fn find() -> Self {
        let folder = named_folder()
            .or_else(newest_folder)
            .or_else(configured_folder)
            .unwrap_or_else(|| panic!("{ADVICE}"));
        let root = number(&["-u"]) == Some(0);
        Self {
            folder,
            user: root.then(|| User::named(&["postgres", "nobody"])),
        }
    }

    /// One of the programs, to be started as the right user.
    pub(super) fn command(&self, program: &str) -> Command {
        let program = self.folder.join(program);
        let Some(user) = self.user else {
            return Command::new(program);
        };
        let mut command = Command::new("setpriv");
        command.args(user.options()).arg(program);
        command
    }

    /// Another program, as the same user, which ends with the thread that starts it.
    pub(super) fn found_on_path(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        if let Some(user) = self.user {
            command.args(user.options());
        }
        command.arg(program);
        command
    }

    /// Gives a directory or file to the user that the programs run as.
    pub(super) fn hand_over(&self, path: &Path) {
        if let Some(user) = self.user {
            chown(path, Some(user.id), Some(user.group)).expect("root may give away what it has");
        }
    }
}

impl User {
    /// What makes `setpriv` become this user.
    fn options(self) -> [String; 3] {
        [
            format!("--reuid={}", self.id),
            format!("--regid={}", self.group),
            "--clear-groups".to_owned(),
        ]
    }

    fn named(names: &[&str]) -> Self {
        let mut found = names.iter().filter_map(|name| {
            Some(Self {
                id: number(&["-u", name])?,
                group: number(&["-g", name])?,
            })
        });
        found.next().unwrap_or_else(|| {
            panic!("PostgreSQL does not run as root, and none of {names:?} is a user")
        })
    }
}

/// Runs a command to its end, and answers what it printed.
///
/// # Panics
/// When it fails, with all that it said.
pub(super) fn run(command: &mut Command) -> Vec<u8> {
    command.stdin(Stdio::null());
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("failed to start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// # Panics
/// When a folder is named that has no server: another version would not be what was asked for.
fn named_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os(PROGRAMS_VARIABLE)?);
    assert!(
        has_server(&folder),
        "{PROGRAMS_VARIABLE} is {}, which has no `initdb` and `postgres`",
        folder.display()
    );
    Some(folder)
}

fn newest_folder() -> Option<PathBuf> {
    let versions = FOLDERS
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    versions
        .filter_map(|path| {
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, folder)| has_server(folder))
        .max()
        .map(|(_, folder)| folder)
}

/// The folder that `pg_config` names, or that of an `initdb` on the path.
fn configured_folder() -> Option<PathBuf> {
    let named = Command::new("pg_config").arg("--bindir").output().ok();
    let named = named.map(|output| String::from_utf8_lossy(&output.stdout).trim().into());
    let on_path = env::var_os("PATH").unwrap_or_default();
    named
        .into_iter()
        .chain(env::split_paths(&on_path))
        .find(|folder: &PathBuf| has_server(folder))
}

fn has_server(folder: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// A number of a user, as `id` tells it; none when there is no such user.
fn number(question: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(question).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}
