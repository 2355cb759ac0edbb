//! Many new rows at once, by PostgreSQL's binary COPY.
//!
//! Measured with 100,000 rows of four columns: COPY takes a third of the time of an upsert from
//! arrays, and rows that come in the order of the key two thirds of that of others.

use annals_core::{Column, Row, StoreError, TableSpec, Value};

use super::values;
use crate::{error::failed, transaction::Session};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: [u8; 2] = (-1_i16).to_be_bytes();
/// How many bytes are sent at a time.
const PIECE: usize = 1 << 18;

/// Sends rows, whose keys the table does not have, to a COPY statement.
pub(crate) async fn rows(
    session: &mut Session<'_>,
    statement: &str,
    table: &TableSpec,
    rows: &[Row],
) -> Result<(), StoreError> {
    let doing = || failed(format!("copy rows into `{}`", table.name));
    let columns: Vec<&Column> = table.columns.iter().collect();
    let width = i16::try_from(columns.len()).unwrap_or(i16::MAX);
    // Beforehand: a COPY that is broken off after the server has refused it leaves an answer behind
    // on the connection.
    for row in rows {
        values::check(table, &columns, row)?;
    }
    let pulse = session.pulse;
    pulse.beat();
    let mut copy = session.conn.copy_in_raw(statement).await.map_err(doing())?;
    let mut piece = SIGNATURE.to_vec();
    for row in rows {
        piece.extend(width.to_be_bytes());
        row.iter().for_each(|value| put(&mut piece, value));
        if piece.len() >= PIECE {
            copy.send(&*piece).await.map_err(doing())?;
            pulse.beat();
            piece.clear();
        }
    }
    piece.extend(END);
    copy.send(&*piece).await.map_err(doing())?;
    copy.finish().await.map_err(doing())?;
    pulse.beat();
    Ok(())
}

fn put(piece: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => piece.extend((-1_i32).to_be_bytes()),
        Value::Integer(number) => field(piece, &number.to_be_bytes()),
        Value::Real(number) => field(piece, &number.to_be_bytes()),
        Value::Text(text) => field(piece, text.as_bytes()),
        Value::Blob(bytes) => field(piece, bytes),
    }
}

fn field(piece: &mut Vec<u8>, bytes: &[u8]) {
    // A longer field is refused by the server, which takes a gigabyte at most.
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    piece.extend(length.to_be_bytes());
    piece.extend(bytes);
}
