//! Pairwise preference models: a chat model learns to answer with the letter of the better of two responses.
//!
//! - [`comparisons`]: pairs as examples
//! - `measure`: the accuracy on held-out pairs, beside baselines
//! - `semi`: SSRM, with pairs that nobody judged
//! - `robust`: RRM, with pairs across prompts

mod comparisons;
mod label;
mod measure;
mod robust;
mod semi;

pub use comparisons::{Shown, comparisons};
pub use measure::{accuracy, scored};

use super::context::{Context, Policy};
use super::examples;
use super::training::{Training, trained};
use crate::data::rrm::Judged;
use crate::data::{Key, Preference};
use crate::error::Result;
use crate::objective::Verdict;
use crate::recipe::Pairwise;
use crate::run::stage_key;
use crate::text::Letters;
use blake3::Hash;
use measure::measure;

/// Trains the recipe's pairwise preference model and measures it.
///
/// # Errors
/// What is wrong with the data, or whatever the trainer reports.
pub fn pairwise(cx: &mut Context, start: &Policy) -> Result<Option<Policy>> {
    let Some(table) = cx.recipe.pairwise.clone() else {
        return Ok(None);
    };
    let base = match &table.model_name_or_path {
        Some(name) => Policy::writer(cx, name, table.revision.as_deref())?,
        None => start.clone(),
    };
    examples::readable(cx, examples::preferences, &table.data, table.eval.as_ref())?;
    let learning = Learning {
        table: &table,
        base: &base,
        seed: table.seed.unwrap_or(cx.recipe.seed),
    };
    let policy = match (&table.ssrm, &table.rrm) {
        (Some(ssrm), _) => semi::train(cx, &learning, ssrm)?,
        (None, Some(rrm)) => robust::train(cx, &learning, rrm)?,
        (None, None) => fit(cx, &learning, "pairwise", &[], &[])?,
    };
    measure(cx, &policy, &table)?;
    Ok(Some(policy))
}

/// What all trainings of the table share.
struct Learning<'a> {
    table: &'a Pairwise,
    base: &'a Policy,
    seed: u64,
}

/// The stage `name`: a model trained on the table's pairs and on `more`, which depends on `inputs`.
fn fit(
    cx: &mut Context,
    learning: &Learning,
    name: &str,
    inputs: &[Hash],
    more: &[Judged],
) -> Result<Policy> {
    let Learning { table, base, seed } = learning;
    let mut all = vec![
        base.digest,
        examples::hash(&table.data)?,
        crate::recipe::hash_of(seed),
        // It draws the held-out rows.
        crate::recipe::hash_of(&cx.recipe.seed),
    ];
    all.extend(table.eval.as_ref().map(examples::hash).transpose()?);
    all.extend(inputs);
    let key = stage_key(&crate::recipe::hash_of(table).to_string(), &all)?;
    let stage = cx.run.stage(name, key)?;
    let out = cx.run.layout().root().join(name).join("checkpoint");
    let done = stage.complete(|stage| {
        let key = Key::new(*seed).fold("pairwise");
        let model = base.load(&cx.device, cx.trained(table.lora.as_ref()))?;
        let letters = Letters::of(&model.chat)?;
        let [rows, eval] = rows(cx, table)?;
        let limits = examples::limits(table.max_length, table.overlong, &model);
        let shown = Shown::new(table, key);
        let mut rows = known(rows);
        rows.extend_from_slice(more);
        let prepared = comparisons(&rows, &model.chat, &limits, letters, shown)?;
        let prepared = prepared.not_empty("pair", table.max_length)?;
        let held_out = comparisons(&known(eval), &model.chat, &limits, letters, shown)?;
        let held_out = held_out.held_out(name, limits.max_length);
        let mut objective = Verdict {
            yes: letters.a,
            no: letters.b,
        };
        let training = Training {
            stage,
            out: &out,
            objective: &mut objective,
            // A tie cannot be told better than by ln 2.
            guess_is_ln2: rows.iter().all(|pair| pair.share == 1.0),
            prepared: &prepared,
            held_out: &held_out,
            train: &table.train,
            lora: table.lora.as_ref(),
            key,
        };
        training.run(cx, model)?;
        Ok(())
    })?;
    Ok(trained(&done, &out))
}

/// Pairs as somebody judged them.
pub fn known(rows: Vec<Preference>) -> Vec<Judged> {
    let judged = |row| Judged { row, share: 1.0 };
    rows.into_iter().map(judged).collect()
}

/// Pairs to learn from and pairs to evaluate on.
fn rows(cx: &Context, table: &Pairwise) -> Result<[Vec<Preference>; 2]> {
    let load = examples::preferences;
    examples::read(cx, "pairwise", load, &table.data, table.eval.as_ref())
}
