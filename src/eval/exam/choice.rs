//! Exams in which the likeliest of the given choices is the model's answer.

use crate::data::Fields;
use crate::error::{Error, Result};
use serde_json::Value;

/// A question with its choices.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What the model reads before a choice. A blank is put between the two.
    pub prompt: String,
    /// The choices, whose log-likelihoods are compared.
    pub choices: Vec<String>,
    /// Which of them are right.
    pub right: Vec<bool>,
    /// The part of the exam it belongs to (MMLU's subject), where the exam has parts.
    pub part: Option<String>,
}

impl Question {
    /// A question with one right choice.
    ///
    /// # Errors
    /// Less than two choices, an empty one, or an answer that is none of them.
    pub fn new(prompt: String, choices: Vec<String>, answer: usize) -> Result<Self> {
        let right = (0..choices.len()).map(|i| i == answer).collect();
        Self::with_right(prompt, choices, right)
    }

    /// A question of whose choices several may be right.
    ///
    /// # Errors
    /// Less than two choices, an empty one, or no right one.
    pub fn with_right(prompt: String, choices: Vec<String>, right: Vec<bool>) -> Result<Self> {
        if choices.len() < 2 {
            let fact = format!(
                "the question has {} choices, which is no choice",
                choices.len()
            );
            return Err(Error::data(fact));
        }
        if let Some(at) = choices.iter().position(|choice| choice.trim().is_empty()) {
            return Err(Error::data(format!("choice {at} of the question is empty")));
        }
        if right.len() != choices.len() || !right.contains(&true) {
            return Err(Error::data(format!(
                "none of the question's {} choices is the right one",
                choices.len()
            )));
        }
        Ok(Self {
            prompt,
            choices,
            right,
            part: None,
        })
    }

    /// The first right choice: what an example shows.
    pub fn answer(&self) -> &str {
        let at = self.right.iter().position(|right| *right);
        at.map_or("", |at| &self.choices[at])
    }
}

/// Rows to questions, and what is measured on them.
pub trait Choices: Sync {
    /// One row as a question.
    ///
    /// # Errors
    /// A row of another form.
    fn question(&self, row: &Fields) -> Result<Question>;

    /// What is measured.
    fn metrics(&self) -> &'static [Metric];

    /// What stands once before the examples and the question.
    fn headline(&self, _part: Option<&str>) -> String {
        String::new()
    }

    /// Whether examples can stand before a question.
    fn takes_shots(&self) -> bool {
        true
    }
}

/// What the log-likelihoods of the choices come to; the harness' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// 1 if the likeliest choice is right.
    Acc,
    /// 1 if the choice with the highest log-likelihood a character is right: long choices are not punished for their
    /// length. Characters are Unicode's, as Python counts them.
    AccNorm,
    /// The share of the choices' probability that the right ones have (TruthfulQA's MC2).
    Mc2,
}

impl Metric {
    /// The harness' name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::Mc2 => "mc2",
        }
    }

    /// From 0 to 1. `logps` are the log-likelihoods of the choices, nats.
    pub fn of(self, question: &Question, logps: &[f64]) -> f64 {
        let credit = |at: usize| f64::from(u8::from(question.right[at]));
        match self {
            Self::Acc => credit(first_highest(logps.iter().copied())),
            Self::AccNorm => {
                let lengths = question.choices.iter().map(|c| c.chars().count() as f64);
                credit(first_highest(logps.iter().zip(lengths).map(|(l, n)| l / n)))
            }
            Self::Mc2 => {
                let highest = logps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let shares: Vec<f64> = logps.iter().map(|l| (l - highest).exp()).collect();
                let right: f64 = (0..shares.len()).map(|i| credit(i) * shares[i]).sum();
                right / shares.iter().sum::<f64>()
            }
        }
    }
}

/// Of equals the first, as numpy's argmax.
fn first_highest(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (at, value) in values.enumerate() {
        if value > best.1 {
            best = (at, value);
        }
    }
    best.0
}

/// A text that the row must have.
pub(super) fn text(row: &Fields, name: &str) -> Result<String> {
    row.text(name)?.ok_or_else(|| row.missing(name))
}

/// The number of the right choice, from 0: a number, or a number as text (HellaSwag's `label`).
pub(super) fn index(row: &Fields, name: &str) -> Result<Option<usize>> {
    let index = |value: &Value| match value {
        Value::Number(number) => number.as_u64().map(|n| n as usize),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let Some(value) = row.value(name) else {
        return Ok(None);
    };
    match index(value) {
        Some(index) => Ok(Some(index)),
        None => Err(Error::data(format!(
            "`{name}` is {value}, should be the number of the right choice, from 0"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(choices: &[&str], right: &[bool]) -> Question {
        let choices = choices.iter().map(|c| (*c).to_owned()).collect();
        Question::with_right("?".into(), choices, right.to_vec()).expect("a question")
    }

    #[test]
    fn a_long_choice_is_judged_by_the_character() {
        let asked = question(&["no", "yes, of course"], &[false, true]);
        let logps = [-3.0, -8.0];
        assert_eq!(Metric::Acc.of(&asked, &logps), 0.0);
        // -1.5 a character against -0.57.
        assert_eq!(Metric::AccNorm.of(&asked, &logps), 1.0);
    }

    /// `ééé` has three characters and six bytes: by bytes it would win.
    #[test]
    fn a_character_is_no_byte() {
        let asked = question(&["ééé", "abcd"], &[false, true]);
        assert_eq!(Metric::AccNorm.of(&asked, &[-6.0, -6.0]), 1.0);
    }

    #[test]
    fn of_equals_the_first_is_the_answer() {
        let asked = question(&["a", "b"], &[true, false]);
        assert_eq!(Metric::Acc.of(&asked, &[-1.0, -1.0]), 1.0);
    }

    /// Probabilities far below what a float can hold still have shares: 3 to 1.
    #[test]
    fn shares_of_tiny_probabilities_are_shares() {
        let asked = question(&["a", "b", "c"], &[true, true, false]);
        let logps = [-2000.0, -2000.0 + 2.0f64.ln(), -2000.0];
        assert!((Metric::Mc2.of(&asked, &logps) - 0.75).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_choice_is_refused() {
        let new = |choices: &[&str], answer| {
            Question::new(
                "?".into(),
                choices.iter().map(|c| (*c).into()).collect(),
                answer,
            )
        };
        assert!(new(&["a"], 0).is_err());
        assert!(new(&["a", " "], 0).is_err());
        assert!(new(&["a", "b"], 2).is_err());
        assert_eq!(new(&["a", "b"], 1).expect("a choice").answer(), "b");
    }
}
