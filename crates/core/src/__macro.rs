//! What the derives' output refers to. Not part of the public interface.

pub use crate::{
    event::{DecodeError, Event, EventSchema, EventSet, UpcastError, Upcaster, decode_event},
    id::{Id, InvalidId},
    name::{InvalidName, Tag},
    read_model::{ReadModel, RowError, TableSpec},
    value::{Column, ColumnType, ColumnValue, Row, Value},
};
pub use serde;
pub use std;

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::id::{check_id, parse_id};

/// What an event enum needs from serde, in one bound with one message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be written to a log and read back",
    label = "needs `Serialize` and `Deserialize`",
    note = "add serde's derives: `#[derive(Event, Serialize, Deserialize)]`"
)]
pub trait SerdePayload: Serialize + for<'de> Deserialize<'de> {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + for<'de> Deserialize<'de>> SerdePayload for T {}

/// What an id can wrap.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the value of an id",
    label = "needs `Display` and `FromStr`",
    note = "an id wraps a `String`, a `Uuid`, an integer, or another type with a text form"
)]
pub trait IdValue: Sized {
    /// The value's text form.
    fn to_text(&self) -> String;

    /// Reads the value of an id of type `kind`.
    ///
    /// # Errors
    /// When the text breaks the rules of all ids, or is not of this type's form.
    fn from_text(kind: &'static str, text: &str) -> Result<Self, InvalidId>;
}

#[diagnostic::do_not_recommend]
impl<T> IdValue for T
where
    T: fmt::Display + FromStr,
    T::Err: fmt::Display,
{
    fn to_text(&self) -> String {
        self.to_string()
    }

    fn from_text(kind: &'static str, text: &str) -> Result<Self, InvalidId> {
        parse_id(kind, text)
    }
}

/// Writes an id as text, unless reading it back would fail.
///
/// # Errors
/// When the text breaks the rules of all ids.
pub fn serialize_id<S: Serializer>(id: &impl Id, serializer: S) -> Result<S::Ok, S::Error> {
    let text = id.to_text();
    check_id(&text).map_err(ser::Error::custom)?;
    serializer.serialize_str(&text)
}

/// Reads an id from text.
///
/// # Errors
/// When the text is not an id of this type.
pub fn deserialize_id<'de, T: Id, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_str(IdVisitor(PhantomData))
}

struct IdVisitor<T>(PhantomData<T>);

impl<T: Id> de::Visitor<'_> for IdVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id as text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }
}

/// The column value of an id.
#[must_use]
pub fn id_to_value(id: &impl Id) -> Value {
    Value::Text(id.to_text().into_owned())
}

/// Reads an id from its column.
///
/// # Errors
/// When the value is not text, or not an id of this type.
pub fn id_from_value<T: Id>(value: Value) -> Result<T, RowError> {
    let text = String::from_value(value)?;
    T::from_text(&text).map_err(|error| RowError::new(error.to_string()))
}
