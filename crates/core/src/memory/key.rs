//! Keys in the order in which a database would sort them.

use std::cmp::Ordering;

use crate::value::Value;

/// A row's key. Values compare as in SQLite: empty before numbers before text before bytes;
/// numbers by their value, text and bytes by their bytes.
#[derive(Clone, Debug)]
pub(super) struct Key(pub(super) Vec<Value>);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        pairs
            .map(|(a, b)| compare(a, b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Real(a), Value::Real(b)) => compare_reals(*a, *b),
        (Value::Integer(a), Value::Real(b)) => compare_mixed(*a, *b),
        (Value::Real(a), Value::Integer(b)) => compare_mixed(*b, *a).reverse(),
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    }
}

fn compare_reals(a: f64, b: f64) -> Ordering {
    // Adding zero turns -0.0 into 0.0: the two are one key.
    (a + 0.0).total_cmp(&(b + 0.0))
}

/// Compares exactly: large integers have no `f64` of their own.
fn compare_mixed(integer: i64, real: f64) -> Ordering {
    const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;
    if real.is_nan() || real >= BEYOND_I64 {
        return compare_reals(0.0, real);
    }
    if real < -BEYOND_I64 {
        return Ordering::Greater;
    }
    // Truncating is what is wanted: what it cuts off is compared next.
    let whole = real.trunc() as i64;
    integer
        .cmp(&whole)
        .then_with(|| compare_reals(0.0, real.fract()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_in_sqlite() {
        let sorted = [
            Value::Null,
            Value::Real(f64::NEG_INFINITY),
            Value::Integer(i64::MIN),
            Value::Real(-1.5),
            Value::Integer(-1),
            Value::Real(-0.5),
            Value::Integer(0),
            Value::Real(0.5),
            Value::Integer(1),
            Value::Integer(i64::MAX),
            Value::Real(9_223_372_036_854_775_808.0),
            Value::Text(String::new()),
            Value::Text("Z".into()),
            Value::Text("a".into()),
            Value::Text("ä".into()),
            Value::Blob(vec![]),
            Value::Blob(vec![0]),
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                let (left, right) = (Key(vec![a.clone()]), Key(vec![b.clone()]));
                assert_eq!(left.cmp(&right), i.cmp(&j), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn equal_numbers_are_one_key() {
        assert_eq!(
            compare(&Value::Real(-0.0), &Value::Real(0.0)),
            Ordering::Equal
        );
        assert_eq!(
            compare(&Value::Integer(2), &Value::Real(2.0)),
            Ordering::Equal
        );
    }

    #[test]
    fn later_columns_decide_between_equal_first_ones() {
        let key = |a: &str, b: i64| Key(vec![Value::Text(a.into()), Value::Integer(b)]);
        assert!(key("a", 2) < key("b", 1));
        assert!(key("a", 1) < key("a", 2));
    }
}
