//! Supervised fine-tuning; with a new model, pretraining.

use super::context::{Context, Policy};
use super::examples;
use super::training::{Training, trained};
use crate::error::Result;
use crate::objective::Sft;
use crate::run::stage_key;

/// Trains on the recipe's conversations, beginning with `start`.
///
/// # Errors
/// What is wrong with the data, or whatever the trainer reports.
pub fn sft(cx: &mut Context, start: &Policy) -> Result<Policy> {
    let Some(table) = cx.recipe.sft.clone() else {
        return Ok(start.clone());
    };
    let mut inputs = vec![
        start.digest,
        examples::hash(&table.data)?,
        crate::recipe::hash_of(&cx.recipe.seed),
    ];
    inputs.extend(table.eval.as_ref().map(examples::hash).transpose()?);
    examples::readable(
        cx,
        examples::conversations,
        &table.data,
        table.eval.as_ref(),
    )?;
    let stage = cx.run.stage(
        "sft",
        stage_key(&crate::recipe::hash_of(&table).to_string(), &inputs)?,
    )?;
    let out = cx.run.layout().root().join("sft/checkpoint");
    let done = stage.complete(|stage| {
        let model = start.load(&cx.device, cx.trained(table.lora.as_ref()))?;
        let load = examples::conversations;
        let [rows, eval] = examples::read(cx, "sft", load, &table.data, table.eval.as_ref())?;
        let limits = examples::limits(table.max_length, table.overlong, &model);
        let prepared = examples::texts(&rows, &model.chat, &limits)?;
        let prepared = prepared.not_empty("conversation", table.max_length)?;
        let held_out = examples::texts(&eval, &model.chat, &limits)?;
        let held_out = held_out.held_out("sft", limits.max_length);
        let training = Training {
            stage,
            out: &out,
            objective: &mut Sft,
            guess_is_ln2: false,
            prepared: &prepared,
            held_out: &held_out,
            train: &table.train,
            lora: table.lora.as_ref(),
            key: cx.key.fold("sft"),
        };
        training.run(cx, model)?;
        Ok(())
    })?;
    Ok(trained(&done, &out))
}
