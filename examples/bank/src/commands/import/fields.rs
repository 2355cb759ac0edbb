//! A line's fields, and the column where each begins.
//!
//! The `csv` crate does not tell where in its line a field stands, and takes in rows of any
//! length; a row of this format is one line, so splitting it is all there is to do.

use std::borrow::Cow;

/// A field of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// The column of its first character; the line's first is 1.
    pub(super) column: usize,
    /// What it says, without quotes.
    pub(super) text: Cow<'a, str>,
}

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) column: usize,
    pub(super) what: &'static str,
}

/// Splits a line at its commas; a field may be quoted (RFC 4180), with `""` for a quote.
pub(super) fn split(line: &str) -> Result<Vec<Field<'_>>, BadLine> {
    let mut fields = Vec::with_capacity(8);
    let mut column = 1;
    let mut rest = Some(line);
    while let Some(line) = rest {
        let (text, length, after) = match line.strip_prefix('"') {
            Some(quoted) => unquote(quoted, column)?,
            None => plain(line),
        };
        fields.push(Field { column, text });
        column += length + 1;
        rest = after;
    }
    Ok(fields)
}

/// A field, how many characters it takes in the line, and what follows its comma.
type Taken<'a> = (Cow<'a, str>, usize, Option<&'a str>);

fn plain(line: &str) -> Taken<'_> {
    let (text, rest) = match line.split_once(',') {
        Some((text, rest)) => (text, Some(rest)),
        None => (line, None),
    };
    (text.into(), text.chars().count(), rest)
}

/// Takes a quoted field, whose opening quote stands at `column`.
fn unquote(quoted: &str, column: usize) -> Result<Taken<'_>, BadLine> {
    let mut text = String::new();
    let mut length = 1;
    let mut rest = quoted;
    loop {
        let Some((before, after)) = rest.split_once('"') else {
            let what = "this quote is never closed";
            return Err(BadLine { column, what });
        };
        text.push_str(before);
        length += before.chars().count() + 1;
        if let Some(after) = after.strip_prefix('"') {
            text.push('"');
            length += 1;
            rest = after;
        } else if after.is_empty() {
            return Ok((text.into(), length, None));
        } else if let Some(after) = after.strip_prefix(',') {
            return Ok((text.into(), length, Some(after)));
        } else {
            let column = column + length;
            let what = "a comma should follow the quoted field";
            return Err(BadLine { column, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str) -> Result<Vec<(usize, String)>, BadLine> {
        let fields = split(line)?.into_iter();
        Ok(fields
            .map(|field| (field.column, field.text.into_owned()))
            .collect())
    }

    #[test]
    fn fields_know_their_columns() {
        for (line, expected) in [
            ("", vec![(1, "")]),
            ("a,bc,,d", vec![(1, "a"), (3, "bc"), (6, ""), (7, "d")]),
            ("a,", vec![(1, "a"), (3, "")]),
            ("ä,b", vec![(1, "ä"), (3, "b")]),
            (r#""a,""b""",c"#, vec![(1, r#"a,"b""#), (11, "c")]),
            (r#"a,"","b""#, vec![(1, "a"), (3, ""), (6, "b")]),
            (r#"a"b,c"#, vec![(1, r#"a"b"#), (5, "c")]),
        ] {
            let expected = expected
                .into_iter()
                .map(|(column, text)| (column, text.to_owned()));
            assert_eq!(fields(line), Ok(expected.collect()), "{line}");
        }
    }

    #[test]
    fn broken_quotes_are_found_where_they_stand() {
        for (line, column) in [(r#"a,"b"#, 3), (r#"a,"b"c,d"#, 6), (r#"""#, 1)] {
            assert_eq!(
                fields(line).map_err(|bad| bad.column),
                Err(column),
                "{line}"
            );
        }
    }
}
