//! Learning from pairs that nobody has judged (He et al. 2024, "Semi-Supervised Reward Modeling via Iterative
//! Self-Training"): label, keep what the model is sure of, train again.

use super::super::context::{Context, Policy};
use super::super::examples;
use super::label::{Label, label};
use super::{Learning, fit};
use crate::data::rrm::Judged;
use crate::data::{self, Preference, PromptRow};
use crate::error::{Error, Result};
use crate::eval::Accuracy;
use crate::recipe::{Ssrm, hash_of};
use crate::run::write_json;
use crate::text::Answer;
use serde::Serialize;

/// What an iteration did with the pairs that nobody had judged.
#[derive(Debug, Serialize)]
struct Iteration {
    iteration: usize,
    /// Pairs without a label.
    unlabelled: usize,
    /// Those that it trained on.
    kept: usize,
    /// How many of those have the winner that the file names: only where the file has `chosen` and `rejected`, and only told,
    /// never learnt from.
    precision: Option<Accuracy>,
    /// The same for other thresholds.
    at: Vec<At>,
}

/// What another threshold would have kept.
#[derive(Debug, Serialize)]
struct At {
    threshold: f64,
    kept: usize,
    precision: Option<Accuracy>,
}

const THRESHOLDS: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// Trains on the labelled pairs, then on them and what the last model is sure of, as often as the table says. The last model
/// is the stage `pairwise`.
pub(super) fn train(cx: &mut Context, learning: &Learning, ssrm: &Ssrm) -> Result<Policy> {
    let table = learning.table;
    let (rows, report) = examples::prompts(&ssrm.data)?;
    examples::tell(cx, "pairwise-ssrm", &report)?;
    let [_, held_out] = super::rows(cx, table)?;
    let (pairs, met) = apart(pairs(rows)?, &held_out);
    if met > 0 {
        tracing::warn!(
            "pairwise: {met} unlabelled pairs are left out: their prompts are held out for the evaluation"
        );
    }
    let unlabelled: Vec<Preference> = pairs.iter().map(|(row, _)| row.clone()).collect();
    let data = examples::hash(&ssrm.data)?;
    let mut model = fit(cx, learning, "pairwise-0", &[], &[])?;
    let mut told = Vec::new();
    for iteration in 1..=ssrm.iterations {
        let name = format!("pairwise-labels-{iteration}");
        let labels = label(cx, &name, &model, table, &unlabelled, &[data])?;
        let kept = sure_of(&pairs, &labels, ssrm.threshold);
        told.push(account(iteration, &pairs, &labels, ssrm.threshold));
        tell(&told[iteration - 1]);
        // Without a pair more the next model is the one that labelled, and so are all that follow.
        let last = iteration == ssrm.iterations || kept.is_empty();
        let name = match last {
            true => "pairwise".to_owned(),
            false => format!("pairwise-{iteration}"),
        };
        let said = hash_of(&(&labels, ssrm.threshold));
        model = fit(cx, learning, &name, &[data, said], &kept)?;
        if last {
            break;
        }
    }
    write_json(&cx.run.layout().pseudo_labels(), &told)?;
    Ok(model)
}

/// The rows as pairs, each with whether the file names its first response the better one.
fn pairs(rows: Vec<PromptRow>) -> Result<Vec<(Preference, bool)>> {
    let pair = |row: PromptRow| -> Result<(Preference, bool)> {
        let [first, second] = &row.responses[..] else {
            return Err(Error::data(format!(
                "the row has {} responses, not two",
                row.responses.len()
            ))
            .at(&row.origin)
            .hint(
                "a row of `pairwise.ssrm.data` has two `responses`, or `chosen` and `rejected`",
            ));
        };
        let answer = |text: &String| Answer::Text(text.clone());
        let pair = Preference {
            id: format!("unlabelled/{}", row.id),
            prompt: row.prompt.into_chat(),
            chosen: answer(first).into_chat(),
            rejected: answer(second).into_chat(),
            margin: None,
            subset: None,
            origin: row.origin,
        };
        Ok((pair, row.is_pair))
    };
    rows.into_iter().map(pair).collect()
}

/// The pairs whose prompts are not among those of `held_out`, and how many others there were: a model is not measured on
/// what it was trained on (D8).
fn apart(
    pairs: Vec<(Preference, bool)>,
    held_out: &[Preference],
) -> (Vec<(Preference, bool)>, usize) {
    let held_out = data::known_prompts(held_out.iter().map(|row| &row.prompt));
    let before = pairs.len();
    let kept: Vec<_> = pairs
        .into_iter()
        .filter(|(row, _)| !data::is_among(&row.prompt, &held_out))
        .collect();
    let met = before - kept.len();
    (kept, met)
}

/// The pairs of which the model is surer than `threshold`, each with the winner that the model named, whatever the file says
/// (D23).
fn sure_of(pairs: &[(Preference, bool)], labels: &[Label], threshold: f64) -> Vec<Judged> {
    let sure = |((row, _), label): (&(Preference, bool), &Label)| {
        let p = f64::from(label.p?);
        let row = match p {
            p if p > threshold => row.clone(),
            p if 1.0 - p > threshold => Preference {
                chosen: row.rejected.clone(),
                rejected: row.chosen.clone(),
                ..row.clone()
            },
            _ => return None,
        };
        Some(Judged { row, share: 1.0 })
    };
    pairs.iter().zip(labels).filter_map(sure).collect()
}

fn account(
    iteration: usize,
    pairs: &[(Preference, bool)],
    labels: &[Label],
    threshold: f64,
) -> Iteration {
    let at = |threshold: f64| {
        let sure = |p: f64| p.max(1.0 - p) > threshold;
        let kept = labels
            .iter()
            .filter(|label| label.p.is_some_and(|p| sure(f64::from(p))));
        let right = pairs.iter().zip(labels).filter_map(|((_, known), label)| {
            let p = f64::from(label.p?);
            (*known && sure(p)).then(|| f64::from(u8::from(p > 0.5)))
        });
        At {
            threshold,
            kept: kept.count(),
            precision: Accuracy::of(
                &right.collect::<Vec<f64>>(),
                crate::eval::statistics::CONFIDENCE,
            ),
        }
    };
    let At {
        kept, precision, ..
    } = at(threshold);
    Iteration {
        iteration,
        unlabelled: pairs.len(),
        kept,
        precision,
        at: THRESHOLDS.map(at).into(),
    }
}

fn tell(found: &Iteration) {
    let precision = found.precision.map_or(String::new(), |right| {
        format!(
            ", {:.1} % of them right ({:.1} to {:.1})",
            100.0 * right.accuracy,
            100.0 * right.low,
            100.0 * right.high
        )
    });
    tracing::info!(
        "pairwise: iteration {}: sure of {} of {} unlabelled pairs{precision}",
        found.iteration,
        found.kept,
        found.unlabelled
    );
    if found.kept == 0 {
        tracing::warn!(
            "pairwise: iteration {} has no pair more to learn from: lower pairwise.ssrm.threshold",
            found.iteration
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Origin, Unit};
    use crate::text::{Message, Prompt};

    fn pair(i: usize) -> (Preference, bool) {
        let answer = |text: &str| Answer::Text(format!("{text}{i}"));
        let row = Preference {
            id: i.to_string(),
            prompt: Prompt::Text("?".into()),
            chosen: answer("first"),
            rejected: answer("second"),
            margin: None,
            subset: None,
            origin: Origin {
                file: Default::default(),
                line: i,
                unit: Unit::Line,
            },
        };
        (row, true)
    }

    /// D8: evaluation data that are training data.
    #[test]
    fn d8_a_pair_is_not_learnt_from_whose_prompt_is_held_out() {
        let mut pairs: Vec<_> = (0..3).map(pair).collect();
        pairs[1].0.prompt = Prompt::Chat(vec![Message::user("held out")]);
        let mut measured = pair(9).0;
        measured.prompt = Prompt::Text("held out".into());
        let (kept, met) = apart(pairs, &[measured]);
        let ids: Vec<&str> = kept.iter().map(|(row, _)| row.id.as_str()).collect();
        assert_eq!((ids, met), (vec!["0", "2"], 1));
    }

    /// D23: the released script keeps the file's winner where the model is sure of the other one.
    #[test]
    fn d23_the_winner_is_the_models_and_never_the_files() {
        let pairs: Vec<_> = (0..5).map(pair).collect();
        let p = [Some(0.95), Some(0.1), Some(0.6), None, Some(0.81)];
        let labels: Vec<Label> = p
            .iter()
            .map(|&p| Label {
                id: String::new(),
                p,
            })
            .collect();
        let kept = sure_of(&pairs, &labels, 0.8);
        let won: Vec<&Answer> = kept.iter().map(|pair| &pair.row.chosen).collect();
        let answer = |text: &str| Answer::Text(text.into());
        assert_eq!(
            won,
            [&answer("first0"), &answer("second1"), &answer("first4")]
        );
        let told = account(1, &pairs, &labels, 0.8);
        assert_eq!((told.kept, told.unlabelled), (3, 5));
        let right = told.precision.expect("the file names winners");
        assert!((right.accuracy - 2.0 / 3.0).abs() < 1e-12);
        // Whoever has no truth has no precision.
        let unknown: Vec<_> = pairs.into_iter().map(|(row, _)| (row, false)).collect();
        assert!(account(1, &unknown, &labels, 0.8).precision.is_none());
    }
}
