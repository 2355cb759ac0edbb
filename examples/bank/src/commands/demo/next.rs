//! What to try after the demo, as it can be pasted where the demo was started.

use std::{
    borrow::Cow,
    env,
    path::{Path, PathBuf},
};

use annals::cli::sqlite_path;

use super::accounts::Accounts;
use crate::commands::error::BankError;

/// Exact commands to go on with.
pub(super) fn what_next(url: &str, accounts: &Accounts) -> Result<String, BankError> {
    if url == "memory:" {
        return Ok(format!(
            "\nThe store `{url}` is gone with this process. Run the demo without --store to keep \
             it in a file and look around in it."
        ));
    }
    let (title, bank, tables) = match sqlite_path(url) {
        Some(path) => {
            let bank = format!("{} --store {}", quoted(&program()), quoted(url));
            let file = path.display().to_string();
            ("What to try next", bank, tables_in(&quoted(&file)))
        }
        // The URL of a server may hold a password, which has no place on a screen.
        None => (
            "What to try next, with ANNALS_STORE set to the URL of this store",
            quoted(&program()).into_owned(),
            String::new(),
        ),
    };
    let stream = accounts.first_stream()?;
    let (account, other) = (accounts.id(0)?, accounts.id(1)?);
    let transfer = accounts.transfer(0)?;
    let owner = accounts.owner(0)?;
    Ok(format!(
        "\n{title}:\n\
         \x20 {bank} projection list\n\
         \x20 {bank} projection rebuild user_balance --verify\n\
         \x20 {bank} stream show {stream} --backwards --limit 10\n\
         \x20 {bank} saga list --state compensated --limit 5\n\
         \x20 {bank} saga show {transfer}\n\
         \x20 {bank} stream tail --follow\n\
         {tables}\
         \x20 {bank} serve\n\
         and while it serves, in another terminal:\n\
         \x20 curl -s localhost:8080/users/{owner}/balance\n\
         \x20 curl -s localhost:8080/accounts/{account}/deposits \
         -H 'Content-Type: application/json' -H 'Idempotency-Key: k1' -d '{{\"amount\": 500}}'\n\
         \x20 curl -s localhost:8080/transfers -H 'Content-Type: application/json' \
         -d '{{\"from\": \"{account}\", \"to\": \"{other}\", \"amount\": 500, \"id\": \"t1\"}}'\n\
         \x20 curl -s localhost:8080/transfers/t1"
    ))
}

/// Queries on a file's tables, each on a line.
fn tables_in(file: &str) -> String {
    format!(
        "\x20 sqlite3 {file} \"SELECT owner, balance FROM user_balance ORDER BY balance DESC LIMIT 5\"\n\
         \x20 sqlite3 {file} \"SELECT * FROM events_json ORDER BY position DESC LIMIT 3\"\n"
    )
}

/// The store's URL as it may be shown: without the user, the password and the parameters.
pub(super) fn shown(url: &str) -> Cow<'_, str> {
    if sqlite_path(url).is_some() {
        return url.into();
    }
    // A password may be a parameter as well.
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}").into(),
        _ => url.into(),
    }
}

/// How this program was called, or where it is below the current directory.
fn program() -> String {
    let called = env::args_os().next().map(PathBuf::from);
    let called = called.unwrap_or_else(|| PathBuf::from("bank"));
    let here = env::current_dir().ok();
    below(&called, here.as_deref()).display().to_string()
}

/// The path as seen from a directory above it; any other as it is.
fn below<'a>(program: &'a Path, directory: Option<&Path>) -> Cow<'a, Path> {
    match directory.and_then(|directory| program.strip_prefix(directory).ok()) {
        // Without a slash, a shell would look for it elsewhere.
        Some(path) if path.components().count() == 1 => Path::new(".").join(path).into(),
        Some(path) => path.into(),
        None => program.into(),
    }
}

/// A word for the shell.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_as_seen_from_the_directory() {
        let below = |program: &str| {
            let program = Path::new(program);
            let seen = below(program, Some(Path::new("/home/me")));
            seen.display().to_string()
        };
        for (program, seen) in [
            ("/home/me/target/release/bank", "target/release/bank"),
            ("/home/me/bank", "./bank"),
            ("/usr/bin/bank", "/usr/bin/bank"),
            ("target/debug/bank", "target/debug/bank"),
            ("bank", "bank"),
        ] {
            assert_eq!(below(program), seen);
        }
    }

    #[test]
    fn no_password_is_shown() {
        for (url, seen) in [
            ("postgres://u:secret@host/db", "postgres://host/db"),
            (
                "postgres://u:p@ss@host:5433/db?schema=x",
                "postgres://host:5433/db",
            ),
            (
                "postgres://host/db?user=u&password=s@cret",
                "postgres://host/db",
            ),
            ("sqlite://me@home/bank.db", "sqlite://me@home/bank.db"),
            ("memory:", "memory:"),
        ] {
            assert_eq!(shown(url), seen);
        }
    }

    #[test]
    fn words_are_quoted_when_a_shell_would_split_them() {
        for (word, shell) in [
            ("sqlite://bank.db", "sqlite://bank.db"),
            ("my bank.db", "'my bank.db'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shell);
        }
    }
}
