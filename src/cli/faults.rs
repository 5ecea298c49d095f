//! Rows of a file that have no numbers: each has a line with an `error` where its numbers would stand.

use super::output;
use crate::data::{EMPTY_LINE, Origin, Report};
use crate::error::Result;
use serde_json::{Value, json};
use std::iter::Peekable;
use std::vec::IntoIter;

/// What is printed in the place of such rows, by their lines in the file.
#[derive(Debug, Default)]
pub struct Faults(Vec<(usize, Value)>);

impl Faults {
    /// The rows that the loader left out; they have no name.
    pub fn unread(report: &Report) -> Self {
        let malformed = report
            .skipped
            .iter()
            .map(|(origin, reason)| (origin, reason.as_str()));
        let dropped = report
            .left_out
            .iter()
            .filter(|(_, reason)| *reason != EMPTY_LINE)
            .map(|(origin, reason)| (origin, *reason));
        Self(
            malformed
                .chain(dropped)
                .map(|(at, reason)| (at.line, json!({"line": at.line, "error": reason})))
                .collect(),
        )
    }

    /// Adds a row that was read, and why it has no numbers.
    pub fn add(&mut self, id: &str, origin: &Origin, reason: &str) {
        let line = origin.line;
        self.0
            .push((line, json!({"id": id, "line": line, "error": reason})));
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Ready to be printed between the rows that have numbers.
    pub fn in_order(mut self) -> InOrder {
        self.0.sort_by_key(|(line, _)| *line);
        InOrder(self.0.into_iter().peekable())
    }
}

/// Prints faults where their rows stood.
pub struct InOrder(Peekable<IntoIter<(usize, Value)>>);

impl InOrder {
    /// Those of the lines before `line`.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn print_before(&mut self, line: usize) -> Result<()> {
        while let Some((_, fault)) = self.0.next_if(|(at, _)| *at < line) {
            output::json(&fault)?;
        }
        Ok(())
    }

    /// All that are left.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn print_rest(&mut self) -> Result<()> {
        self.0.try_for_each(|(_, fault)| output::json(&fault))
    }
}
