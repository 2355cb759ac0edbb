//! Options that every command takes.

use std::path::PathBuf;

use clap::Args;

/// Options that every command takes.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorOptions {
    /// Where the events are: sqlite://PATH, postgres://... or memory:
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
///
/// A `%` and two hexadecimal digits stand for a byte, as in every URL.
#[must_use]
pub fn sqlite_path(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if path.is_empty() || path == ":memory:" {
        return None;
    }
    String::from_utf8(decoded(path)).ok().map(PathBuf::from)
}

/// Undoes percent-encoding; what is none stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let encoded = others.split_at_checked(2).filter(|_| first == b'%');
        let encoded = encoded.and_then(|(digits, after)| Some((byte(digits)?, after)));
        let (byte, after) = encoded.unwrap_or((first, others));
        bytes.push(byte);
        rest = after;
    }
    bytes
}

/// The byte that two hexadecimal digits stand for.
fn byte(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    let are_digits = digits.chars().all(|c| c.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| are_digits)
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
            ("sqlite://a%20b%3F.db", Some("a b?.db")),
            ("sqlite://100%.db", Some("100%.db")),
            ("sqlite://%+1%4.db", Some("%+1%4.db")),
            ("sqlite://%ff.db", None),
            ("sqlite::memory:", None),
            ("memory:", None),
            ("postgres://host/db", None),
        ] {
            assert_eq!(sqlite_path(url), path.map(PathBuf::from), "{url}");
        }
    }
}
