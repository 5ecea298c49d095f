//! A training stage: a model in, examples through the trainer, a model out. SFT, reward models and DPO differ only
//! in what they hand over.

use super::context::{Context, Policy};
use super::examples::Prepared;
use crate::data::{Key, PromptRow};
use crate::error::{Error, Result};
use crate::model::files::StoreDtype;
use crate::model::init::Random;
use crate::model::params::is_adapter;
use crate::model::{LoraShape, Model};
use crate::objective::{Example, Objective};
use crate::recipe::{Lora, Train};
use crate::run::StageDir;
use crate::text::{Chat, lacks_template};
use crate::trainer::diagnose::{Diagnoser, Diagnosis, Severity, StepMetrics, Watched};
use crate::trainer::{Checkpoints, Fit, Plan, StepRecord};
use std::path::Path;

/// What a training stage trains with.
pub struct Training<'a> {
    /// The open stage.
    pub stage: &'a StageDir,
    /// Where the trained model goes; checkpoints to resume from lie beside its files.
    pub out: &'a Path,
    /// What is minimised.
    pub objective: &'a mut dyn Objective,
    /// ln 2 is this objective's loss for a coin flip.
    pub guess_is_ln2: bool,
    /// The rows.
    pub prepared: &'a Prepared,
    /// Rows that are only evaluated.
    pub held_out: &'a [Example],
    /// The optimiser.
    pub train: &'a Train,
    /// Adapters instead of all weights.
    pub lora: Option<&'a Lora>,
    /// Seed of the order and of fresh adapters.
    pub key: Key,
}

/// Of the weights the optimiser writes to: f32, whatever the forward pass computes in. A coarser type would hold
/// the only copy of what is learnt, and round small steps away.
const SIGNIFICAND_BITS: i32 = f32::MANTISSA_DIGITS as i32;

/// The adapter that a recipe asks for.
pub fn lora_shape(lora: &Lora) -> LoraShape {
    LoraShape {
        r: lora.r,
        alpha: lora.lora_alpha,
        rank_stabilised: lora.use_rslora,
        targets: lora.target_modules.clone(),
    }
}

impl Training<'_> {
    /// Trains `model` and writes it to `out`. Returns the last step's record.
    ///
    /// # Errors
    /// A refused step, a failed write, or ^C.
    pub fn run(self, cx: &mut Context, mut model: Model) -> Result<Option<StepRecord>> {
        let name = self.stage.name().to_owned();
        let shape = self.lora.map(lora_shape);
        let decoder = match &shape {
            // A policy that came out of an earlier LoRA round goes on with the adapter it has.
            Some(shape) if model.decoder.has_adapters() => {
                if !model.decoder.carries(shape) {
                    return Err(other_adapter(&model));
                }
                model.decoder
            }
            Some(shape) => {
                let mut fresh = Random::new(self.key.fold("adapter"), 0.0);
                model.decoder.adapt(shape, &mut fresh)?
            }
            None => model.decoder.merged(),
        };
        let trained = |name: &str| shape.is_none() || is_adapter(name) || name == "score.weight";
        let decoder = decoder.tracked(trained);
        let (all, learning) = decoder.parameter_counts();
        tracing::info!(
            "{name}: {} rows, {learning} of {all} parameters trained",
            self.prepared.examples.len()
        );
        let checkpoints = Checkpoints::new(self.out.to_owned(), self.train.save_total_limit);
        let resumed_at = checkpoints.latest()?.map(|saved| saved.step);
        if let Some(step) = resumed_at {
            tracing::info!("{name}: going on after step {step}");
        }
        cx.metrics
            .resume(&name, resumed_at.map_or(0, |step| step as u64 + 1))?;
        let audit = &self.prepared.audit;
        if self.prepared.dropped + audit.truncated > 0 {
            tracing::info!(
                "{name}: {} rows left out for their length, {} prompts cut from the left",
                self.prepared.dropped,
                audit.truncated
            );
        }
        let mut diagnoser = Diagnoser::new(Watched {
            guess_is_ln2: self.guess_is_ln2,
            significand_bits: SIGNIFICAND_BITS,
            weight_rms: decoder.trained_rms(),
        });
        let found = diagnoser.data(&self.prepared.audit);
        cx.diagnose(&name, found)?;
        let plan = Plan::new(self.prepared.examples.len(), self.train, self.key);
        // The rounds of an online run go on with each other's weights.
        let rounds = match (rows_of(&name).0, &cx.recipe.online) {
            ("online", Some(online)) => online.rounds,
            _ => 1,
        };
        diagnoser.planned(plan.steps);
        let found = diagnoser.length(plan.steps * rounds, self.train.max_steps.is_some());
        cx.diagnose(&name, found)?;
        if self.prepared.lacks_template {
            cx.diagnose(rows_of(&name).0, vec![plain_text(rows_of(&name).1)])?;
        }
        let mut last = None;
        let every = self.train.logging_steps;
        let mut sink = |record: &StepRecord| -> Result<()> {
            let found = diagnoser.step(&watched(record));
            cx.diagnose(&name, found)?;
            let evaluated = record
                .values
                .iter()
                .any(|(name, _)| name.starts_with("eval_"));
            if record.step.is_multiple_of(every) || evaluated {
                let values: Vec<(&str, f64)> = record
                    .values
                    .iter()
                    .map(|(name, value)| (name.as_str(), *value))
                    .collect();
                cx.metrics.record(&name, record.step as u64, &values)?;
                tracing::info!("{name}: {}", line(record));
            }
            last = Some(record.clone());
            Ok(())
        };
        let fit = Fit {
            stage: &name,
            objective: &mut *self.objective,
            examples: &self.prepared.examples,
            held_out: self.held_out,
            train: self.train,
            key: self.key,
            checkpoints: Some(checkpoints.clone()),
            sink: &mut sink,
            resumed: &mut |_| Ok(()),
        };
        // The weights moved into the trainer, which writes over them: no second copy lies in memory meanwhile.
        let decoder = fit.run(decoder)?.untracked();
        model.decoder = self.objective.finished(decoder);
        model.save(self.out, &model.decoder, shape.as_ref(), StoreDtype::F32)?;
        checkpoints.clear()?;
        Ok(last)
    }
}

/// The stage and the table that a training's rows came from: every round of an online run has those of the run.
fn rows_of(stage: &str) -> (&str, &'static str) {
    match stage {
        "sft" => (stage, "sft.data"),
        "dpo" => (stage, "dpo.data"),
        "reward" | "reward-second" => ("reward", "reward.data"),
        "verifier" => (stage, "verifier.data"),
        _ if stage.starts_with("pairwise") => ("pairwise", "pairwise.data"),
        _ => ("online", "online.prompts"),
    }
}

/// Says of text prompts that no chat template is put around them, where the model has one.
///
/// # Errors
/// Text that the tokenizer refuses, or metrics that cannot be written.
pub(super) fn tell_of_plain_prompts(
    cx: &mut Context,
    [stage, table]: [&str; 2],
    chat: &Chat,
    prompts: &[PromptRow],
) -> Result<()> {
    let plain = prompts.iter().map(|row| row.prompt.plain());
    match lacks_template(chat, plain)? {
        true => cx.diagnose(stage, vec![plain_text(table)]),
        false => Ok(()),
    }
}

fn plain_text(table: &str) -> Diagnosis {
    Diagnosis {
        name: "chat-template-unused",
        severity: Severity::Warning,
        message: "the prompts are plain text and are taken as they stand, although the model has a chat template"
            .to_owned(),
        mend: format!("`--set {table}.text_as_chat=true` makes each a user's turn"),
        step: 0,
    }
}

fn other_adapter(model: &Model) -> Error {
    Error::user(format!(
        "the model over {} already carries an adapter of another shape",
        model.path.display()
    ))
    .hint("give every stage the same [..lora], or merge the adapter first: `duel export MODEL --out FOLDER`")
}

/// The policy that a training stage wrote.
pub fn trained(stage: &StageDir, out: &Path) -> Policy {
    Policy::of_stage(stage, out.to_owned())
}

/// What the diagnoser looks at.
fn watched(record: &StepRecord) -> StepMetrics {
    let first = |names: &[&str]| names.iter().find_map(|name| record.get(name));
    StepMetrics {
        step: record.step as u64 - 1,
        loss: record.get("loss").unwrap_or(f64::NAN),
        grad_norm: record.get("grad_norm").unwrap_or(f64::NAN),
        learning_rate: record.get("learning_rate").unwrap_or(0.0),
        accuracy: first(&["rewards/accuracies", "accuracy"]),
        margin: first(&["rewards/margins", "margin"]),
        chosen_logp: record.get("logps/chosen"),
    }
}

/// A step in one line.
fn line(record: &StepRecord) -> String {
    let shown = [
        ("loss", "loss"),
        ("accuracy", "accuracy"),
        ("rewards/accuracies", "accuracy"),
        ("rewards/margins", "margin"),
        ("mean_token_accuracy", "token accuracy"),
        ("grad_norm", "grad norm"),
        ("eval_loss", "eval loss"),
        ("eval_accuracy", "eval accuracy"),
        ("eval_mean_token_accuracy", "eval token accuracy"),
    ];
    let mut text = format!("step {}/{}", record.step, record.steps);
    for (name, label) in shown {
        if let Some(value) = record.get(name) {
            text += &format!("  {label} {value:.4}");
        }
    }
    text
}
