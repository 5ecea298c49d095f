//! Exams: fixed questions with known right answers, put and marked as lm-evaluation-harness puts and marks them.
//!
//! An exam is one file here and one line in [`EXAMS`]. Three kinds:
//!
//! - [`choice`]: the model does not speak; the likeliest of the given choices is its answer
//! - [`answer`]: the model writes, and a checker reads what it wrote
//! - [`judged`](super::judged): the model writes, and a judge reads what it wrote

pub mod answer;
mod arc;
pub mod choice;
mod gsm8k;
mod hellaswag;
mod humaneval;
mod ifeval;
pub mod mark;
mod math;
mod mmlu;
mod truthfulqa;

pub use answer::{Answers, Asked};
pub use choice::{Choices, Metric, Question};
pub use mark::{ExamReport, Mark, Marked, Score};

use super::judged::{AlpacaEval, ArenaHard, Benchmark, MtBench};

/// How an exam is put.
#[derive(Clone, Copy)]
pub enum Exam {
    /// By the log-likelihood of each choice.
    Choices(&'static dyn Choices),
    /// By what the model writes.
    Answers(&'static dyn Answers),
    /// By what a judge says of what the model writes.
    Judged(&'static dyn Benchmark),
}

/// Every exam with its name.
pub const EXAMS: [(&str, Exam); 12] = [
    ("hellaswag", Exam::Choices(&hellaswag::HellaSwag)),
    ("arc", Exam::Choices(&arc::Arc)),
    ("mmlu", Exam::Choices(&mmlu::Mmlu)),
    ("truthfulqa_mc1", Exam::Choices(&truthfulqa::Mc1)),
    ("truthfulqa_mc2", Exam::Choices(&truthfulqa::Mc2)),
    ("gsm8k", Exam::Answers(&gsm8k::Gsm8k)),
    ("math", Exam::Answers(&math::Math)),
    ("ifeval", Exam::Answers(&ifeval::IfEval)),
    ("humaneval", Exam::Answers(&humaneval::HumanEval)),
    ("alpaca_eval", Exam::Judged(&AlpacaEval)),
    ("arena_hard", Exam::Judged(&ArenaHard)),
    ("mt_bench", Exam::Judged(&MtBench)),
];

#[cfg(test)]
mod tests {
    use crate::data::Fields;
    use crate::error::Result;
    use std::collections::BTreeMap;

    /// What is made of a row that is written as JSON.
    pub(super) fn row<T>(text: &str, read: impl Fn(&Fields) -> Result<T>) -> Result<T> {
        let value = serde_json::from_str(text).expect("JSON");
        let columns = BTreeMap::new();
        read(&Fields::new(&value, &columns)?)
    }
}
