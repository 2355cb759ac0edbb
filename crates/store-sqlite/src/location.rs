//! Where a store's file is: `sqlite://PATH` or a plain path.

use std::path::PathBuf;

use annals_core::{StoreError, StoreErrorKind};

/// The file that a URL or a path names.
///
/// After `sqlite:` or `sqlite://` a `%` and two hexadecimal digits stand for a byte, as in every
/// URL; in a plain path they stand for themselves.
pub(crate) fn file_of(location: &str) -> Result<PathBuf, StoreError> {
    let url = location
        .strip_prefix("sqlite://")
        .or_else(|| location.strip_prefix("sqlite:"));
    let path = match url {
        Some(rest) => {
            let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
            if !parameters.is_empty() {
                return Err(invalid(
                    location,
                    "a store takes no URL parameters; write %3F for a `?` in the path",
                ));
            }
            decoded(path).ok_or_else(|| invalid(location, "its path is not UTF-8"))?
        }
        None if location.contains("://") => {
            return Err(invalid(location, "write `sqlite://PATH` or a plain path"));
        }
        None => location.to_owned(),
    };
    if path.is_empty() {
        return Err(invalid(location, "it names no file; write `sqlite://PATH`"));
    }
    if path.contains('\0') {
        return Err(invalid(location, "a path can't have a NUL byte"));
    }
    if path == ":memory:" {
        return Err(invalid(
            location,
            "this store needs a file; for a store in memory write `memory:`",
        ));
    }
    Ok(PathBuf::from(path))
}

fn invalid(location: &str, problem: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Invalid,
        format!("open the store at {location:?}"),
    )
    .caused_by(problem)
}

/// Undoes percent-encoding; what is none stands for itself.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let encoded = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = encoded {
            bytes.push(high * 16 + low);
            rest = others.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_name_files() {
        let cases = [
            ("sqlite://bank.db", "bank.db"),
            ("sqlite:bank.db", "bank.db"),
            ("sqlite:///var/lib/bank.db", "/var/lib/bank.db"),
            ("sqlite://../a b/bank.db", "../a b/bank.db"),
            ("sqlite://a%20b%3F.db", "a b?.db"),
            ("sqlite://100%.db", "100%.db"),
            ("sqlite://%c3%a9.db", "é.db"),
            ("sqlite://bank.db?", "bank.db"),
            ("bank.db", "bank.db"),
            ("/a b/50%25?.db", "/a b/50%25?.db"),
        ];
        for (location, path) in cases {
            assert_eq!(
                file_of(location).unwrap(),
                PathBuf::from(path),
                "{location}"
            );
        }
    }

    #[test]
    fn what_names_no_file_is_invalid() {
        let cases = [
            "",
            "sqlite://",
            "sqlite:",
            "sqlite::memory:",
            ":memory:",
            "postgres://localhost/bank",
            "sqlite://bank.db?mode=ro",
            "sqlite://%ff.db",
            "sqlite://a%00b.db",
        ];
        for location in cases {
            let error = file_of(location).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Invalid, "{location}");
        }
    }
}
