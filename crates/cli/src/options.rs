//! Options that every command takes.

use std::path::PathBuf;

use clap::Args;

/// Options that every command takes.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorOptions {
    /// Where the events are: sqlite://PATH or memory:
    // The value is kept out of the help: it may hold a password.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ANNALS_STORE",
        hide_env_values = true
    )]
    pub store: Option<String>,

    /// Answer with JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,
}

impl OperatorOptions {
    /// The store's URL; settles on `default` when neither option nor environment names one.
    pub fn store_or(&mut self, default: &str) -> &str {
        self.store.get_or_insert_with(|| default.to_owned())
    }
}

/// The file that a `sqlite:` URL names; `None` for any other store.
#[must_use]
pub fn sqlite_path(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_sqlite_url_is_found() {
        for (url, path) in [
            ("sqlite://bank.db", Some("bank.db")),
            ("sqlite:///var/lib/bank.db", Some("/var/lib/bank.db")),
            ("sqlite:bank.db?mode=rw", Some("bank.db")),
            ("sqlite::memory:", None),
            ("memory:", None),
            ("postgres://host/db", None),
        ] {
            assert_eq!(sqlite_path(url), path.map(PathBuf::from), "{url}");
        }
    }
}
