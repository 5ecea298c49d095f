//! MATH (Hendrycks et al. 2021): competition problems with a formula as their answer. The harness' `minerva_math` prompt;
//! an answer is right if it is spelt like the reference or has its value ([`answer`](crate::text::answer)).

use super::answer::{Answers, Asked};
use super::choice::text;
use super::mark::Mark;
use crate::data::Fields;
use crate::error::{Error, Result};
use crate::text::answer::{equivalent, final_answer};

/// Rows `{problem, solution}` as published (`question` for `problem` will do), with `type` or `subject`.
pub struct Math;

impl Answers for Math {
    fn asked(&self, row: &Fields) -> Result<Asked> {
        let name = if row.has("problem") {
            "problem"
        } else {
            "question"
        };
        let problem = text(row, name)?;
        let solution = row.text("solution")?.unwrap_or_default();
        let right = match row.text("answer")? {
            Some(answer) => answer,
            None if solution.contains("\\boxed") || solution.contains("\\fbox") => {
                final_answer(&solution).unwrap_or_default()
            }
            None => String::new(),
        };
        if right.trim().is_empty() {
            return Err(Error::data(
                "the row has neither an `answer` nor a \\boxed one in its `solution`",
            ));
        }
        Ok(Asked {
            prompt: format!("Problem:\n{problem}\n\nSolution:"),
            shown: format!(
                " {solution}\nFinal Answer: The final answer is ${right}$. I hope it is correct."
            ),
            part: row.text("type")?.or(row.text("subject")?),
            mark: Box::new(move |answer| {
                let found = final_answer(answer);
                vec![Mark::right(
                    "exact_match",
                    found.is_some_and(|found| equivalent(&found, &right)),
                )]
            }),
        })
    }

    fn has_result(&self, answer: &str) -> bool {
        final_answer(answer).is_some()
    }

    fn stops(&self) -> &'static [&'static str] {
        &["Problem:"]
    }

    fn max_new_tokens(&self) -> usize {
        512
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn a_fraction_is_right_however_it_is_spelt() {
        let asked = row(
            r#"{"problem": "What is half?", "solution": "It is $\\boxed{\\frac{1}{2}}$.", "type": "Algebra"}"#,
            |row| Math.asked(row),
        );
        let asked = asked.expect("a problem");
        let right = |answer: &str| (asked.mark)(answer)[0].sum == 1.0;
        assert!(right(r"So \boxed{0.5}"));
        assert!(right("The final answer is $1/2$. I hope it is correct."));
        assert!(!right(r"So \boxed{2}"));
        assert!(!right("I cannot say"));
        assert_eq!(
            (asked.part.as_deref(), &*asked.prompt),
            (Some("Algebra"), "Problem:\nWhat is half?\n\nSolution:")
        );
    }

    #[test]
    fn a_problem_without_a_reference_is_refused() {
        let asked = row(r#"{"problem": "?", "solution": "It is 2."}"#, |row| {
            Math.asked(row)
        });
        assert!(asked.is_err());
    }
}
