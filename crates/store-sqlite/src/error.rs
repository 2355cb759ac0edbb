//! From SQLite's result codes to [`StoreErrorKind`].

use annals_core::{StoreError, StoreErrorKind};

/// Turns an error of sqlx into a [`StoreError`]; `doing` fits "failed to ...".
pub(crate) fn failed(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| StoreError::new(kind_of(&error), doing).caused_by(error)
}

/// As [`failed`], for statements on the store's own tables: tests prove that these can be prepared,
/// so when SQLite can't (ERROR), its list of tables is not what was written; and what was written
/// can be read, so that a length beyond all limits (TOOBIG) was not.
pub(crate) fn failed_on_own(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| {
        let kind = match result_code(&error) {
            Some(1 | 18) => StoreErrorKind::Corrupt,
            _ => kind_of(&error),
        };
        StoreError::new(kind, doing).caused_by(error)
    }
}

/// What an error means to a caller, by its result code and never by its text.
pub(crate) fn kind_of(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::Database(_) => result_code(error).map_or(StoreErrorKind::Other, kind_of_code),
        sqlx::Error::PoolTimedOut => StoreErrorKind::Busy,
        sqlx::Error::PoolClosed => StoreErrorKind::Closed,
        sqlx::Error::WorkerCrashed => StoreErrorKind::Unavailable,
        sqlx::Error::Encode(_) => StoreErrorKind::Invalid,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Other,
    }
}

fn result_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// The meaning of a (possibly extended) result code: <https://www.sqlite.org/rescode.html>.
fn kind_of_code(code: u32) -> StoreErrorKind {
    // IOERR_SHMSIZE: the shared memory file, of a fixed and small size, found no space.
    if code == 4874 {
        return StoreErrorKind::StorageFull;
    }
    // Otherwise the upper bytes of an extended code only refine what the lowest one says.
    match code & 0xff {
        5 | 6 => StoreErrorKind::Busy,                   // BUSY, LOCKED
        8 => StoreErrorKind::ReadOnly,                   // READONLY
        3 | 23 => StoreErrorKind::ReadOnly,              // PERM, AUTH
        7 | 10 | 15 | 22 => StoreErrorKind::Unavailable, // NOMEM, IOERR, PROTOCOL, NOLFS
        11 | 26 => StoreErrorKind::Corrupt,              // CORRUPT, NOTADB
        13 => StoreErrorKind::StorageFull,               // FULL
        14 => StoreErrorKind::NotFound,                  // CANTOPEN
        18..=20 | 25 => StoreErrorKind::Invalid,         // TOOBIG, CONSTRAINT, MISMATCH, RANGE
        _ => StoreErrorKind::Other,
    }
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
    fn result_codes_map_to_what_a_caller_can_do() {
        let cases = [
            (5, StoreErrorKind::Busy),
            (261, StoreErrorKind::Busy), // BUSY_RECOVERY
            (517, StoreErrorKind::Busy), // BUSY_SNAPSHOT
            (262, StoreErrorKind::Busy), // LOCKED_SHAREDCACHE
            (8, StoreErrorKind::ReadOnly),
            (1032, StoreErrorKind::ReadOnly), // READONLY_DBMOVED
            (1544, StoreErrorKind::ReadOnly), // READONLY_DIRECTORY
            (13, StoreErrorKind::StorageFull),
            (4874, StoreErrorKind::StorageFull), // IOERR_SHMSIZE
            (14, StoreErrorKind::NotFound),
            (526, StoreErrorKind::NotFound), // CANTOPEN_ISDIR
            (11, StoreErrorKind::Corrupt),
            (267, StoreErrorKind::Corrupt), // CORRUPT_VTAB
            (26, StoreErrorKind::Corrupt),
            (778, StoreErrorKind::Unavailable), // IOERR_WRITE
            (2067, StoreErrorKind::Invalid),    // CONSTRAINT_UNIQUE
            (1, StoreErrorKind::Other),
        ];
        for (code, kind) in cases {
            assert_eq!(kind_of_code(code), kind, "code {code}");
        }
    }
}
