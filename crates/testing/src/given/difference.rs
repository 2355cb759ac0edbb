//! How the kit shows what went another way.

use std::fmt::{Debug, Write};

/// A part of a failure's message: its title, and what stands under it.
pub(super) fn section(message: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let _infallible = writeln!(message, "{title}");
    let mut empty = true;
    for line in lines {
        empty = false;
        let _infallible = writeln!(message, "    {line}");
    }
    if empty {
        let _infallible = writeln!(message, "    nothing");
    }
}

/// Items by number, as they come.
pub(super) fn numbered<T: Debug>(items: &[T]) -> Vec<String> {
    let lines = (1..).zip(items).map(|(n, item)| format!("{n}. {item:?}"));
    lines.collect()
}

/// Both lists, line by line: `-` was expected and is not there, `+` is there and was not expected.
pub(super) fn difference<T: Debug + PartialEq>(expected: &[T], actual: &[T]) -> Vec<String> {
    let mut lines = Vec::new();
    for index in 0..expected.len().max(actual.len()) {
        let number = index + 1;
        match (expected.get(index), actual.get(index)) {
            (Some(expected), Some(actual)) if expected == actual => {
                lines.push(format!("  {number}. {actual:?}"));
            }
            (expected, actual) => {
                lines.extend(expected.map(|expected| format!("- {number}. {expected:?}")));
                lines.extend(actual.map(|actual| format!("+ {number}. {actual:?}")));
            }
        }
    }
    lines
}
