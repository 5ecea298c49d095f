//! Labels of steps by drawing how they go on: a step is good that the policy can still reach the right answer from
//! ("Math-Shepherd", Wang et al. 2024, section 3.3).

use super::super::responses::PromptField;
use crate::data::{Key, Problem};
use crate::error::Result;
use crate::generate::{Engine, Prompted};
use crate::run::{Journal, Keyed};
use crate::text::steps;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::Path;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// A solution with the labels of its steps, as `[verifier]` reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// The problem's name, with the number of the solution.
    pub id: String,
    /// The problem.
    pub prompt: PromptField,
    /// The steps of the solution.
    pub completions: Vec<String>,
    /// What is known of each: the share of continuations that come to the right answer, or whether any does.
    pub labels: Vec<f32>,
}

impl Keyed for StepRow {
    fn id(&self) -> &str {
        &self.id
    }
}

/// How steps are told apart and labelled.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelling {
    /// What stands between steps.
    pub separator: String,
    /// The label is the share of the continuations that are right; otherwise 1 if any is (the paper's hard estimate).
    pub soft: bool,
}

/// A solution whose steps are being labelled.
struct Traced<'a> {
    row: StepRow,
    problem: &'a Problem,
    /// The solution itself comes to the right answer.
    right: bool,
}

/// What `out` holds in the end, and what it does not.
#[derive(Debug, Default)]
pub struct Labels {
    /// The solutions that are labelled.
    pub rows: Vec<StepRow>,
    /// Solutions that leave the model no room to go on.
    pub too_long: usize,
    /// Solutions that say nothing.
    pub empty: usize,
}

/// Draws continuations after every step of every solution of `problems` that `out` does not hold yet, and writes their
/// labels there. Of the last step the solution itself says how it went on.
///
/// # Errors
/// A problem without an answer or without whole solutions, or what the engine or the file reports.
pub fn label(
    engine: &Engine,
    problems: &[Problem],
    how: &Labelling,
    longest_prefix: usize,
    key: Key,
    out: &Path,
) -> Result<Labels> {
    let (mut journal, mut rows) = Journal::<StepRow>::open(out)?;
    let mut open = VecDeque::new();
    let mut prefixes = Vec::new();
    let (mut too_long, mut empty) = (0, 0);
    for problem in problems {
        let (found, silent) = traced(problem, how).map_err(|e| e.at(&problem.origin))?;
        empty += silent;
        for traced in found {
            if journal.contains(&traced.row.id) {
                continue;
            }
            let found = traced.prefixes(engine, how)?;
            if found
                .iter()
                .any(|prefix| prefix.tokens.len() > longest_prefix)
            {
                too_long += 1;
                continue;
            }
            prefixes.extend(found);
            open.push_back(traced);
        }
    }
    let span = info_span!("steps");
    span.pb_set_message("steps");
    span.pb_set_length(open.len() as u64);
    let _entered = span.enter();
    let mut write_complete = |open: &mut VecDeque<Traced>| -> Result<()> {
        let complete = |one: &mut Traced| one.row.labels.len() + 1 == one.row.completions.len();
        while let Some(mut done) = open.pop_front_if(complete) {
            done.row.labels.push(f32::from(u8::from(done.right)));
            journal.append(&done.row)?;
            rows.push(done.row);
            span.pb_inc(1);
        }
        Ok(())
    };
    write_complete(&mut open)?;
    engine.generate(&prefixes, key, &mut |_, drawn| {
        let one = open
            .front_mut()
            .expect("a prefix is one of a solution that waits");
        let begun = begun(&one.row.completions[..=one.row.labels.len()], how);
        let right = |text: &str| one.problem.is_right(&format!("{begun}{text}")) == Some(true);
        let good = drawn.iter().filter(|drawn| right(&drawn.text)).count();
        one.row.labels.push(match how.soft {
            true => good as f32 / drawn.len().max(1) as f32,
            false => f32::from(u8::from(good > 0)),
        });
        write_complete(&mut open)
    })?;
    journal.finish()?;
    Ok(Labels {
        rows,
        too_long,
        empty,
    })
}

/// The solutions of a problem, in steps, and how many say nothing: those have no step.
fn traced<'a>(problem: &'a Problem, how: &Labelling) -> Result<(Vec<Traced<'a>>, usize)> {
    let mut found = Vec::new();
    let mut empty = 0;
    for (i, text) in problem.answered()?.into_iter().enumerate() {
        let completions = steps(text, &how.separator);
        if completions.is_empty() {
            empty += 1;
            continue;
        }
        found.push(Traced {
            row: StepRow {
                id: format!("{}#{}", problem.id, i + 1),
                prompt: (&problem.prompt).into(),
                completions,
                labels: Vec::new(),
            },
            problem,
            right: problem.is_right(text) == Some(true),
        });
    }
    Ok((found, empty))
}

impl Traced<'_> {
    /// What every continuation goes on from: the problem and the steps so far, but for the last.
    fn prefixes(&self, engine: &Engine, how: &Labelling) -> Result<Vec<Prompted>> {
        let one = |count: usize| -> Result<Prompted> {
            let text = begun(&self.row.completions[..count], how);
            let encoded = engine.chat.response(&self.problem.prompt, &text, false);
            let encoded = encoded.map_err(|e| e.at(&self.problem.origin))?;
            Ok(Prompted {
                id: format!("{}/{count}", self.row.id),
                tokens: [encoded.prompt, encoded.answer].concat(),
            })
        };
        (1..self.row.completions.len()).map(one).collect()
    }
}

/// The beginning of a solution, up to where the next step would stand.
fn begun(steps: &[String], how: &Labelling) -> String {
    steps
        .iter()
        .flat_map(|step| [step.as_str(), how.separator.as_str()])
        .collect()
}
