//! The rows that training and judging read. One type per job, each with the place it came from.

use crate::text::{Answer, Prompt, SftText};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a row stood: errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Arc<PathBuf>,
    /// Line in a jsonl file, row number in a parquet file; both from 1.
    pub line: usize,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
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
    /// The responses are a chosen and a rejected one.
    pub is_pair: bool,
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
