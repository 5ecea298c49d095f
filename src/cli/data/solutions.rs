//! Rows of problems with solutions: what is known of them, and the tokens that a verifier reads.

use super::rows::{Encoded, Tokens};
use crate::data::{Problem, Solution};
use crate::error::Result;
use crate::text::{Chat, Marks, Spans};

/// The labels of a solution: of its steps, or of the whole.
fn labels(problem: &Problem, solution: &Solution) -> Vec<Option<f32>> {
    match solution {
        Solution::Steps(steps) => steps.iter().map(|(_, label)| *label).collect(),
        Solution::Whole(text, label) => {
            let right = || Some(f32::from(u8::from(problem.is_right(text)?)));
            vec![label.or_else(right)]
        }
    }
}

/// How many solutions and labels there are, and what is odd about them.
pub(super) fn notes(rows: &[Problem]) -> Vec<String> {
    let of = |row: &Problem| -> Vec<Vec<Option<f32>>> {
        row.solutions.iter().map(|one| labels(row, one)).collect()
    };
    let all: Vec<Vec<Option<f32>>> = rows.iter().flat_map(of).collect();
    let unlabelled = |labels: &&Vec<Option<f32>>| labels.iter().all(Option::is_none);
    let silent = all.iter().filter(unlabelled).count();
    let known: Vec<f32> = all.iter().flatten().flatten().copied().collect();
    let mut notes = vec![format!(
        "{} solutions with {} labels",
        all.len(),
        known.len()
    )];
    if silent > 0 {
        notes.push(format!(
            "{silent} of {} solutions have no label and teach nothing",
            all.len()
        ));
    }
    if let Some(first) = known.first()
        && known.iter().all(|label| label == first)
    {
        notes.push(format!(
            "every label is {first}: a verifier learns to say the same of all"
        ));
    }
    notes
}

/// Every solution as the conversation in which its steps, or the whole, have a mark.
pub(super) fn encode<'a>(row: &'a Problem, chat: &Chat) -> Vec<Encoded<'a>> {
    let one = |solution: &Solution| Encoded {
        id: &row.id,
        origin: &row.origin,
        tokens: marked(row, solution, chat).map(Tokens::Learned),
    };
    row.solutions.iter().map(one).collect()
}

fn marked(row: &Problem, solution: &Solution, chat: &Chat) -> Result<Spans> {
    let steps: Vec<String> = match solution {
        Solution::Steps(steps) => steps.iter().map(|(step, _)| step.clone()).collect(),
        Solution::Whole(text, _) => vec![text.trim().to_owned()],
    };
    let labels = labels(row, solution);
    let good: Vec<bool> = labels
        .iter()
        .map(|label| label.is_none_or(|label| label >= 0.5))
        .collect();
    let marked = Marks::of(chat)?.put(chat, &row.prompt, &steps, &good)?;
    let mut scored = vec![false; marked.ids.len()];
    for (at, label) in marked.at.into_iter().zip(labels) {
        scored[at] = label.is_some();
    }
    Ok(Spans {
        ids: marked.ids,
        scored,
    })
}
