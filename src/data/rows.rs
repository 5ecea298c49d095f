//! The rows that training and judging read. One type per job, each with the place it came from.

use crate::text::{Answer, Prompt, SftText};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a row stood: errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Arc<PathBuf>,
    /// Which line or row, from 1.
    pub line: usize,
    /// What is counted.
    pub unit: Unit,
}

/// What the rows of a file are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Lines of a jsonl file.
    Line,
    /// Rows of a parquet file, or of one JSON array.
    Row,
}

impl Origin {
    /// The place in a file that is called `name`: `pairs.jsonl:3`, or `pairs.parquet, row 3`.
    pub fn within(&self, name: &dyn std::fmt::Display) -> String {
        match self.unit {
            Unit::Line => format!("{name}:{}", self.line),
            Unit::Row => format!("{name}, row {}", self.line),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.within(&self.file.display()))
    }
}

/// A prompt and two responses, one preferred.
#[derive(Debug, Clone, PartialEq)]
pub struct Preference {
    /// Stable name of the row: its own `id` field, or its number in the file.
    pub id: String,
    /// What both responses answer.
    pub prompt: Prompt,
    /// The preferred response.
    pub chosen: Answer,
    /// The other one.
    pub rejected: Answer,
    /// By how much `chosen` is better, where the data says so (`margin`, or the difference of the scores).
    pub margin: Option<f32>,
    /// The part of the set it belongs to (`subset`), where the set has parts.
    pub subset: Option<String>,
    /// Where the row stood.
    pub origin: Origin,
}

/// A prompt to respond to, with responses where the file has them.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptRow {
    /// Stable name of the row: its own `id` field, or its number in the file.
    pub id: String,
    /// The prompt.
    pub prompt: Prompt,
    /// Responses already there (`responses`, or `chosen` and `rejected`), for judging.
    pub responses: Vec<String>,
    /// What the file says of them.
    pub noted: Noted,
    /// The responses are a chosen and a rejected one.
    pub is_pair: bool,
    /// The right answer, where the file says it (`answer`).
    pub answer: Option<String>,
    /// Where the row stood.
    pub origin: Origin,
}

/// What a file says of each response beside its words. A list that the file lacks is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Noted {
    /// `finish`: whether it ended by itself (`stop`) or was cut (`length`).
    pub finished: Vec<bool>,
    /// `tokens`: how many it has.
    pub tokens: Vec<usize>,
    /// `rewards`: what a judge gave it.
    pub rewards: Vec<f32>,
}

/// A response that was rated.
#[derive(Debug, Clone, PartialEq)]
pub struct Rating {
    /// Stable name of the row: its own `id` field, or its number in the file.
    pub id: String,
    /// What the response answers.
    pub prompt: Prompt,
    /// The response.
    pub answer: Answer,
    /// One number for each attribute; NaN where nobody rated it.
    pub ratings: Vec<f32>,
    /// Where the row stood.
    pub origin: Origin,
}

/// A conversation to imitate.
#[derive(Debug, Clone, PartialEq)]
pub struct Sft {
    /// Stable name of the row: its own `id` field, or its number in the file.
    pub id: String,
    /// The words, and which of them are learned.
    pub messages: SftText,
    /// Where the row stood.
    pub origin: Origin,
}
