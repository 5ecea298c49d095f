//! GSM8K (Cobbe et al. 2021): word problems with a number as their answer. The harness' `gsm8k`.

use super::answer::{Answers, Asked};
use super::choice::text;
use super::mark::Mark;
use crate::data::Fields;
use crate::error::{Error, Result};
use regex::Regex;

/// Rows `{question, answer}`, whose answer ends in `#### 18`, or with a `solution` that does.
pub struct Gsm8k;

impl Answers for Gsm8k {
    fn asked(&self, row: &Fields) -> Result<Asked> {
        let solution = match row.text("solution")? {
            Some(solution) => solution,
            None => text(row, "answer")?,
        };
        let Some((_, right)) = solution.rsplit_once("#### ") else {
            return Err(Error::data("the solution has no line `#### ANSWER`"));
        };
        let right = plain(right);
        let (strict, flexible) = (strict()?, flexible()?);
        Ok(Asked {
            prompt: format!("Question: {}\nAnswer:", text(row, "question")?),
            shown: format!(" {solution}"),
            part: None,
            mark: Box::new(move |answer| {
                let is_right =
                    |found: Option<&str>| found.is_some_and(|found| plain(found) == right);
                let first = strict.captures(answer).and_then(|found| found.get(1));
                let last = flexible.find_iter(answer).last();
                vec![
                    Mark::right(
                        "exact_match,strict-match",
                        is_right(first.map(|m| m.as_str())),
                    ),
                    Mark::right(
                        "exact_match,flexible-extract",
                        is_right(last.map(|m| m.as_str())),
                    ),
                ]
            }),
        })
    }

    fn has_result(&self, answer: &str) -> bool {
        // What both marks look for.
        answer.contains(|sign: char| sign.is_ascii_digit())
    }

    fn stops(&self) -> &'static [&'static str] {
        &["Question:", "</s>", "<|im_end|>"]
    }

    fn max_new_tokens(&self) -> usize {
        256
    }
}

/// The answer as the data set marks it.
fn strict() -> Result<Regex> {
    pattern(r"#### (-?[0-9.,]+)")
}

/// Whatever looks like a number; the last one counts.
fn flexible() -> Result<Regex> {
    pattern(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
}

pub(super) fn pattern(text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|e| Error::internal(format!("the pattern `{text}`: {e}")))
}

/// What the harness ignores: commas, dollar signs, a full stop at the end, case.
fn plain(answer: &str) -> String {
    let answer = answer.trim().replace([',', '$'], "");
    let answer = answer.strip_suffix('.').unwrap_or(&answer);
    answer.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    fn marks(answer: &str) -> [f64; 2] {
        let asked = row(
            r##"{"question": "How many?", "answer": "9*2=18\n#### 1,018"}"##,
            |row| Gsm8k.asked(row),
        );
        let marks = (asked.expect("a question").mark)(answer);
        [marks[0].sum, marks[1].sum]
    }

    /// What `exact_match` of the harness says under its two filters.
    #[test]
    fn the_strict_reading_wants_the_mark_and_the_flexible_one_the_last_number() {
        assert_eq!(marks("So 1018.\n#### 1018"), [1.0, 1.0]);
        assert_eq!(marks("#### 1,018."), [1.0, 1.0]);
        assert_eq!(marks("She makes $1,018."), [0.0, 1.0]);
        // The first mark counts strictly, the last number flexibly.
        assert_eq!(marks("#### 1018\n\nOf 20"), [1.0, 0.0]);
        assert_eq!(marks("1018 eggs in 2 days"), [0.0, 0.0]);
        assert_eq!(marks(""), [0.0, 0.0]);
    }

    #[test]
    fn a_row_without_a_marked_answer_is_refused() {
        let asked = row(r#"{"question": "How many?", "answer": "18"}"#, |row| {
            Gsm8k.asked(row)
        });
        assert!(asked.is_err());
    }
}
