//! How a saga's stream is named.

use std::fmt;

use crate::name::{InvalidName, StreamName};

/// The category of all sagas' streams.
pub const SAGA_CATEGORY: &str = "saga";

/// The longest name of a kind of saga, in bytes.
const MAX_SAGA_BYTES: usize = 48;

/// The stream of one saga: `saga-transfer:7f3a` for the saga `transfer` with the id `7f3a`.
///
/// # Errors
/// When `name` is not 1 to 48 lower-case ASCII letters, digits or `_`, or the id is empty, too
/// long, or has control characters.
pub fn saga_stream(name: &str, id: &str) -> Result<StreamName, InvalidName> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > MAX_SAGA_BYTES || !name.chars().all(allowed) {
        let problem = "must be 1 to 48 lower-case ASCII letters, digits and `_`";
        return Err(InvalidName::new("saga", name, problem));
    }
    if id.is_empty() {
        return Err(InvalidName::new("saga id", id, "is empty"));
    }
    StreamName::parse(&format!("{SAGA_CATEGORY}-{name}:{id}"))
}

/// A saga by its two names: what kind it is, and which one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SagaName<'a> {
    /// The kind: [`ProcessManager::NAME`](super::ProcessManager::NAME).
    pub saga: &'a str,
    /// Which one.
    pub id: &'a str,
}

impl<'a> SagaName<'a> {
    /// Whose stream this is; `None` when it is no saga's.
    #[must_use]
    pub fn of(stream: &'a StreamName) -> Option<Self> {
        if stream.category() != SAGA_CATEGORY {
            return None;
        }
        let (saga, id) = stream.id().split_once(':')?;
        Some(Self { saga, id })
    }
}

impl fmt::Display for SagaName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.saga, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_tells_whose_it_is() {
        let stream = saga_stream("transfer", "a:b-c").unwrap();
        assert_eq!(stream.as_str(), "saga-transfer:a:b-c");
        let name = SagaName {
            saga: "transfer",
            id: "a:b-c",
        };
        assert_eq!(SagaName::of(&stream), Some(name));
        assert_eq!(
            SagaName::of(&StreamName::parse("account-a:b").unwrap()),
            None
        );
    }

    #[test]
    fn names_that_could_be_confused_are_refused() {
        for name in ["", "a:b", "A", "a b"] {
            assert!(saga_stream(name, "1").is_err(), "{name:?}");
        }
        assert!(saga_stream("transfer", "").is_err());
        assert!(saga_stream("transfer", &"x".repeat(300)).is_err());
    }
}
