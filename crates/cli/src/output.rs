//! Standard output: tables for people, JSON for scripts.

use std::io::{ErrorKind, Write as _};

use serde::Serialize;

use crate::error::CliError;

/// Where answers go, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Answers on standard output, as JSON if wanted.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether the answers are for a script.
    #[must_use]
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Writes the one or the other, as was asked for.
    ///
    /// # Errors
    /// When the output is closed or can't be written.
    pub fn answer(
        self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        if self.json {
            self.document(document)
        } else {
            self.line(&text())
        }
    }

    /// Writes a line of text.
    ///
    /// # Errors
    /// When the output is closed or can't be written.
    pub fn line(self, text: &str) -> Result<(), CliError> {
        let mut stdout = std::io::stdout().lock();
        written(writeln!(stdout, "{text}").and_then(|()| stdout.flush()))
    }

    /// Begins an answer of many items: one JSON array, or a line of text for each.
    #[must_use]
    pub(crate) fn list(self) -> List {
        List {
            output: self,
            is_empty: true,
        }
    }

    /// Writes a JSON document on a line of its own.
    ///
    /// # Errors
    /// When the output is closed or can't be written.
    pub fn document(self, document: &impl Serialize) -> Result<(), CliError> {
        self.line(&json(document)?)
    }
}

/// An answer of many items, written as they come so that it may be of any length.
#[derive(Debug)]
pub(crate) struct List {
    output: Output,
    is_empty: bool,
}

impl List {
    /// Whether nothing has been written yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Writes an item.
    pub(crate) fn item(
        &mut self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        if self.output.json {
            let before = if self.is_empty { '[' } else { ',' };
            self.output.line(&format!("{before}{}", json(document)?))?;
        } else {
            self.output.line(&text())?;
        }
        self.is_empty = false;
        Ok(())
    }

    /// Ends the answer.
    pub(crate) fn end(self) -> Result<(), CliError> {
        match (self.output.json, self.is_empty) {
            (true, true) => self.output.line("[]"),
            (true, false) => self.output.line("]"),
            (false, _) => Ok(()),
        }
    }
}

fn json(document: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string(document).map_err(|error| CliError::Output(error.into()))
}

fn written(result: std::io::Result<()>) -> Result<(), CliError> {
    result.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::Output(error),
    })
}
