//! What table `#[derive(ReadModel)]` lays out, and how rows come back.

use annals_core::{ColumnType, Position, ReadModel, Value};

#[derive(ReadModel, Clone, Debug, PartialEq)]
#[read_model(crate = annals_core)]
struct HTTPUserCount {
    #[key]
    owner: String,
    r#type: Option<i64>,
    position: Position,
}

#[derive(ReadModel, Clone, Debug, PartialEq)]
#[read_model(crate = annals_core, table = "balances")]
struct DailyBalance {
    cents: i64,
    #[key]
    day: u32,
    #[key]
    owner: String,
}

fn count() -> HTTPUserCount {
    HTTPUserCount {
        owner: "alice".into(),
        r#type: None,
        position: Position::new(9),
    }
}

#[test]
fn the_table_is_called_like_the_struct_or_as_told() {
    assert_eq!(HTTPUserCount::TABLE.name, "http_user_count");
    assert_eq!(DailyBalance::TABLE.name, "balances");
}

#[test]
fn columns_are_the_fields_with_their_types() {
    let columns = HTTPUserCount::TABLE.columns.iter();
    let columns: Vec<_> = columns
        .map(|it| (it.name, it.column_type, it.nullable, it.key))
        .collect();
    assert_eq!(
        columns,
        [
            ("owner", ColumnType::Text, false, true),
            ("type", ColumnType::Integer, true, false),
            ("position", ColumnType::Integer, false, false),
        ]
    );
}

#[test]
fn a_row_comes_back_as_it_was_written() {
    let row = count();
    assert_eq!(HTTPUserCount::from_row(row.to_row()), Ok(row));
}

#[test]
fn one_key_stands_for_itself() {
    assert_eq!(count().key(), "alice");
    let values = HTTPUserCount::key_values(&count().key());
    assert_eq!(values, [Value::Text("alice".into())]);
}

#[test]
fn several_keys_are_a_tuple_in_the_order_of_the_columns() {
    let row = DailyBalance {
        cents: 5,
        day: 3,
        owner: "alice".into(),
    };
    assert_eq!(row.key(), (3, "alice".to_owned()));
    let values = DailyBalance::key_values(&row.key());
    assert_eq!(values, [Value::Integer(3), Value::Text("alice".into())]);
    assert_eq!(DailyBalance::TABLE.key_of(&row.to_row()), values);
}

#[test]
fn a_row_of_another_width_is_refused() {
    let error = DailyBalance::from_row(vec![Value::Null]).unwrap_err();
    let expected = "a row of `balances` has 1 values instead of 3";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_value_of_another_type_is_refused_with_its_column() {
    let mut row = count().to_row();
    row[1] = Value::Text("x".into());
    let error = HTTPUserCount::from_row(row).unwrap_err().to_string();
    assert!(error.starts_with("column `type`: "), "{error}");
}
