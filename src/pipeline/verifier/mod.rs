//! Process and outcome reward models: a model learns to say whether a solution, or each of its steps, is right.
//!
//! - `known`: what the rows say, and what they have to
//! - [`solutions`]: problems as examples
//! - `measure`: how often it is right on held-out ones, beside baselines
//! - [`label`]: labels of steps by drawing how they go on

mod known;
pub mod label;
mod measure;
mod solutions;

pub use known::{check, loader};
pub use solutions::solutions;

use super::context::{Context, Policy};
use super::examples;
use super::training::{Training, trained};
use crate::data::{Key, Problem};
use crate::error::Result;
use crate::model::files::hub;
use crate::objective::{Objective, OutcomeReward, Verdict};
use crate::recipe::{Verifier, VerifierKind};
use crate::run::stage_key;
use crate::text::Marks;
use known::{Known, told};
use measure::measure;

/// Trains the recipe's verifier and measures it.
///
/// # Errors
/// What is wrong with the data, or whatever the trainer reports.
pub fn verifier(cx: &mut Context, start: &Policy) -> Result<Option<Policy>> {
    let Some(table) = cx.recipe.verifier.clone() else {
        return Ok(None);
    };
    let base = base(cx, start, &table)?;
    examples::readable(cx, loader(&table), &table.data, table.eval.as_ref())?;
    let seed = table.seed.unwrap_or(cx.recipe.seed);
    let mut inputs = vec![
        base.digest,
        examples::hash(&table.data)?,
        crate::recipe::hash_of(&seed),
        // It draws the held-out rows.
        crate::recipe::hash_of(&cx.recipe.seed),
    ];
    inputs.extend(table.eval.as_ref().map(examples::hash).transpose()?);
    let key = stage_key(&crate::recipe::hash_of(&table).to_string(), &inputs)?;
    let stage = cx.run.stage("verifier", key)?;
    let out = cx.run.layout().root().join("verifier/checkpoint");
    let done = stage.complete(|stage| {
        let key = Key::new(seed).fold("verifier");
        let model = base.load(&cx.device, cx.trained(table.lora.as_ref()))?;
        let model = match (table.kind, &model.decoder.score) {
            (VerifierKind::Scalar, None) => model.with_score_head(key, &cx.device)?,
            _ => model,
        };
        let [rows, eval] = rows(cx, &table)?;
        for warning in Known::of(&rows, &table)?.warnings() {
            tracing::warn!("verifier: {warning}");
        }
        let limits = solutions::limits(&table, &model.decoder.spec, &model.chat);
        let prepared = solutions(&rows, &model.chat, &limits, &table)?;
        let prepared = prepared.not_empty("solution", table.max_length)?;
        let held_out = solutions(&eval, &model.chat, &limits, &table)?;
        let held_out = held_out.held_out("verifier", limits.max_length);
        let mut objective: Box<dyn Objective> = match table.kind {
            VerifierKind::Scalar => Box::new(OutcomeReward),
            _ => {
                let marks = Marks::of(&model.chat)?;
                Box::new(Verdict {
                    yes: marks.good,
                    no: marks.bad,
                })
            }
        };
        let training = Training {
            stage,
            out: &out,
            objective: &mut *objective,
            // Of a mark the model has an opinion before it is trained.
            guess_is_ln2: false,
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

/// The model that the verifier begins with. One that answers with a mark has to be one that writes.
fn base(cx: &Context, start: &Policy, table: &Verifier) -> Result<Policy> {
    match (&table.model_name_or_path, table.kind) {
        (None, _) => Ok(start.clone()),
        (Some(name), VerifierKind::Scalar) => {
            let path = hub::resolve(name, table.revision.as_deref(), false)?;
            Ok(Policy::at(&path)?.kept_as(cx))
        }
        (Some(name), _) => Policy::writer(cx, name, table.revision.as_deref()),
    }
}

/// Problems to learn from and problems to evaluate on.
fn rows(cx: &Context, table: &Verifier) -> Result<[Vec<Problem>; 2]> {
    let load = loader(table);
    let both = examples::read(cx, "verifier", load, &table.data, table.eval.as_ref())?;
    told(&both, table)?;
    Ok(both)
}
