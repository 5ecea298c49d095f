//! Chat benchmarks: published questions whose answers no checker can mark, so that a judge reads them.
//!
//! A benchmark is one file here and one line in [`EXAMS`](super::exam::EXAMS): where its columns are, how its answers are
//! drawn, what a judge elsewhere is asked and how its reply is read. Two kinds ([`Kind`]): answers are graded one by one, or
//! compared with those of a baseline.
//!
//! What the judge is asked says what the published prompts say, in words of our own, and asks for their exact forms of
//! verdict. Two things are alike in all three and not as published: the whole question is one user's message (no system
//! message), and comparisons are always made in both orders.

mod alpaca_eval;
pub mod answers;
mod arena_hard;
mod mt_bench;
pub mod report;

pub use alpaca_eval::AlpacaEval;
pub use answers::{Given, GivenAnswers};
pub use arena_hard::ArenaHard;
pub use mt_bench::MtBench;
pub use report::{JudgedReport, Judgement};

use crate::data::{Fields, Origin};
use crate::error::{Error, Result};
use crate::text::{Dialogue, Message};

/// What a benchmark makes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A grade for every turn.
    Grades,
    /// Who is the better: the answer, or a baseline's.
    Versus,
}

/// A question: what the user says, turn by turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The row's name.
    pub id: String,
    /// What its answers in other files go by: see [`Benchmark::key`].
    pub key: String,
    /// The user's turns, of which there is at least one.
    pub turns: Vec<String>,
    /// The part of the benchmark that it belongs to.
    pub part: Option<String>,
    /// Right answers, turn by turn, where the row has them.
    pub references: Vec<String>,
    /// Where the row stood.
    pub origin: Origin,
}

impl Task {
    /// The conversation up to the user's turn `turn` (from 0), with the answers that came before it.
    pub fn dialogue(&self, turn: usize, answers: &[String]) -> Dialogue {
        let mut dialogue = Dialogue::new();
        for (asked, answer) in self.turns.iter().zip(answers).take(turn) {
            dialogue.push(Message::user(asked));
            dialogue.push(Message::assistant(answer));
        }
        dialogue.extend(self.turns.get(turn).map(Message::user));
        dialogue
    }
}

/// Rows to questions, answers to what a judge is asked, replies to verdicts.
pub trait Benchmark: Sync {
    /// Grades or comparisons.
    fn kind(&self) -> Kind;

    /// The name that a row's answers in other files have in common with it.
    fn key(&self, row: &Fields) -> Option<String> {
        ["question_id", "uid", "id", "prompt_id"]
            .iter()
            .find_map(|name| row.name(name))
    }

    /// The user's turns in a row.
    fn turns(&self, row: &Fields) -> Option<Vec<String>> {
        ["turns", "prompt"].iter().find_map(|name| turns(row, name))
    }

    /// The part of the benchmark that a row belongs to.
    fn part(&self, row: &Fields) -> Option<String> {
        row.name("category")
    }

    /// At which temperature a question of this part is answered.
    fn temperature(&self, part: Option<&str>) -> f64;

    /// The longest answer, in tokens.
    fn max_new_tokens(&self) -> usize;

    /// The longest reply of a judge, in tokens.
    fn reply_tokens(&self) -> usize;

    /// Whether the rows of the questions hold a baseline's answers.
    fn rows_hold_baseline(&self) -> bool {
        false
    }

    /// Which model's answers a part is compared with in the published numbers.
    fn published_baseline(&self, _part: Option<&str>) -> Option<&'static str> {
        None
    }

    /// What a judge elsewhere is asked about a question's answers: one question for each turn that was answered, or one for
    /// each order of the answer and `baseline`.
    fn asks(&self, task: &Task, answers: &[String], baseline: Option<&str>) -> Vec<String>;

    /// Whether a reply holds a verdict.
    fn says(&self) -> fn(&str) -> bool;

    /// The form that a verdict has, for messages.
    fn wanted(&self) -> &'static str;

    /// What the replies to [`asks`](Self::asks) come to, in its order: a grade for each, none where it cannot be read; or
    /// what the answer gets of every game, from 0 to 1. None where too little of it can be read.
    fn points(&self, replies: &[String]) -> Option<Vec<Option<f64>>>;
}

/// A row as a question.
///
/// # Errors
/// A row without turns.
pub fn task(benchmark: &dyn Benchmark, row: &Fields, id: String, origin: Origin) -> Result<Task> {
    let turns = benchmark.turns(row).filter(|turns| !turns.is_empty());
    let turns = turns.ok_or_else(|| {
        Error::data("the row asks nothing: it has no `turns`, `prompt` or `instruction` of text").hint(
            "give the published file of questions; `--column prompt=NAME` maps another name of the column",
        )
    })?;
    let named = ["question_id", "uid"]
        .iter()
        .find_map(|name| row.name(name));
    let references = ["reference", "reference_answer"];
    Ok(Task {
        key: benchmark.key(row).unwrap_or_else(|| id.clone()),
        id: named.unwrap_or(id),
        part: benchmark.part(row),
        references: references
            .iter()
            .find_map(|name| self::turns(row, name))
            .unwrap_or_default(),
        turns,
        origin,
    })
}

/// A column of turns: text, a list of texts, or a list of messages, of which those of users are taken.
pub(crate) fn turns(row: &Fields, name: &str) -> Option<Vec<String>> {
    use serde_json::Value;
    let turn = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(turn) => {
            let role = turn.get("role").and_then(Value::as_str);
            let text = turn.get("content").and_then(Value::as_str);
            text.filter(|_| role.is_none_or(|role| role == "user"))
                .map(str::to_owned)
        }
        _ => None,
    };
    match row.value(name)? {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => Some(items.iter().filter_map(turn).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{LoadOptions, Shaped, Unit, load_rows};
    use serde_json::{Value, json};
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    /// A question with the key `1`.
    pub(super) fn task(turns: &[&str], references: &[&str]) -> Task {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        Task {
            id: "1".to_owned(),
            key: "1".to_owned(),
            turns: texts(turns),
            part: None,
            references: texts(references),
            origin: Origin {
                file: Arc::new(PathBuf::from("questions.jsonl")),
                line: 1,
                unit: Unit::Line,
            },
        }
    }

    fn read(benchmark: &dyn Benchmark, row: &Value) -> Result<Task> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("questions.jsonl");
        fs::write(&file, row.to_string()).expect("written");
        let rows = load_rows(&[file], &LoadOptions::default(), |row, id, origin| {
            super::task(benchmark, row, id, origin).map(Shaped::Row)
        });
        rows.map(|(mut rows, _)| rows.remove(0))
    }

    #[test]
    fn the_published_rows_of_each_benchmark_are_known() {
        let row = json!({"question_id": 101, "category": "math", "turns": ["a", "b"], "reference": ["1", "2"]});
        let found = read(&MtBench, &row).expect("FastChat's");
        assert_eq!(
            (found.id.as_str(), found.turns.len(), found.references.len()),
            ("101", 2, 2)
        );
        let row =
            json!({"prompt_id": 7, "category": "stem", "prompt": ["a", "b"], "reference": []});
        let found = read(&MtBench, &row).expect("the hub's");
        assert_eq!(
            (found.key.as_str(), found.part.as_deref()),
            ("7", Some("stem"))
        );
        let row =
            json!({"question_id": "q", "category": "arena-hard-v0.1", "turns": [{"content": "a"}]});
        assert_eq!(read(&ArenaHard, &row).expect("v0.1").turns, ["a"]);
        let row = json!({"uid": "u", "category": "hard_prompt", "prompt": "a"});
        assert_eq!(read(&ArenaHard, &row).expect("v2.0").id, "u");
        let row = json!({"instruction": "a", "output": "b", "generator": "g", "dataset": "koala"});
        let found = read(&AlpacaEval, &row).expect("AlpacaEval's");
        assert_eq!(
            (found.key.as_str(), found.part.as_deref()),
            ("a", Some("koala"))
        );
        let error = read(&AlpacaEval, &json!({"output": "b"})).expect_err("no question");
        assert!(error.message.contains("the row asks nothing"), "{error}");
    }

    #[test]
    fn a_conversation_ends_with_the_user() {
        let task = task(&["a", "b"], &[]);
        let dialogue = task.dialogue(1, &["one".to_owned()]);
        assert_eq!(
            dialogue,
            [
                Message::user("a"),
                Message::assistant("one"),
                Message::user("b")
            ]
        );
        assert_eq!(task.dialogue(0, &[]), [Message::user("a")]);
    }
}
