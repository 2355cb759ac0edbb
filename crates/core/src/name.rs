//! Validated names: categories, streams, event types and tags.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::id::Id;

/// The longest category, in bytes.
pub const MAX_CATEGORY_BYTES: usize = 64;
/// The longest id, event type or tag, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// The longest stream name: a category, a dash and an id.
pub const MAX_STREAM_BYTES: usize = MAX_CATEGORY_BYTES + 1 + MAX_NAME_BYTES;

/// A name that can't be used; the message says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} {problem}")]
pub struct InvalidName {
    kind: &'static str,
    name: String,
    problem: String,
}

impl InvalidName {
    pub(crate) fn new(kind: &'static str, name: &str, problem: impl Into<String>) -> Self {
        // A rejected name can be of any size; an error message should not be.
        let shown = name.chars().take(60).collect::<String>();
        let name = if shown.len() < name.len() {
            format!("{shown}…")
        } else {
            shown
        };
        Self {
            kind,
            name,
            problem: problem.into(),
        }
    }

    /// What is wrong, as a fragment: `is empty`, `has 300 bytes; 255 are allowed`.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

pub(crate) fn check(kind: &'static str, name: &str, max: usize) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::new(kind, name, "is empty"));
    }
    if name.len() > max {
        let problem = format!("has {} bytes; {max} are allowed", name.len());
        return Err(InvalidName::new(kind, name, problem));
    }
    // Bytes are faster to look at, and nearly every name is plain.
    let plain = name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !plain && name.chars().any(char::is_control) {
        return Err(InvalidName::new(kind, name, "has a control character"));
    }
    Ok(())
}

/// The kind of a stream: the part of its name before the first dash, such as `account`.
///
/// 1 to 64 bytes of lower-case ASCII letters, digits and `_`, starting with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Category(Arc<str>);

impl Category {
    /// Checks and wraps a category.
    ///
    /// # Errors
    /// When the name is not 1 to 64 lower-case ASCII letters, digits or `_`.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        Self::check(name)?;
        Ok(Self(name.into()))
    }

    fn check(name: &str) -> Result<(), InvalidName> {
        check("category", name, MAX_CATEGORY_BYTES)?;
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !starts_well || !name.chars().all(allowed) {
            return Err(InvalidName::new(
                "category",
                name,
                "must be lower-case ASCII letters, digits and `_`, starting with a letter",
            ));
        }
        Ok(())
    }
}

/// The name of a stream: category, dash, id, such as `account-7f3a`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName {
    name: Arc<str>,
    category_bytes: u8,
}

impl StreamName {
    /// The stream of one aggregate instance.
    ///
    /// # Errors
    /// When the id is empty, over 255 bytes, or has control characters.
    pub fn new(category: &Category, id: &impl Id) -> Result<Self, InvalidName> {
        let id = id.to_text();
        check("id", &id, MAX_NAME_BYTES)?;
        Self::parse(&format!("{category}-{id}"))
    }

    /// Checks a whole stream name as it is written in the log.
    ///
    /// # Errors
    /// When it is not a category, a dash and an id.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        check("stream", name, MAX_STREAM_BYTES)?;
        let Some((category, id)) = name.split_once('-') else {
            return Err(InvalidName::new(
                "stream",
                name,
                "has no dash: it must be `category-id`",
            ));
        };
        Category::check(category).map_err(|error| {
            InvalidName::new(
                "stream",
                name,
                format!("has a category that {}", error.problem),
            )
        })?;
        check("id", id, MAX_NAME_BYTES).map_err(|error| {
            InvalidName::new("stream", name, format!("has an id that {}", error.problem))
        })?;
        let category_bytes = u8::try_from(category.len()).unwrap_or(u8::MAX);
        Ok(Self {
            name: name.into(),
            category_bytes,
        })
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The part before the first dash.
    #[must_use]
    pub fn category(&self) -> &str {
        self.name
            .get(..usize::from(self.category_bytes))
            .unwrap_or_default()
    }

    /// The part after the first dash.
    #[must_use]
    pub fn id(&self) -> &str {
        self.name
            .get(usize::from(self.category_bytes) + 1..)
            .unwrap_or_default()
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// The wire name of an event: `account.deposited`. It never depends on a Rust path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventType(Arc<str>);

impl EventType {
    /// Checks and wraps an event type.
    ///
    /// # Errors
    /// When the name is empty, over 255 bytes, or has control characters.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check("event type", name, MAX_NAME_BYTES)?;
        Ok(Self(name.into()))
    }
}

/// A `key:value` mark on an event, for queries and for consistency across streams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Arc<str>);

impl Tag {
    /// A tag from its two halves.
    ///
    /// # Errors
    /// When a half is empty, the whole is over 255 bytes, the key has a colon, or either has
    /// control characters.
    pub fn new(key: &str, value: impl fmt::Display) -> Result<Self, InvalidName> {
        Self::parse(&format!("{key}:{value}"))
    }

    /// Checks a whole tag as it is written in the log.
    ///
    /// # Errors
    /// When it is not `key:value` within the limits.
    pub fn parse(tag: &str) -> Result<Self, InvalidName> {
        check("tag", tag, MAX_NAME_BYTES)?;
        match tag.split_once(':') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok(Self(tag.into())),
            _ => Err(InvalidName::new("tag", tag, "must be `key:value`")),
        }
    }

    /// The part before the first colon.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.split_once(':').map_or("", |(key, _)| key)
    }

    /// The part after the first colon.
    #[must_use]
    pub fn value(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, value)| value)
    }
}

macro_rules! text_name {
    ($name:ident, $parse:ident, $($field:tt)+) => {
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.$($field)+
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.$($field)+)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::$parse(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::$parse(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.$($field)+.as_ref().to_owned()
            }
        }
    };
}

text_name!(Category, new, 0);
text_name!(StreamName, parse, name);
text_name!(EventType, new, 0);
text_name!(Tag, parse, 0);

impl EventType {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Category {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// The whole tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
