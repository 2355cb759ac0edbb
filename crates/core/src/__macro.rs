//! What the derives' output refers to. Not part of the public interface.

pub use crate::{
    event::{DecodeError, Event, EventSchema, EventSet, UpcastError, Upcaster, decode_event},
    id::{Id, InvalidId, parse_id},
    name::{InvalidName, Tag},
    read_model::{ReadModel, RowError, TableSpec},
    value::{Column, ColumnType, ColumnValue, Row, Value},
};
pub use serde;
pub use std;

use std::{fmt, marker::PhantomData};

use serde::{Deserializer, Serializer, de, ser};

use crate::id::check_id;

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
