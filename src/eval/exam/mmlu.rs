//! MMLU (Hendrycks et al. 2021): four choices, answered by their letter. The harness' `mmlu`.

use super::choice::{Choices, Metric, Question, index, text};
use crate::data::Fields;
use crate::error::{Error, Result};

/// Rows `{question, choices, answer, subject}`.
pub struct Mmlu;

const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

impl Choices for Mmlu {
    fn question(&self, row: &Fields) -> Result<Question> {
        let choices = row
            .texts("choices")?
            .ok_or_else(|| row.missing("choices"))?;
        if choices.len() != LETTERS.len() {
            return Err(Error::data(format!(
                "`choices` are {}, should be 4",
                choices.len()
            )));
        }
        let mut prompt = format!("{}\n", text(row, "question")?.trim());
        for (letter, choice) in LETTERS.iter().zip(&choices) {
            prompt += &format!("{letter}. {choice}\n");
        }
        prompt += "Answer:";
        let answer = index(row, "answer")?.ok_or_else(|| row.missing("answer"))?;
        let letters = LETTERS.map(String::from).to_vec();
        Ok(Question {
            part: Some(text(row, "subject")?),
            ..Question::new(prompt, letters, answer)?
        })
    }

    fn metrics(&self) -> &'static [Metric] {
        &[Metric::Acc]
    }

    fn headline(&self, part: Option<&str>) -> String {
        let subject = part.unwrap_or_default().replace('_', " ");
        format!("The following are multiple choice questions (with answers) about {subject}.\n\n")
    }
}
