//! A file's lines, one at a time.

use std::io::{self, BufRead, Read as _};

/// No row of the format comes near this; a file without line breaks should not fill the memory.
const MAX_LINE_BYTES: u64 = 16 * 1024;

/// Reads lines, and counts them and their bytes.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    number: u64,
    bytes: u64,
}

/// A line that can't be taken in.
#[derive(Debug)]
pub(super) enum LineError {
    /// The file can't be read.
    Io(io::Error),
    /// The line is not text, or too long.
    Malformed {
        /// Where in the line.
        column: usize,
        /// What is wrong.
        what: String,
    },
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            number: 0,
            bytes: 0,
        }
    }

    /// The number of the last line; the first is 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes have been read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line, without its end, or `None` after the last one.
    pub(super) fn next(&mut self) -> Result<Option<&str>, LineError> {
        self.buffer.clear();
        self.number += 1;
        let mut limited = self.reader.by_ref().take(MAX_LINE_BYTES);
        let read = limited
            .read_until(b'\n', &mut self.buffer)
            .map_err(LineError::Io)?;
        if read == 0 {
            return Ok(None);
        }
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        self.bytes += read;
        let ended = self.buffer.pop_if(|byte| *byte == b'\n').is_some();
        if !ended && read == MAX_LINE_BYTES {
            return Err(LineError::Malformed {
                column: 1,
                what: format!("the line is longer than {MAX_LINE_BYTES} bytes"),
            });
        }
        if ended {
            self.buffer.pop_if(|byte| *byte == b'\r');
        }
        match std::str::from_utf8(&self.buffer) {
            // Some spreadsheets mark UTF-8 files so.
            Ok(line) if self.number == 1 => Ok(Some(line.strip_prefix('\u{feff}').unwrap_or(line))),
            Ok(line) => Ok(Some(line)),
            Err(error) => {
                let (valid, _) = self.buffer.split_at(error.valid_up_to());
                Err(LineError::Malformed {
                    column: String::from_utf8_lossy(valid).chars().count() + 1,
                    what: "the line is not UTF-8 text".to_owned(),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(file);
        let mut read = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            read.push(line.to_owned());
        }
        read
    }

    #[test]
    fn line_ends_of_all_systems_and_a_byte_order_mark_are_left_out() {
        assert_eq!(lines(b"\xef\xbb\xbfa\r\nb\n\nc"), ["a", "b", "", "c"]);
        assert_eq!(lines(b""), Vec::<String>::new());
        assert_eq!(lines(b"a\r"), ["a\r"]);
    }

    #[test]
    fn a_line_of_any_length_takes_a_bounded_buffer() {
        let endless = io::repeat(b'x').take(u64::from(u32::MAX));
        let mut lines = Lines::new(io::BufReader::new(endless));
        assert!(matches!(
            lines.next(),
            Err(LineError::Malformed { column: 1, .. })
        ));
        assert!(lines.bytes() <= MAX_LINE_BYTES);
    }

    #[test]
    fn bytes_that_are_no_text_are_found_where_they_stand() {
        let mut lines = Lines::new(&b"ab\xffc\n"[..]);
        assert!(matches!(
            lines.next(),
            Err(LineError::Malformed { column: 3, .. })
        ));
    }
}
