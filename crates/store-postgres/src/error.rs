//! From PostgreSQL's SQLSTATEs to [`StoreErrorKind`].

use annals_core::{StoreError, StoreErrorKind};

/// Turns an error of sqlx into a [`StoreError`]; `doing` fits "failed to ...".
pub(crate) fn failed(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| {
        let kind = kind_of(&error);
        let new = StoreError::new(kind, doing);
        match advice(&error) {
            Some(advice) => new.caused_by(format!("{error}; {advice}")),
            None => new.caused_by(error),
        }
    }
}

/// Like [`failed`], for a store's first connection: whoever is not let in then, or does not trust
/// the server, has a wrong URL, and it is of no use to wait.
pub(crate) fn failed_to_open(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| {
        let cure = match &error {
            sqlx::Error::Database(error) => {
                let code = error.code();
                code.filter(|code| code.starts_with("28")).map(|_| {
                    "; check the user and the password in the URL, and the server's `pg_hba.conf`"
                })
            }
            sqlx::Error::Tls(_) => Some(""),
            // A certificate that is not accepted shows as data that makes no sense.
            sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::InvalidData => Some(
                "; the server's certificate has to name the host, and to be signed by who is \
                 trusted by the system or named by `sslrootcert` in the URL",
            ),
            _ => None,
        };
        match cure {
            Some(cure) => {
                StoreError::new(StoreErrorKind::Invalid, doing).caused_by(format!("{error}{cure}"))
            }
            None => failed(doing)(error),
        }
    }
}

/// The error of a server that leaves a question open for too long.
pub(crate) fn silent(doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, doing).caused_by("the server does not answer")
}

/// What an error means to a caller, by its SQLSTATE and never by its text.
pub(crate) fn kind_of(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .map_or(StoreErrorKind::Other, |code| kind_of_state(&code)),
        // A connection that was cut off shows as any of these.
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        // An encrypted one that could not be made; it may be again.
        | sqlx::Error::Tls(_) => StoreErrorKind::Unavailable,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreErrorKind::Corrupt,
        sqlx::Error::Configuration(_) => StoreErrorKind::Invalid,
        _ => StoreErrorKind::Other,
    }
}

/// The meaning of a SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn kind_of_state(state: &str) -> StoreErrorKind {
    match state {
        // Serialization failure, deadlock, lock not available, object in use, too many
        // connections or more of something than is configured, statement cancelled by a time-out,
        // snapshot too old.
        "40001" | "40P01" | "55P03" | "55006" | "53300" | "53400" | "57014" | "72000" => {
            StoreErrorKind::Busy
        }
        // The server shuts down, crashed or starts up, or the database has gone; the session was
        // ended for being idle or slow; nobody knows how a statement ended; no memory.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25P04" | "40003" | "53200"
        | "53000" => StoreErrorKind::Unavailable,
        "XX001" | "XX002" => StoreErrorKind::Corrupt, // data and index corruption
        "53100" => StoreErrorKind::StorageFull,       // disk full
        "25006" => StoreErrorKind::ReadOnly,          // a standby, or default_transaction_read_only
        // No such database, schema or table.
        "3D000" | "3F000" | "42P01" => StoreErrorKind::NotFound,
        _ => kind_of_class(state.get(..2).unwrap_or_default()),
    }
}

fn kind_of_class(class: &str) -> StoreErrorKind {
    match class {
        "08" => StoreErrorKind::Unavailable, // connection exceptions
        "58" => StoreErrorKind::Unavailable, // system errors, such as I/O
        // Not let in, as while a password is being changed. Whoever opens a store is told that it
        // is wrong: `failed_to_open`.
        "28" => StoreErrorKind::Unavailable,
        // Data exceptions, constraints, wrong names and types, features.
        "22" | "23" | "42" | "0A" | "54" => StoreErrorKind::Invalid,
        _ => StoreErrorKind::Other,
    }
}

/// What to do about errors that have a known cure.
fn advice(error: &sqlx::Error) -> Option<&'static str> {
    let code = error.as_database_error()?.code()?;
    match code.as_ref() {
        // A prepared statement is missing, or there already: the server behind the connection
        // has changed.
        "26000" | "42P05" => Some(
            "a pooler seems to give out connections by transaction: add `?pgbouncer=true` to the URL",
        ),
        "53100" => {
            Some("free some space on the server's disk: what was refused can be tried again then")
        }
        "25006" => Some(
            "the server takes no writes, as a standby does: connect to the primary, or promote it",
        ),
        "42501" => Some("grant it to the role, as the guide's page on PostgreSQL says"),
        "53300" => Some("allow fewer connections with `max_connections`, or more on the server"),
        _ => None,
    }
}

/// Whether a session takes no writes, as on a standby: another one may, once a server has taken
/// the place of the one that it was made to.
pub(crate) fn is_read_only(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::ReadOnly
}

/// Whether a unique index refused a row.
pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_map_to_what_a_caller_can_do() {
        let cases = [
            ("40001", StoreErrorKind::Busy),
            ("40P01", StoreErrorKind::Busy),
            ("55P03", StoreErrorKind::Busy),
            ("53300", StoreErrorKind::Busy),
            ("08006", StoreErrorKind::Unavailable),
            ("57P01", StoreErrorKind::Unavailable),
            ("57P03", StoreErrorKind::Unavailable),
            ("25P03", StoreErrorKind::Unavailable),
            ("57P04", StoreErrorKind::Unavailable), // the database was dropped
            ("40003", StoreErrorKind::Unavailable),
            ("53400", StoreErrorKind::Busy),
            ("72000", StoreErrorKind::Busy),
            ("58030", StoreErrorKind::Unavailable), // I/O error
            ("53100", StoreErrorKind::StorageFull),
            ("25006", StoreErrorKind::ReadOnly),
            ("42501", StoreErrorKind::Invalid), // no privilege
            ("3D000", StoreErrorKind::NotFound),
            ("42P01", StoreErrorKind::NotFound),
            ("28P01", StoreErrorKind::Unavailable), // wrong password
            ("28000", StoreErrorKind::Unavailable),
            ("22021", StoreErrorKind::Invalid), // bytes that are no text
            ("23505", StoreErrorKind::Invalid),
            ("42703", StoreErrorKind::Invalid),
            ("XX001", StoreErrorKind::Corrupt),
            ("XX002", StoreErrorKind::Corrupt),
            ("XX000", StoreErrorKind::Other), // such as "tuple concurrently updated"
            ("55000", StoreErrorKind::Other), // such as `currval` before `nextval`
            ("P0001", StoreErrorKind::Other),
        ];
        for (state, kind) in cases {
            assert_eq!(kind_of_state(state), kind, "SQLSTATE {state}");
        }
    }
}
