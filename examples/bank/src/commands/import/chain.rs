//! The command ids that make a repeated import harmless.

use annals::CommandId;
use uuid::Uuid;

use super::fields::Field;

/// Gives each row an id that stands for the row and all rows before it.
///
/// So the same file gives the same ids again, and so do the rows of a file that was only
/// extended, while two equal rows of one file are two commands.
#[derive(Debug)]
pub(super) struct Chain {
    last: Uuid,
    /// Kept for its memory.
    row: String,
}

impl Chain {
    pub(super) fn new() -> Self {
        Self {
            last: Uuid::new_v5(&Uuid::NAMESPACE_OID, b"bank import"),
            row: String::new(),
        }
    }

    /// The id of the next row.
    pub(super) fn next(&mut self, fields: &[Field<'_>]) -> CommandId {
        self.row.clear();
        for field in fields {
            self.row.push_str(&field.text);
            // No field of a sound row has a control character.
            self.row.push('\u{1f}');
        }
        self.last = Uuid::new_v5(&self.last, self.row.as_bytes());
        self.last.into()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fields::split, *};

    fn ids(rows: &[&str]) -> Vec<CommandId> {
        let mut chain = Chain::new();
        rows.iter()
            .map(|row| chain.next(&split(row).unwrap()))
            .collect()
    }

    #[test]
    fn an_extended_file_gives_the_same_ids_and_more() {
        let (file, extended) = (ids(&["a,1", "a,1"]), ids(&["a,1", "\"a\",1", "b,2"]));
        assert_eq!(file[..], extended[..2]);
        assert_ne!(file[0], file[1]);
    }

    #[test]
    fn what_stands_before_a_row_is_part_of_its_id() {
        assert_ne!(ids(&["a,1", "b,2"])[1], ids(&["a,2", "b,2"])[1]);
        assert_ne!(ids(&["a,1"]), ids(&["a1,"]));
    }
}
