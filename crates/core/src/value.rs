//! The values that read-model columns hold, the same on every store.

use std::hash::{Hash, Hasher};

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::{
    order::{Position, Version},
    read_model::RowError,
};

/// A value of a column.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Real(a), Self::Real(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Blob(a), Self::Blob(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Integer(value) => value.hash(state),
            Self::Real(value) => value.to_bits().hash(state),
            Self::Text(value) => value.hash(state),
            Self::Blob(value) => value.hash(state),
        }
    }
}

/// A row: the values in the order of the table's columns.
pub type Row = Vec<Value>;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// 64-bit integers.
    Integer,
    /// Floating-point numbers.
    Real,
    /// Text.
    Text,
    /// Bytes.
    Blob,
}

/// A column of a read model's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub column_type: ColumnType,
    /// Whether it may be empty.
    pub nullable: bool,
    /// Whether it is part of the key.
    pub key: bool,
}

/// A Rust type that a read-model column can hold.
///
/// `#[derive(Id)]` implements it. For a newtype, delegate to the inner type:
///
/// ```
/// use annals_core::{ColumnType, ColumnValue, RowError, Value};
///
/// struct Cents(i64);
///
/// impl ColumnValue for Cents {
///     const TYPE: ColumnType = <i64 as ColumnValue>::TYPE;
///     fn to_value(&self) -> Value { self.0.to_value() }
///     fn from_value(value: Value) -> Result<Self, RowError> { i64::from_value(value).map(Self) }
/// }
/// # assert_eq!(Cents(5).to_value(), Value::Integer(5));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a column of a read model",
    note = "implement `ColumnValue` for it, delegating to the type it wraps"
)]
pub trait ColumnValue: Sized {
    /// What the column holds.
    const TYPE: ColumnType;
    /// Whether the column may be empty.
    const NULLABLE: bool = false;

    /// The value to store.
    fn to_value(&self) -> Value;

    /// Reads a stored value.
    ///
    /// # Errors
    /// When the value is not one of this type.
    fn from_value(value: Value) -> Result<Self, RowError>;
}

macro_rules! integer_column {
    ($($ty:ty),+) => {
        $(impl ColumnValue for $ty {
            const TYPE: ColumnType = ColumnType::Integer;

            fn to_value(&self) -> Value {
                Value::Integer(i64::from(*self))
            }

            fn from_value(value: Value) -> Result<Self, RowError> {
                match value {
                    Value::Integer(number) => {
                        Self::try_from(number).map_err(|_| RowError::out_of_range(number))
                    }
                    other => Err(RowError::wrong_type("an integer", &other)),
                }
            }
        })+
    };
}

integer_column!(i64, i32, i16, u32, u16, u8);

macro_rules! counter_column {
    ($($ty:ty),+) => {
        $(impl ColumnValue for $ty {
            const TYPE: ColumnType = ColumnType::Integer;

            fn to_value(&self) -> Value {
                // Positions and versions are counted from 1 by the store; none comes near i64::MAX.
                Value::Integer(i64::try_from(self.get()).unwrap_or(i64::MAX))
            }

            fn from_value(value: Value) -> Result<Self, RowError> {
                let number = i64::from_value(value)?;
                u64::try_from(number).map(Self::new).map_err(|_| RowError::out_of_range(number))
            }
        })+
    };
}

counter_column!(Position, Version);

macro_rules! plain_column {
    ($($ty:ty, $column:ident, $variant:ident, $what:literal;)+) => {
        $(impl ColumnValue for $ty {
            const TYPE: ColumnType = ColumnType::$column;

            fn to_value(&self) -> Value {
                Value::$variant(self.clone())
            }

            fn from_value(value: Value) -> Result<Self, RowError> {
                match value {
                    Value::$variant(value) => Ok(value),
                    other => Err(RowError::wrong_type($what, &other)),
                }
            }
        })+
    };
}

plain_column! {
    String, Text, Text, "text";
    Vec<u8>, Blob, Blob, "bytes";
    f64, Real, Real, "a real number";
}

impl ColumnValue for bool {
    const TYPE: ColumnType = ColumnType::Integer;

    fn to_value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }

    fn from_value(value: Value) -> Result<Self, RowError> {
        match value {
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            other => Err(RowError::wrong_type("0 or 1", &other)),
        }
    }
}

/// Stored as RFC 3339 text in UTC with microseconds, which sorts by time.
impl ColumnValue for DateTime<Utc> {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        Value::Text(self.to_rfc3339_opts(SecondsFormat::Micros, true))
    }

    fn from_value(value: Value) -> Result<Self, RowError> {
        let text = String::from_value(value)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|time| time.with_timezone(&Utc))
            .map_err(|error| RowError::new(format!("{text:?} is not a time: {error}")))
    }
}

impl ColumnValue for Uuid {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }

    fn from_value(value: Value) -> Result<Self, RowError> {
        let text = String::from_value(value)?;
        text.parse()
            .map_err(|error| RowError::new(format!("{text:?} is not a UUID: {error}")))
    }
}

impl<T: ColumnValue> ColumnValue for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }

    fn from_value(value: Value) -> Result<Self, RowError> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}
