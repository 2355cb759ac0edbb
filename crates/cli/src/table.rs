//! Aligned tables of text.

use std::fmt;

/// Which side of its column a cell stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// For text.
    Left,
    /// For numbers.
    Right,
}

/// A table whose columns are as wide as their widest cell. Its `Display` has no final newline.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

const GAP: &str = "  ";

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new(columns: impl IntoIterator<Item = (&'static str, Align)>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells beyond the last column are left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| name.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        widths
    }

    fn line<'a>(&self, widths: &[usize], cells: impl Iterator<Item = &'a str>) -> String {
        let mut line = String::new();
        for ((cell, (_, align)), &width) in cells.zip(&self.columns).zip(widths) {
            let gap = if line.is_empty() { "" } else { GAP };
            line.push_str(&match align {
                Align::Left => format!("{gap}{cell:<width$}"),
                Align::Right => format!("{gap}{cell:>width$}"),
            });
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        f.write_str(&self.line(&widths, self.columns.iter().map(|(name, _)| *name)))?;
        for row in &self.rows {
            let line = self.line(&widths, row.iter().map(String::as_str));
            write!(f, "\n{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([
            ("name", Align::Left),
            ("lag", Align::Right),
            ("owner", Align::Left),
        ]);
        table.row(["user_balance".into(), "1,200".into(), String::new()]);
        table.row(["größe".into(), "0".into(), "node-1".into()]);
        assert_eq!(
            table.to_string(),
            "name            lag  owner\n\
             user_balance  1,200\n\
             größe             0  node-1"
        );
    }
}
