//! Problems with solutions as examples of a verifier.

use super::super::examples::{Kept, Prepared};
use super::known::Known;
use crate::data::{Problem, Solution};
use crate::error::{Error, Result};
use crate::model::DecoderSpec;
use crate::objective::Example;
use crate::recipe::{Overlong, Verifier, VerifierKind};
use crate::text::{Chat, Fit, Limits, Marks, Prompt, lacks_template};
use crate::trie::Sequence;
use rayon::prelude::*;

/// The limit of a verifier's sequences: what is longer is left out, for half a solution has no label.
pub fn limits(table: &Verifier, spec: &DecoderSpec, chat: &Chat) -> Limits {
    super::examples::limits_of(table.max_length, Overlong::Drop, chat, spec)
}

/// A solution in the steps that get a mark, with what is known of each.
type Labelled = Vec<(String, Option<f32>)>;

/// The solutions of problems, each an example: with a mark after every step, or with one label of the whole.
///
/// A solution is left out, counted, where it is too long, and is an error where nothing is known of it that the verifier
/// could learn.
///
/// # Errors
/// Solutions without labels, labels outside 0 to 1, or a row the template cannot render.
pub fn solutions(
    problems: &[Problem],
    chat: &Chat,
    limits: &Limits,
    table: &Verifier,
) -> Result<Prepared> {
    let one = |problem: &Problem| -> Result<Vec<Option<Kept>>> {
        let mut found = Vec::with_capacity(problem.solutions.len());
        for (i, solution) in problem.solutions.iter().enumerate() {
            let labelled = labelled(problem, solution, table)?;
            if labelled.iter().all(|(_, label)| label.is_none()) {
                // A solution that nobody labelled teaches nothing, and says nothing false either.
                continue;
            }
            let id = match problem.solutions.len() {
                1 => problem.id.clone(),
                _ => format!("{}#{}", problem.id, i + 1),
            };
            found.push(example(
                id,
                &problem.prompt,
                &labelled,
                chat,
                limits,
                table.kind,
            )?);
        }
        Ok(found)
    };
    let rows = problems
        .par_iter()
        .map(|problem| one(problem).map_err(|e| e.at(&problem.origin)));
    let rows: Vec<Option<Kept>> = rows
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    if rows.is_empty() && !problems.is_empty() {
        Known::of(problems, table)?.some()?;
    }
    // Marks are asked for by the template alone; a scalar model reads text as it stands, as every reward model does.
    let plain = problems.iter().map(|problem| problem.prompt.plain());
    Ok(Prepared {
        lacks_template: table.kind == VerifierKind::Scalar && lacks_template(chat, plain)?,
        ..Prepared::gather(rows)
    })
}

/// The solution in steps for a process model, as a whole for the others.
///
/// # Errors
/// A label that is no probability, or one of the whole where those of steps are wanted.
pub(super) fn labelled(
    problem: &Problem,
    solution: &Solution,
    table: &Verifier,
) -> Result<Labelled> {
    if table.kind == VerifierKind::Process {
        problem.stepped()?;
    }
    let found = match (solution, table.kind) {
        (Solution::Steps(steps), VerifierKind::Process) => steps.clone(),
        (Solution::Whole(text, label), _) => {
            let right = || Some(f32::from(u8::from(problem.is_right(text)?)));
            vec![(text.trim().to_owned(), label.or_else(right))]
        }
        // Where the last step went right, the solution came out right.
        (Solution::Steps(steps), _) => {
            let words: Vec<&str> = steps.iter().map(|(step, _)| step.as_str()).collect();
            vec![(
                words.join(&table.separator),
                steps.last().and_then(|(_, label)| *label),
            )]
        }
    };
    // A gold judge's rewards may be any numbers.
    let wrong = |label: &f32| !(0.0..=1.0).contains(label);
    match found.iter().filter_map(|(_, label)| *label).find(wrong) {
        None => Ok(found),
        Some(label) => Err(
            Error::data(format!("the label {label} is not between 0 and 1"))
                .hint("a label is the probability that the step or solution is right"),
        ),
    }
}

fn example(
    id: String,
    prompt: &Prompt,
    labelled: &[(String, Option<f32>)],
    chat: &Chat,
    limits: &Limits,
    kind: VerifierKind,
) -> Result<Option<Kept>> {
    let sequence = match kind {
        VerifierKind::Scalar => scored(prompt, &labelled[0].0, chat, limits)?,
        _ => {
            // As published, what stands in the history are the true marks; of a step without one, a good one.
            let good: Vec<bool> = labelled
                .iter()
                .map(|(_, l)| l.is_none_or(|l| l >= 0.5))
                .collect();
            let steps: Vec<String> = labelled.iter().map(|(step, _)| step.clone()).collect();
            let marked = Marks::of(chat)?.put(chat, prompt, &steps, &good)?;
            let mut sequence = Sequence::unscored(marked.ids);
            for (at, (_, label)) in marked.at.into_iter().zip(labelled) {
                sequence.scored[at] = label.is_some();
            }
            Some(sequence).filter(|sequence| sequence.tokens.len() <= limits.max_length)
        }
    };
    let kept = |sequence| Kept {
        example: Example {
            id,
            sequences: vec![sequence],
            reference: Vec::new(),
            margin: None,
            labels: labelled.iter().filter_map(|(_, label)| *label).collect(),
        },
        truncated: false,
        // A mark has no end that could be missing.
        ended: true,
    };
    Ok(sequence.map(kept))
}

/// A problem with its solution as a scalar model reads it; none where it is too long.
///
/// # Errors
/// A row the template cannot render.
fn scored(
    prompt: &Prompt,
    solution: &str,
    chat: &Chat,
    limits: &Limits,
) -> Result<Option<Sequence>> {
    let mut encoded = chat.response(prompt, solution, true)?;
    Ok(match limits.response(&mut encoded) {
        Fit::Dropped(_) => None,
        _ => Some(Sequence::unscored(
            [encoded.prompt, encoded.answer].concat(),
        )),
    })
}
