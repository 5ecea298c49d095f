//! Answers that are there already: a model's, or a baseline's, in the forms in which they are published.
//!
//! FastChat and Arena-Hard v0.1 write `choices[0].turns`, Arena-Hard v2.0 `messages`, AlpacaEval `output`; duel itself writes
//! `responses`. Models are named by `model_id`, `model` or `generator`.

use super::{Benchmark, Task};
use crate::data::{Fields, LoadOptions, Report, Shaped, load_rows};
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

/// One model's answers to one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Who gave them, where the row says it.
    pub model: Option<String>,
    /// One for each turn.
    pub turns: Vec<String>,
}

/// Answers by their questions' keys: see [`Benchmark::key`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GivenAnswers {
    by_key: HashMap<String, Vec<Given>>,
}

/// What the row of a turn (from 0) is called after its question: `81`, then `81 (turn 2)`.
pub fn turn_id(id: &str, turn: usize) -> String {
    match turn {
        0 => id.to_owned(),
        _ => format!("{id} (turn {})", turn + 1),
    }
}

impl GivenAnswers {
    /// Reads files of answers; of several answers to a question the order of the files is kept.
    ///
    /// # Errors
    /// Files that cannot be read, rows without an answer unless `options` skip them.
    pub fn load(
        benchmark: &dyn Benchmark,
        files: &[PathBuf],
        options: &LoadOptions,
    ) -> Result<(Self, Report)> {
        let (rows, report) = load_rows(files, options, |row, id, _| {
            let turns = answers(row).ok_or_else(|| {
                Error::data("the row has no answer, or none to a turn before another").hint(
                    "answers stand in `choices[0].turns`, `turns`, `messages`, `output`, `answer` or `responses`",
                )
            })?;
            let model = ["model_id", "model", "generator"]
                .iter()
                .find_map(|name| row.name(name));
            Ok(Shaped::Row((
                benchmark.key(row).unwrap_or(id),
                Given { model, turns },
            )))
        })?;
        let mut by_key: HashMap<String, Vec<Given>> = HashMap::new();
        for (key, given) in rows {
            by_key.entry(key).or_default().push(given);
        }
        Ok((Self { by_key }, report))
    }

    /// The models that the rows name.
    pub fn models(&self) -> BTreeSet<String> {
        let all = self.by_key.values().flatten();
        all.filter_map(|given| given.model.clone()).collect()
    }

    /// The answers to a question, turn by turn: those of `wanted` where several models answered it, else the first.
    pub fn of(&self, task: &Task, wanted: Option<&str>) -> Option<Given> {
        let all = self.by_key.get(&task.key)?;
        let of_wanted = |given: &&Given| given.model.as_deref() == wanted;
        let mut found = all.iter().find(of_wanted).or(all.first())?.clone();
        // duel's own file has a row for each turn.
        for turn in found.turns.len()..task.turns.len() {
            let later = self.by_key.get(&turn_id(&task.key, turn));
            let Some(later) = later.and_then(|rows| rows.first()) else {
                break;
            };
            found.turns.extend(later.turns.first().cloned());
        }
        Some(found)
    }
}

/// Answers one after the other. Nothing behind the last one ends the conversation; none where one between is missing: the
/// later ones would move up.
fn in_turn<'a>(turns: impl Iterator<Item = &'a Value>) -> Option<Vec<String>> {
    let mut texts: Vec<Option<String>> = turns.map(words).collect();
    while texts.pop_if(|text| text.is_none()).is_some() {}
    let texts: Vec<String> = texts.into_iter().collect::<Option<_>>()?;
    (!texts.is_empty()).then_some(texts)
}

/// The answers in a row, turn by turn.
fn answers(row: &Fields) -> Option<Vec<String>> {
    let listed = |value: &Value| in_turn(value.as_array()?.iter());
    let chosen = row.value("choices").and_then(|choices| choices.get(0));
    let chosen = chosen.and_then(|choice| listed(choice.get("turns")?));
    let said = || {
        let messages = row.value("messages")?.as_array()?.iter();
        in_turn(messages.filter(|message| message["role"] == "assistant"))
    };
    let one = || {
        let mut names = ["output", "answer"].iter();
        names.find_map(|name| Some(vec![row.value(name)?.as_str()?.to_owned()]))
    };
    // The responses of one row are several answers to one turn: the first is taken.
    let first = || Some(vec![words(row.value("responses")?.get(0)?)?]);
    chosen
        .or_else(|| listed(row.value("turns")?))
        .or_else(said)
        .or_else(one)
        .or_else(first)
}

/// The words of a turn: text, `content` of text, or `content.answer`.
fn words(turn: &Value) -> Option<String> {
    let content = turn.get("content").unwrap_or(turn);
    let text = content.as_str().or_else(|| content.get("answer")?.as_str());
    text.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::tests::task;
    use super::super::{AlpacaEval, ArenaHard, MtBench};
    use super::*;
    use serde_json::json;
    use std::fs;

    fn load(benchmark: &dyn Benchmark, rows: &[Value]) -> GivenAnswers {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("answers.jsonl");
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        fs::write(&file, lines).expect("written");
        let loaded = GivenAnswers::load(benchmark, &[file], &LoadOptions::default());
        loaded.expect("answers").0
    }

    #[test]
    fn answers_are_read_in_every_published_form() {
        let mut asked = task(&["Hi?", "Why?"], &[]);
        asked.key = "81".to_owned();
        let both = Some(vec!["one".to_owned(), "two".to_owned()]);
        for rows in [
            vec![json!({"question_id": 81, "choices": [{"turns": ["one", "two"]}]})],
            vec![
                json!({"question_id": 81, "choices": [{"turns": [{"content": "one"}, {"content": "two"}]}]}),
            ],
            vec![json!({"id": "81", "turns": ["one", "two"]})],
            vec![
                json!({"id": "81", "prompt": "Hi?", "responses": ["one"]}),
                json!({"id": "81 (turn 2)", "prompt": "Why?", "responses": ["two"]}),
            ],
        ] {
            let found = load(&MtBench, &rows).of(&asked, None);
            assert_eq!(found.map(|given| given.turns), both, "{rows:?}");
        }
        let said = json!({"uid": "81", "messages": [
            {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": {"answer": "one"}}]});
        let found = load(&ArenaHard, &[said]).of(&task(&["Hi?"], &[]), None);
        assert!(found.is_none(), "of another question");
    }

    #[test]
    fn an_answer_that_is_missing_moves_nothing_up() {
        let mut asked = task(&["Hi?", "Why?", "So?"], &[]);
        asked.key = "81".to_owned();
        let row = json!({"question_id": 81, "choices": [{"turns": ["", "two", null]}]});
        let found = load(&MtBench, &[row]).of(&asked, None).expect("there");
        assert_eq!(found.turns, ["", "two"]);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("answers.jsonl");
        for row in [
            json!({"question_id": 81, "turns": ["", null, "three"]}),
            json!({"question_id": 81, "choices": [{"turns": [null, "two"]}]}),
            json!({"question_id": 81, "responses": [null, "another"]}),
        ] {
            fs::write(&file, row.to_string()).expect("written");
            let files = std::slice::from_ref(&file);
            let error = GivenAnswers::load(&MtBench, files, &LoadOptions::default());
            let error = error.expect_err("a hole");
            assert!(error.message.contains("no answer"), "{row}: {error}");
        }
    }

    #[test]
    fn alpaca_evals_answers_go_by_their_instruction_whatever_their_order() {
        let rows = [
            json!({"instruction": "B?", "output": "b", "generator": "x"}),
            json!({"instruction": "A?", "output": "a", "generator": "x"}),
        ];
        let mut asked = task(&["A?"], &[]);
        asked.key = "A?".to_owned();
        let found = load(&AlpacaEval, &rows).of(&asked, None).expect("there");
        assert_eq!(
            (found.turns, found.model),
            (vec!["a".to_owned()], Some("x".to_owned()))
        );
    }

    #[test]
    fn of_several_baselines_the_published_one_is_taken() {
        let rows = [
            json!({"uid": "1", "model": "o3-mini-2025-01-31", "output": "o3"}),
            json!({"uid": "1", "model": "gemini-2.0-flash-001", "output": "gemini"}),
        ];
        let given = load(&ArenaHard, &rows);
        let of = |wanted| given.of(&task(&["?"], &[]), wanted).expect("there").turns;
        assert_eq!(of(Some("gemini-2.0-flash-001")), ["gemini"]);
        assert_eq!(of(Some("gpt-4-0314")), ["o3"]);
        assert_eq!(of(None), ["o3"]);
    }
}
