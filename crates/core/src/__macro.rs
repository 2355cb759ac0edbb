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
