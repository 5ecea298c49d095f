//! The accuracy of a pairwise model, with the baselines that it must beat and how much it looks at the place.

use super::super::context::{Context, Policy};
use super::super::examples;
use super::super::reward::in_words;
use super::super::worth;
use super::rows;
use crate::data::Preference;
use crate::error::{Error, Result};
use crate::eval::{AccuracyReport, PositionBias, ScoredPair};
use crate::judge::{BothOrders, PairwiseModel};
use crate::recipe::Pairwise;
use crate::run::{stage_key, write_atomic};
use crate::text::{Chat, Comparison};

/// `pairwise-eval.json`: the accuracy on the held-out pairs, as a stage of its own.
pub(super) fn measure(cx: &mut Context, policy: &Policy, table: &Pairwise) -> Result<()> {
    let mut inputs = vec![policy.digest, examples::hash(&table.data)?];
    if let Some(eval) = &table.eval {
        inputs.extend([examples::hash(eval)?, crate::recipe::hash_of(eval)]);
    }
    let file = cx.run.layout().accuracy("pairwise");
    let key = stage_key(&table.max_length, &inputs)?;
    cx.run.measurement("pairwise-eval", key)?.complete(|_| {
        let [_, eval] = rows(cx, table)?;
        if eval.is_empty() {
            tracing::warn!(
                "pairwise: the accuracy is not measured: nothing was held out: add --set pairwise.data.held_out=0.1"
            );
            return write_atomic(&file, b"null\n");
        }
        let model = policy.load(&cx.device, cx.frozen())?;
        let limits = examples::limits(table.max_length, table.overlong, &model);
        let mut judge = PairwiseModel::new(&model, limits, table.train.max_tokens_per_batch)?;
        let report = accuracy(&mut judge, &model.chat, &eval)?;
        tracing::info!("pairwise: {}", in_words(&report));
        let text = serde_json::to_vec_pretty(&report)
            .map_err(|e| Error::internal(format!("cannot write the accuracy: {e}")))?;
        write_atomic(&file, &text)
    })?;
    worth::of_pairs(cx, "pairwise-eval", &file)
}

/// How often the model prefers the chosen response in the mean of both orders, beside the baselines.
///
/// # Errors
/// A row that cannot be rendered, or rows that are all too long.
pub fn accuracy(
    judge: &mut PairwiseModel,
    chat: &Chat,
    rows: &[Preference],
) -> Result<AccuracyReport> {
    let (scored, both) = scored(judge, chat, rows)?;
    Ok(AccuracyReport {
        position: PositionBias::of(&both),
        ..AccuracyReport::of(&scored, crate::eval::statistics::CONFIDENCE, 0)?
    })
}

/// Every pair that fits with the model's preference as scores that add up to 1, and the probability of the first place
/// in both orders; the others are said.
///
/// # Errors
/// A row that cannot be rendered, or rows that are all too long.
pub fn scored(
    judge: &mut PairwiseModel,
    chat: &Chat,
    rows: &[Preference],
) -> Result<(Vec<ScoredPair>, Vec<[f64; 2]>)> {
    let comparisons: Vec<Comparison> = rows
        .iter()
        .map(|row| Comparison::of(chat, &row.prompt, &row.chosen, &row.rejected))
        .collect::<Result<_>>()?;
    let answers = judge.ask(&comparisons)?;
    let long = answers.iter().filter(|answer| answer.is_none()).count();
    if long == rows.len() {
        return Err(Error::data(
            "no pair can be judged: every comparison is longer than the limit",
        )
        .hint("raise max_length, or use shorter rows"));
    }
    if long > 0 {
        tracing::warn!("{long} pairs are not judged: the comparison is longer than the limit");
    }
    let mut scored = Vec::with_capacity(rows.len());
    let mut both = Vec::with_capacity(rows.len());
    for (row, (answer, comparison)) in rows.iter().zip(answers.iter().zip(&comparisons)) {
        let Some(BothOrders { given, turned }) = *answer else {
            continue;
        };
        let chosen = f64::from(BothOrders { given, turned }.first());
        both.push([given, turned]);
        scored.push(ScoredPair {
            id: row.id.clone(),
            subset: row.subset.clone(),
            chosen_score: chosen,
            rejected_score: 1.0 - chosen,
            chosen_chars: comparison.first.chars().count(),
            rejected_chars: comparison.second.chars().count(),
        });
    }
    Ok((scored, both))
}
