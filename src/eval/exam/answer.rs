//! Exams in which the model writes its answer.

use super::mark::Mark;
use crate::data::Fields;
use crate::error::Result;

/// A question to be answered in words, and who marks the answer.
pub struct Asked {
    /// What the model reads, up to where its answer begins.
    pub prompt: String,
    /// The answer as an example shows it, with what stands between it and the prompt.
    pub shown: String,
    /// The part of the exam it belongs to, where the exam has parts.
    pub part: Option<String>,
    /// Marks an answer.
    pub mark: Marker,
}

/// Marks an answer: one mark for each metric, always in the same order.
pub type Marker = Box<dyn Fn(&str) -> Vec<Mark> + Send + Sync>;

/// Rows to questions, and how long an answer may be.
pub trait Answers: Sync {
    /// One row as a question.
    ///
    /// # Errors
    /// A row of another form.
    fn asked(&self, row: &Fields) -> Result<Asked>;

    /// Texts at which an answer ends, beside the model's own end markers: what a model begins the next question with.
    fn stops(&self) -> &'static [&'static str];

    /// The longest answer, in tokens, as the harness has it.
    fn max_new_tokens(&self) -> usize;

    /// Why a well-formed row cannot be marked, if it cannot: such rows are left out and counted.
    fn unusable(&self, _row: &Fields) -> Option<&'static str> {
        None
    }

    /// Whether an answer comes to something that can be marked: one that does not is wrong, and is counted.
    fn has_result(&self, _answer: &str) -> bool {
        true
    }

    /// Whether to mark an answer is to run it.
    fn runs_code(&self) -> bool {
        false
    }

    /// Whether examples can stand before a question.
    fn takes_shots(&self) -> bool {
        true
    }
}
