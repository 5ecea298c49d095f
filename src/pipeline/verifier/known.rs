//! What the rows of a verifier's table say of their solutions, before anything is computed.

use super::super::examples::{self, Load};
use super::solutions::labelled;
use crate::data::Problem;
use crate::error::{Error, Result};
use crate::recipe::{Recipe, Verifier, VerifierKind};

/// How the rows of the table are read: for a model that learns from steps, a label of a whole solution is a malformed row.
pub fn loader(table: &Verifier) -> Load<Problem> {
    match table.kind {
        VerifierKind::Process => examples::stepped,
        VerifierKind::Outcome | VerifierKind::Scalar => examples::problems,
    }
}

/// Reads every row of the table and refuses what nothing could be learnt from.
///
/// # Errors
/// The first mistake, with its file and line.
pub fn check(recipe: &Recipe, table: &Verifier) -> Result<()> {
    let load = loader(table);
    let (rows, _) = load(&table.data)?;
    let eval = match &table.eval {
        Some(eval) => Some(load(eval)?.0),
        None => None,
    };
    let both = examples::split(rows, eval, &table.data, recipe.seed);
    told(&both, table)?;
    for rows in both.iter().filter(|rows| !rows.is_empty()) {
        Known::of(rows, table)?.some()?;
    }
    Ok(())
}

/// Refuses rows that do not tell the problem from its first step where it has to be told.
///
/// # Errors
/// The fact, with the mend.
pub(super) fn told(both: &[Vec<Problem>; 2], table: &Verifier) -> Result<()> {
    let blank = |problem: &&Problem| problem.prompt.is_blank();
    // What is not told from its first step is split by both: other solutions of it may stand on the other side.
    let untold = both[1].iter().filter(blank).count();
    if untold > 0 && table.eval.is_none() {
        return Err(Error::data(format!(
            "{untold} of the held-out rows do not tell the problem from its first step, so other solutions of theirs would be \
             learnt from"
        ))
        .hint("give rows a `prompt`, or let the first step begin with `Step 1:`; or name rows to evaluate on in [verifier.eval] and \
               leave held_out at 0"));
    }
    if let (VerifierKind::Scalar, Some(row)) = (table.kind, both.iter().flatten().find(blank)) {
        return Err(
            Error::data("a scalar model reads the problem apart from its solution")
                .at(&row.origin)
                .hint("give rows a `prompt`, or let the first step begin with `Step 1:`"),
        );
    }
    Ok(())
}

/// The labels of some rows.
pub(super) struct Known {
    /// Solutions of whose steps, or of which, nobody knows anything.
    unlabelled: usize,
    solutions: usize,
    labels: Vec<f32>,
}

impl Known {
    /// # Errors
    /// A label that is no probability.
    pub fn of(rows: &[Problem], table: &Verifier) -> Result<Self> {
        let mut known = Self {
            unlabelled: 0,
            solutions: 0,
            labels: Vec::new(),
        };
        for problem in rows {
            for solution in &problem.solutions {
                let labelled = labelled(problem, solution, table);
                let labelled = labelled.map_err(|e| e.at(&problem.origin))?;
                let before = known.labels.len();
                known
                    .labels
                    .extend(labelled.iter().filter_map(|(_, label)| *label));
                known.solutions += 1;
                known.unlabelled += usize::from(known.labels.len() == before);
            }
        }
        Ok(known)
    }

    /// Refuses rows without a label.
    ///
    /// # Errors
    /// When there is none.
    pub fn some(&self) -> Result<()> {
        match self.labels.is_empty() {
            false => Ok(()),
            true => Err(Error::data("no solution has a label").hint(
                "rows need `labels`, one for each step or solution, or the right `answer`; `duel steps` draws labels of steps",
            )),
        }
    }

    /// What would make a training on these rows worth little.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.unlabelled > 0 {
            found.push(format!(
                "{} of {} solutions have no label and are not learnt from",
                self.unlabelled, self.solutions
            ));
        }
        if let Some(first) = self.labels.first()
            && self.labels.iter().all(|label| label == first)
        {
            found.push(format!(
                "every label is {first}: the model learns to say the same of all; add solutions that are {}",
                if *first >= 0.5 { "wrong" } else { "right" }
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Origin, Solution, Unit};
    use crate::text::Prompt;

    fn rows(labels: &[&[Option<f32>]]) -> Vec<Problem> {
        let problem = |labels: &&[Option<f32>]| Problem {
            id: "1".into(),
            prompt: Prompt::Text("1 + 1?".into()),
            solutions: vec![Solution::Steps(
                labels.iter().map(|l| ("It is 2.".into(), *l)).collect(),
            )],
            answer: None,
            origin: Origin {
                file: Default::default(),
                line: 1,
                unit: Unit::Line,
            },
        };
        labels.iter().map(problem).collect()
    }

    fn known(labels: &[&[Option<f32>]]) -> Known {
        let table: Verifier = toml::from_str("data.files = \"x.jsonl\"").expect("a table");
        Known::of(&rows(labels), &table).expect("labels")
    }

    #[test]
    fn labels_that_are_all_equal_and_solutions_without_any_are_warned_of() {
        let constant = known(&[&[Some(1.0), None], &[None, None], &[Some(1.0)]]);
        constant.some().expect("some label");
        let warnings = constant.warnings();
        assert_eq!(
            warnings[0],
            "1 of 3 solutions have no label and are not learnt from"
        );
        assert!(
            warnings[1].starts_with("every label is 1: "),
            "{warnings:?}"
        );
        assert!(warnings[1].ends_with("that are wrong"), "{warnings:?}");
        assert!(known(&[&[Some(1.0), Some(0.0)]]).warnings().is_empty());
        assert!(known(&[&[None]]).some().is_err());
    }
}
