//! ARC, easy and challenge (Clark et al. 2018): science questions of school tests. The harness' `arc_easy` and
//! `arc_challenge`, which differ by their file alone.

use super::choice::{Choices, Metric, Question, index, text};
use crate::data::Fields;
use crate::error::{Error, Result};
use serde_json::Value;

/// Rows `{question, choices: {text, label}, answerKey}` as published, or `{question, choices, answer}`.
pub struct Arc;

impl Choices for Arc {
    fn question(&self, row: &Fields) -> Result<Question> {
        let prompt = format!("Question: {}\nAnswer:", text(row, "question")?);
        let (choices, answer) = match row.value("choices") {
            Some(Value::Object(_)) => published(row)?,
            _ => (
                row.texts("choices")?
                    .ok_or_else(|| row.missing("choices"))?,
                index(row, "answer")?.ok_or_else(|| row.missing("answer"))?,
            ),
        };
        Question::new(prompt, choices, answer)
    }

    fn metrics(&self) -> &'static [Metric] {
        &[Metric::Acc, Metric::AccNorm]
    }
}

/// The choices and the place of the one whose label is the key; labels are letters in some rows, digits in others.
fn published(row: &Fields) -> Result<(Vec<String>, usize)> {
    let list = |name: &str| -> Option<Vec<String>> {
        let items = row.value("choices")?.get(name)?.as_array()?;
        items
            .iter()
            .map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    let (Some(texts), Some(labels)) = (list("text"), list("label")) else {
        return Err(Error::data("`choices` has no lists `text` and `label`"));
    };
    let key = text(row, "answerKey")?;
    let answer = labels.iter().position(|label| *label == key);
    match answer {
        Some(answer) => Ok((texts, answer)),
        None => Err(Error::data(format!(
            "`answerKey` is `{key}`, which is no label of the choices"
        ))),
    }
}
