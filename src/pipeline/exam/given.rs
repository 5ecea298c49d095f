//! Answers that are there already.

use super::{Done, marked};
use crate::data::PromptRow;
use crate::eval::exam::Asked;
use crate::text::Prompt;
use std::collections::{BTreeMap, HashMap};

/// Marks the first response to each question that `rows` have. A response is a question's by its id, and counts where it answers
/// that question's text: files that are not in one order have the same numbers for other questions. Second, the questions that
/// are left out, by reason.
pub fn given(
    rows: &[PromptRow],
    asked: &[(String, Asked)],
) -> (Vec<Done>, BTreeMap<String, usize>) {
    let known: HashMap<&str, &PromptRow> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let mut done = Vec::with_capacity(asked.len());
    let mut left_out = BTreeMap::new();
    for (id, question) in asked {
        let row = known.get(id.as_str());
        let response = row.and_then(|row| row.responses.first());
        let why = match (row, response) {
            (Some(row), Some(response)) if answers(row, question) => {
                done.push(marked(id, question, response.clone()));
                continue;
            }
            (Some(_), Some(_)) => "the response of that id answers another question",
            _ => "no response of that id",
        };
        *left_out.entry(why.to_owned()).or_default() += 1;
    }
    (done, left_out)
}

/// Whether the row's prompt is the question: an exam puts words around it, and whoever asked may have put examples before it.
fn answers(row: &PromptRow, question: &Asked) -> bool {
    let text = match &row.prompt {
        Prompt::Text(text) => text.trim(),
        Prompt::Chat(turns) => turns.last().map_or("", |turn| turn.content.trim()),
        // What the ids say only their tokenizer knows.
        Prompt::Ids(_) => return true,
    };
    let asked = question.prompt.trim();
    !text.is_empty() && (asked.contains(text) || text.contains(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{LoadOptions, Noted, Origin, Unit};

    fn row(id: &str, prompt: &str) -> PromptRow {
        PromptRow {
            id: id.into(),
            prompt: Prompt::Text(prompt.into()),
            responses: vec!["an answer".into()],
            noted: Noted::default(),
            is_pair: false,
            answer: None,
            origin: Origin {
                file: Default::default(),
                line: 1,
                unit: Unit::Line,
            },
        }
    }

    fn question(id: &str, prompt: &str) -> (String, Asked) {
        let asked = Asked {
            prompt: format!("Question: {prompt}\nAnswer:"),
            shown: String::new(),
            part: None,
            mark: Box::new(|_| Vec::new()),
        };
        (id.into(), asked)
    }

    #[test]
    fn a_response_counts_for_the_question_that_it_answers_alone() {
        let rows = [
            row("1", "How many cats?"),
            row("2", "How many dogs?"),
            row("3", "Question: What is the sun?\nAnswer:"),
        ];
        let asked = [
            question("1", "How many cats?"),
            question("2", "How many hats?"),
            question("3", "What is the sun?"),
            question("4", "Who are you?"),
        ];
        let (done, left_out) = given(&rows, &asked);
        let ids: Vec<&str> = done.iter().map(|done| done.id.as_str()).collect();
        assert_eq!(ids, ["1", "3"]);
        let other = "the response of that id answers another question".to_owned();
        let none = "no response of that id".to_owned();
        assert_eq!(left_out, BTreeMap::from([(other, 1), (none, 1)]));
    }

    /// IFEval's rows have a `key` and no `id`.
    #[test]
    fn a_key_is_a_name_where_there_is_no_id() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.jsonl");
        let rows =
            "{\"key\": 1000, \"prompt\": \"a\"}\n{\"id\": \"x\", \"key\": 3, \"prompt\": \"b\"}\n";
        std::fs::write(&path, rows).expect("written");
        let (rows, _) =
            crate::data::load_prompts(&[path], &LoadOptions::default()).expect("loaded");
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["1000", "x"]);
    }
}
