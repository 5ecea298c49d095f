//! Problems with solutions as examples of a verifier.

use super::super::examples::{Kept, Prepared};
use crate::data::{Problem, Solution};
use crate::error::{Error, Result};
use crate::model::DecoderSpec;
use crate::objective::Example;
use crate::recipe::{Overlong, Verifier, VerifierKind};
use crate::text::{Chat, Fit, Limits, Marks, Prompt};
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
            let wrong = |label: &f32| !(0.0..=1.0).contains(label);
            if let Some(label) = labelled.iter().filter_map(|(_, l)| *l).find(wrong) {
                return Err(
                    Error::data(format!("the label {label} is not between 0 and 1"))
                        .hint("a label is the probability that the step or solution is right"),
                );
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
        return Err(Error::data("no solution has a label").hint(
            "rows need `labels`, one for each step or solution, or the right `answer`; `duel steps` draws labels of steps",
        ));
    }
    Ok(Prepared::gather(rows))
}

/// The solution in steps for a process model, as a whole for the others.
fn labelled(problem: &Problem, solution: &Solution, table: &Verifier) -> Result<Labelled> {
    Ok(match (solution, table.kind) {
        (Solution::Steps(steps), VerifierKind::Process) => steps.clone(),
        (Solution::Whole(..), VerifierKind::Process) => {
            return Err(Error::data(
                "the label is of the whole solution, and a process model learns from labels of its steps",
            )
            .hint("draw those with `duel steps`, or set `verifier.kind = \"outcome\"`"));
        }
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
    })
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
