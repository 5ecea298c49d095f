//! A pairwise preference model, with the baselines that its accuracy must beat and how much it looks at the place.

use super::context::{Context, Policy};
use super::examples::{self, Kept, Prepared};
use super::training::{Training, trained};
use crate::data::{Key, Preference};
use crate::error::{Error, Result};
use crate::eval::{AccuracyReport, PositionBias, ScoredPair};
use crate::judge::{BothOrders, PairwiseModel};
use crate::model::files::hub;
use crate::model::must_write;
use crate::objective::{Example, Verdict};
use crate::recipe::Pairwise;
use crate::run::{stage_key, write_atomic};
use crate::text::{Chat, Comparison, Letters, Limits};
use crate::trie::Sequence;
use rand::RngExt;
use rayon::prelude::*;

/// Trains the recipe's pairwise preference model.
///
/// # Errors
/// What is wrong with the data, or whatever the trainer reports.
pub fn pairwise(cx: &mut Context, start: &Policy) -> Result<Option<Policy>> {
    let Some(table) = cx.recipe.pairwise.clone() else {
        return Ok(None);
    };
    let base = match &table.model_name_or_path {
        Some(name) => {
            let path = hub::resolve(name, table.revision.as_deref(), false)?;
            must_write(&path)?;
            Policy::at(&path)?.kept_as(cx)
        }
        None => start.clone(),
    };
    let seed = table.seed.unwrap_or(cx.recipe.seed);
    let mut inputs = vec![
        base.digest,
        examples::hash(&table.data)?,
        crate::recipe::hash_of(&seed),
    ];
    inputs.extend(table.eval.as_ref().map(examples::hash).transpose()?);
    examples::readable(cx, examples::preferences, &table.data, table.eval.as_ref())?;
    let key = stage_key(&crate::recipe::hash_of(&table).to_string(), &inputs)?;
    let stage = cx.run.stage("pairwise", key)?;
    let out = cx.run.layout().root().join("pairwise").join("checkpoint");
    let done = stage.complete(|stage| {
        let key = Key::new(seed).fold("pairwise");
        let model = base.load(&cx.device, cx.trained(table.lora.as_ref()))?;
        let letters = Letters::of(&model.chat)?;
        let [rows, eval] = rows(cx, &table)?;
        let limits = examples::limits(table.max_length, table.overlong, &model);
        let shown = Shown::new(&table, key);
        let prepared = comparisons(&rows, &model.chat, &limits, letters, shown)?;
        let prepared = prepared.not_empty("pair", table.max_length)?;
        let held_out = comparisons(&eval, &model.chat, &limits, letters, shown)?;
        let held_out = held_out.held_out("pairwise", limits.max_length);
        let mut objective = Verdict {
            yes: letters.a,
            no: letters.b,
        };
        let training = Training {
            stage,
            out: &out,
            objective: &mut objective,
            guess_is_ln2: true,
            prepared: &prepared,
            held_out: &held_out,
            train: &table.train,
            lora: table.lora.as_ref(),
            key,
        };
        training.run(cx, model)?;
        Ok(())
    })?;
    let policy = trained(&done, &out);
    measure(cx, &policy, &table)?;
    Ok(Some(policy))
}

/// Whether `[eval]` of a command that needs no judge itself is to be judged by the run's own pairwise model: nobody else
/// judges.
pub fn wanted_by_eval(cx: &Context) -> bool {
    let nobody_else = |eval: &crate::recipe::Eval| {
        eval.rule.is_none()
            && eval.reward.is_none()
            && eval.pairwise.is_none()
            && eval.command.is_none()
            && eval.remote.is_none()
    };
    cx.recipe.reward.is_none() && cx.recipe.eval.as_ref().is_some_and(nobody_else)
}

/// In which places a pair's responses are shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Of the places that are drawn.
    key: Key,
    both_orders: bool,
}

impl Shown {
    /// As a recipe's table says; `key` is the stage's.
    pub fn new(table: &Pairwise, key: Key) -> Self {
        Self {
            key: key.fold("place"),
            both_orders: table.both_orders,
        }
    }

    /// Whether the chosen response stands first: once, or in both orders.
    fn places(&self, row: &Preference) -> Vec<bool> {
        match self.both_orders {
            true => vec![true, false],
            false => vec![self.key.fold(&row.id).rng().random()],
        }
    }
}

/// Pairs as comparisons, each a sequence whose only scored token is the letter of the chosen response.
///
/// # Errors
/// A row the template cannot render.
pub fn comparisons(
    rows: &[Preference],
    chat: &Chat,
    limits: &Limits,
    letters: Letters,
    shown: Shown,
) -> Result<Prepared> {
    let one = |row: &Preference| -> Result<Option<Kept>> {
        let chosen_first = Comparison::of(chat, &row.prompt, &row.chosen, &row.rejected)
            .map_err(|e| e.at(&row.origin))?;
        let mut sequences = Vec::new();
        let mut truncated = false;
        for first in shown.places(row) {
            let (comparison, letter) = match first {
                true => (chosen_first.clone(), letters.a),
                false => (chosen_first.turned(), letters.b),
            };
            let fit = comparison
                .encode(chat, limits)
                .map_err(|e| e.at(&row.origin))?;
            let Some(asked) = fit else {
                return Ok(None);
            };
            truncated |= asked.truncated;
            sequences.push(Sequence::response(&asked.ids, &[letter]));
        }
        Ok(Some(Kept {
            example: Example {
                id: row.id.clone(),
                sequences,
                reference: Vec::new(),
                margin: None,
                labels: Vec::new(),
            },
            truncated,
            // A comparison has no answer that could lack its end.
            ended: true,
        }))
    };
    let found: Result<Vec<_>> = rows.par_iter().map(one).collect();
    Ok(Prepared::gather(found?))
}

/// `pairwise-eval.json`: the accuracy on the held-out pairs, as a stage of its own.
fn measure(cx: &mut Context, policy: &Policy, table: &Pairwise) -> Result<()> {
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
        tracing::info!("pairwise: {}", super::reward::in_words(&report));
        let text = serde_json::to_vec_pretty(&report)
            .map_err(|e| Error::internal(format!("cannot write the accuracy: {e}")))?;
        write_atomic(&file, &text)
    })?;
    Ok(())
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
            subset: None,
            chosen_score: chosen,
            rejected_score: 1.0 - chosen,
            chosen_chars: comparison.first.chars().count(),
            rejected_chars: comparison.second.chars().count(),
        });
    }
    let report = AccuracyReport::of(&scored, crate::eval::statistics::CONFIDENCE, 0)?;
    Ok(AccuracyReport {
        position: PositionBias::of(&both),
        ..report
    })
}

/// Pairs to learn from and pairs to evaluate on.
fn rows(cx: &Context, table: &Pairwise) -> Result<[Vec<Preference>; 2]> {
    let load = examples::preferences;
    examples::read(cx, "pairwise", load, &table.data, table.eval.as_ref())
}
