//! Offline DPO on a fixed file of pairs: the baseline of the online loop.

use super::context::{Context, Policy};
use super::training::{Training, trained};
use super::{examples, pairs};
use crate::error::Result;
use crate::objective::Preference;
use crate::recipe::PairLoss;
use crate::run::stage_key;

/// ln 2 is the loss of a policy that does not differ from its reference.
pub(super) fn guess_is_ln2(loss: &PairLoss) -> bool {
    use crate::recipe::LossType;
    loss.loss_type == [LossType::Sigmoid] && loss.rpo_alpha.is_none()
}

/// Trains on the recipe's pairs, beginning with `start`.
///
/// # Errors
/// What is wrong with the data, or whatever the trainer reports.
pub fn dpo(cx: &mut Context, start: &Policy) -> Result<Policy> {
    let Some(table) = cx.recipe.dpo.clone() else {
        return Ok(start.clone());
    };
    let reference = match &table.ref_model {
        Some(name) => Policy::writer(cx, name, table.ref_model_revision.as_deref())?,
        None => start.clone(),
    };
    let mut inputs = vec![
        start.digest,
        reference.digest,
        examples::hash(&table.data)?,
        crate::recipe::hash_of(&cx.recipe.seed),
    ];
    inputs.extend(table.eval.as_ref().map(examples::hash).transpose()?);
    examples::readable(cx, examples::preferences, &table.data, table.eval.as_ref())?;
    let stage = cx.run.stage(
        "dpo",
        stage_key(&crate::recipe::hash_of(&table).to_string(), &inputs)?,
    )?;
    let root = cx.run.layout().root().join("dpo");
    let out = root.join("checkpoint");
    let done = stage.complete(|stage| {
        stage.folder()?;
        let model = start.load(&cx.device, cx.trained(table.lora.as_ref()))?;
        let load = examples::preferences;
        let [rows, eval] = examples::read(cx, "dpo", load, &table.data, table.eval.as_ref())?;
        let limits = examples::limits(table.max_length, table.overlong, &model);
        let prepared = examples::pairs(&rows, &model.chat, &limits, true)?;
        let mut prepared = prepared.not_empty("pair", table.max_length)?;
        let held_out = examples::pairs(&eval, &model.chat, &limits, true)?;
        let mut held_out = held_out.held_out("dpo", limits.max_length);
        if table.loss.needs_reference() {
            let other = (reference != *start).then(|| reference.load(&cx.device, cx.frozen()));
            let reference = match &other.transpose()? {
                Some(other) => {
                    examples::same_tokens(&model, other)?;
                    other.decoder.clone()
                }
                // One copy of the weights serves both.
                None => model.decoder.clone(),
            };
            let budget = table.train.max_tokens_per_batch;
            let file = |name: &str| root.join(name);
            pairs::reference(
                &reference,
                &mut prepared.examples,
                budget,
                &file("reference.jsonl"),
            )?;
            pairs::reference(
                &reference,
                &mut held_out,
                budget,
                &file("reference-eval.jsonl"),
            )?;
        }
        let training = Training {
            stage,
            out: &out,
            objective: &mut Preference::new(table.loss.clone()),
            guess_is_ln2: guess_is_ln2(&table.loss),
            prepared: &prepared,
            held_out: &held_out,
            train: &table.train,
            lora: table.lora.as_ref(),
            key: cx.key.fold("dpo"),
        };
        training.run(cx, model)?;
        Ok(())
    })?;
    Ok(trained(&done, &out))
}
