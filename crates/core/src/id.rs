//! Typed ids: the user's own ([`Id`]) and the framework's ([`EventId`], [`CommandId`], ...).

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::{InvalidName, MAX_NAME_BYTES, check};

/// Identifies one aggregate instance, user or other thing by a value that has a text form.
///
/// Derive it for a newtype over `String`, `Uuid` or an integer; the derive also gives
/// `Display`, `FromStr`, `Serialize` and `Deserialize`, all of which check the value.
///
/// ```
/// use annals_core::Id;
///
/// #[derive(Id, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// #[id(crate = annals_core)]
/// struct AccountId(String);
///
/// let id: AccountId = "alice-1".parse()?;
/// assert_eq!(id.to_string(), "alice-1");
/// assert!("".parse::<AccountId>().is_err());
/// # Ok::<_, annals_core::InvalidId>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an id",
    note = "write `#[derive(Id, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)] struct {Self}(String);`"
)]
pub trait Id: Clone + Send + Sync + 'static {
    /// The id as it stands in stream names, tags and read models.
    fn to_text(&self) -> Cow<'_, str>;

    /// Reads an id from its text.
    ///
    /// # Errors
    /// When the text is empty, over 255 bytes, has control characters, or is not of this
    /// id's form.
    fn from_text(text: &str) -> Result<Self, InvalidId>;
}

/// A text that is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty, too long, or has control characters.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The text is not of the form that the id's inner type has.
    #[error("{text:?} is not a valid {kind}: {problem}")]
    Form {
        /// The id type.
        kind: &'static str,
        /// The text, shortened.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Checks the rules that every id's text obeys: 1 to 255 bytes, no control characters.
///
/// # Errors
/// When the text breaks one of them.
pub fn check_id(text: &str) -> Result<(), InvalidId> {
    Ok(check("id", text, MAX_NAME_BYTES)?)
}

/// Reads the inner value of an id; what `#[derive(Id)]` calls.
///
/// # Errors
/// When the text breaks the rules of all ids or is not a `T`.
pub fn parse_id<T>(kind: &'static str, text: &str) -> Result<T, InvalidId>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    check_id(text)?;
    text.parse().map_err(|error: T::Err| InvalidId::Form {
        kind,
        text: text.chars().take(60).collect(),
        problem: error.to_string(),
    })
}

impl Id for String {
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }

    fn from_text(text: &str) -> Result<Self, InvalidId> {
        parse_id("text", text)
    }
}

impl Id for Uuid {
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }

    fn from_text(text: &str) -> Result<Self, InvalidId> {
        parse_id("UUID", text)
    }
}

macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::from_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// Identifies an event: a UUIDv7, so ids sort roughly by time.
    EventId
}
uuid_id! {
    /// Identifies an append, so that repeating it answers as the first time and appends nothing.
    AppendId
}
uuid_id! {
    /// Identifies a command, so that repeating it answers as the first time and appends nothing.
    CommandId
}
uuid_id! {
    /// Joins everything that one request from outside brought about.
    CorrelationId
}
uuid_id! {
    /// What directly caused an event: the id of a command or of another event.
    CausationId
}

impl CommandId {
    /// The command id for a text key, such as an HTTP `Idempotency-Key`, within a scope.
    ///
    /// The same scope and key always give the same id (a UUIDv5).
    ///
    /// ```
    /// use annals_core::CommandId;
    /// assert_eq!(CommandId::from_key("deposits", "k1"), CommandId::from_key("deposits", "k1"));
    /// assert_ne!(CommandId::from_key("deposits", "k1"), CommandId::from_key("closings", "k1"));
    /// ```
    #[must_use]
    pub fn from_key(scope: &str, key: &str) -> Self {
        let scope = Uuid::new_v5(&Uuid::NAMESPACE_OID, scope.as_bytes());
        Self(Uuid::new_v5(&scope, key.as_bytes()))
    }
}

impl From<CommandId> for AppendId {
    fn from(id: CommandId) -> Self {
        Self(id.0)
    }
}

impl From<CommandId> for CausationId {
    fn from(id: CommandId) -> Self {
        Self(id.0)
    }
}

impl From<EventId> for CausationId {
    fn from(id: EventId) -> Self {
        Self(id.0)
    }
}

impl From<CommandId> for CorrelationId {
    fn from(id: CommandId) -> Self {
        Self(id.0)
    }
}
