//! How rows are loaded and what became of them.

use super::rows::Origin;
use crate::error::{Error, Result};
use crate::recipe::Data;
use std::collections::BTreeMap;

/// How files are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Leave malformed rows out and list them in the report, instead of stopping at the first.
    pub skip_bad: bool,
    /// The usual name of a column (`prompt`) to the name that it has in the file (`question`).
    pub columns: BTreeMap<String, String>,
    /// Keep only rows whose column (by the file's name) holds this text.
    pub filter: BTreeMap<String, String>,
    /// Keep only pairs in the standard format of "RLHF Workflow": equal, strictly alternating user and assistant turns, none
    /// empty, that differ in the last turn only.
    pub standard_only: bool,
    /// Take plain text prompts as one user turn and plain responses as one assistant turn.
    pub text_as_chat: bool,
    /// Stop after this many rows.
    pub limit: Option<usize>,
    /// Files whose rows can none be used are no error: whoever asks answers for each row of the report.
    pub allow_none: bool,
    /// What every row has to say beside what its shape asks for: one that does not is malformed.
    pub needs: Needs,
}

/// What a command asks of every row, so that a row without it is told, or skipped and counted, where it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Needs {
    /// Nothing more.
    #[default]
    Nothing,
    /// The right `answer`: something compares with it.
    Answer,
    /// Whole solutions, of each of which somebody knows whether it is right.
    Truth,
    /// Solutions in steps, not as a whole: the labels are the steps'.
    Steps,
}

/// What became of the rows of some files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows loaded.
    pub kept: usize,
    /// Malformed rows that were left out, with the reason for each.
    pub skipped: Vec<(Origin, String)>,
    /// Well-formed rows that cannot be used, counted by reason.
    pub dropped: BTreeMap<&'static str, usize>,
    /// The places of those rows, but for the ones that a `filter` was asked to leave out.
    pub left_out: Vec<(Origin, &'static str)>,
}

/// The reason of rows that the recipe's `filter` leaves out.
pub(super) const FILTERED: &str = "not in `filter`";

/// The reason of a line that is no row at all.
pub const EMPTY_LINE: &str = "empty line";

/// Rows that a terminal lists.
const SHOWN: usize = 20;

impl LoadOptions {
    /// Checks that every renamed column is one that duel reads.
    pub(super) fn check(&self) -> Result<()> {
        for name in self.columns.keys() {
            if !Data::COLUMNS.contains(&name.as_str()) {
                return Err(
                    Error::user(format!("no column is called `{name}`")).hint(format!(
                        "columns that can be renamed: {}",
                        Data::COLUMNS.join(", ")
                    )),
                );
            }
        }
        Ok(())
    }
}

impl Report {
    /// Counts a row that cannot be used, and keeps its place.
    pub fn drop(&mut self, reason: &'static str, origin: Origin) {
        *self.dropped.entry(reason).or_default() += 1;
        if reason != FILTERED {
            self.left_out.push((origin, reason));
        }
    }

    /// Every malformed and every dropped row as `file:line: reason`, in the order of the files.
    pub fn lines(&self) -> Vec<String> {
        let malformed = self
            .skipped
            .iter()
            .map(|(origin, reason)| (origin, reason.as_str()));
        let dropped = self
            .left_out
            .iter()
            .map(|(origin, reason)| (origin, *reason));
        let mut files: Vec<&Origin> = Vec::new();
        let mut rows: Vec<(usize, usize, String)> = Vec::new();
        for (origin, reason) in malformed.chain(dropped) {
            let file = match files.iter().position(|known| known.file == origin.file) {
                Some(file) => file,
                None => {
                    files.push(origin);
                    files.len() - 1
                }
            };
            rows.push((file, origin.line, format!("{origin}: {reason}")));
        }
        rows.sort();
        rows.into_iter().map(|(_, _, line)| line).collect()
    }

    /// The first of [`lines`](Self::lines), for a terminal, and how many more there are.
    pub fn first_lines(&self) -> Vec<String> {
        let mut lines = self.lines();
        let more = lines.len().saturating_sub(SHOWN);
        lines.truncate(SHOWN);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    /// Rows seen: kept, skipped and dropped.
    pub fn total(&self) -> usize {
        self.kept + self.skipped.len() + self.dropped.values().sum::<usize>()
    }

    /// One line for people: `"1200 rows, 3 malformed, 12 dropped (chosen and rejected are equal: 12)"`.
    pub fn summary(&self) -> String {
        let rows = if self.kept == 1 { "row" } else { "rows" };
        let mut parts = vec![format!("{} {rows}", self.kept)];
        if !self.skipped.is_empty() {
            parts.push(format!("{} malformed", self.skipped.len()));
        }
        if !self.dropped.is_empty() {
            let reasons: Vec<String> = self
                .dropped
                .iter()
                .map(|(reason, count)| format!("{reason}: {count}"))
                .collect();
            let count: usize = self.dropped.values().sum();
            parts.push(format!("{count} dropped ({})", reasons.join(", ")));
        }
        parts.join(", ")
    }
}
