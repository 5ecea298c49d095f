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
    /// Right answers, turn by turn, where the row has them and the benchmark shows them.
    pub references: Vec<Option<String>>,
    /// Where the row stood.
    pub origin: Origin,
}

impl Task {
    /// The right answer to the user's turn `turn` (from 0).
    pub fn reference(&self, turn: usize) -> Option<&str> {
        self.references.get(turn)?.as_deref()
    }

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
        turns(row, &["turns", "prompt"])
    }

    /// The part of the benchmark that a row belongs to.
    fn part(&self, row: &Fields) -> Option<String> {
        row.name("category")
    }

    /// Whether the judge of a part is shown right answers.
    fn takes_references(&self, _part: Option<&str>) -> bool {
        true
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

    /// What the replies to [`asks`](Self::asks) about a question of this part come to, in its order: a grade for each, none
    /// where it cannot be read; or what the answer gets of every game, from 0 to 1. None where too little of it can be read.
    fn points(&self, part: Option<&str>, replies: &[String]) -> Option<Vec<Option<f64>>>;
}

/// A row as a question.
///
/// # Errors
/// A row without turns, or with one that is no text.
pub fn task(benchmark: &dyn Benchmark, row: &Fields, id: String, origin: Origin) -> Result<Task> {
    let turns = benchmark.turns(row).filter(|turns| !turns.is_empty());
    let turns = turns.ok_or_else(|| {
        Error::data("the row asks nothing: it has no `turns`, `prompt` or `instruction` that is text throughout").hint(
            "give the published file of questions; `--column prompt=NAME` maps another name of the column",
        )
    })?;
    let named = ["question_id", "uid"]
        .iter()
        .find_map(|name| row.name(name));
    let part = benchmark.part(row);
    let mut references = ["reference", "reference_answer"].iter();
    let references = references
        .find_map(|name| listed(row, name))
        .filter(|_| benchmark.takes_references(part.as_deref()))
        .unwrap_or_default();
    // A blank one is how a table says none.
    let said = |text: &String| !text.trim().is_empty();
    Ok(Task {
        key: benchmark.key(row).unwrap_or_else(|| id.clone()),
        id: named.unwrap_or(id),
        part,
        references: references
            .into_iter()
            .map(|text| text.filter(said))
            .collect(),
        turns,
        origin,
    })
}

/// The turns in the first of these columns that there is. None where one is no text: the later ones would move up.
fn turns(row: &Fields, names: &[&str]) -> Option<Vec<String>> {
    let found = names.iter().find_map(|name| listed(row, name))?;
    found.into_iter().collect()
}

/// A column of turns: text, a list of texts, or a list of messages, of which those of users are taken. What is no text keeps
/// its place.
fn listed(row: &Fields, name: &str) -> Option<Vec<Option<String>>> {
    use serde_json::Value;
    let of_user = |value: &&Value| {
        let role = value.get("role").and_then(Value::as_str);
        role.is_none_or(|role| role == "user")
    };
    let text = |value: &Value| {
        let text = value.get("content").unwrap_or(value).as_str();
        text.map(str::to_owned)
    };
    match row.value(name)? {
        Value::String(text) => Some(vec![Some(text.clone())]),
        Value::Array(items) => Some(items.iter().filter(of_user).map(text).collect()),
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
        let texts =
            |all: &[&str]| -> Vec<String> { all.iter().map(|text| (*text).to_owned()).collect() };
        Task {
            id: "1".to_owned(),
            key: "1".to_owned(),
            turns: texts(turns),
            part: None,
            references: texts(references).into_iter().map(Some).collect(),
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
    fn what_is_no_text_moves_nothing_up() {
        let row = json!({"question_id": 1, "category": "math", "turns": ["a", "b"], "reference": [null, "8"]});
        let found = read(&MtBench, &row).expect("a question");
        assert_eq!((found.reference(0), found.reference(1)), (None, Some("8")));
        let row = json!({"question_id": 1, "turns": [null, "b"], "prompt": "c"});
        let error = read(&MtBench, &row).expect_err("a turn without text");
        assert!(error.message.contains("text throughout"), "{error}");
    }

    #[test]
    fn mt_bench_has_references_where_its_authors_show_them_and_a_blank_one_is_none() {
        let of = |category: &str, reference: &Value| {
            let row = json!({"question_id": 1, "category": category, "turns": ["a"], "reference": reference});
            let found = read(&MtBench, &row).expect("a question");
            found.reference(0).map(str::to_owned)
        };
        for category in ["math", "reasoning", "coding"] {
            assert_eq!(of(category, &json!(["4"])).as_deref(), Some("4"));
        }
        assert_eq!(of("writing", &json!(["Dear sir"])), None);
        for blank in [json!([" "]), json!(""), json!([])] {
            assert_eq!(of("math", &blank), None, "{blank}");
        }
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
