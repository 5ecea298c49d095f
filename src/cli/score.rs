//! `duel score`: log-probs and losses of pairs, one line each.

use super::faults::Faults;
use super::kept::Keeping;
use super::loss::Loss;
use super::reading::{self, Reading, file};
use super::{Global, numbers, output, setup};
use crate::data::{LoadOptions, Preference, load_preferences};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::objective::Example;
use crate::objective::pair::{PairLogps, PairState, pair_loss};
use crate::pipeline::{examples, pairs};
use crate::recipe::{Overlong, PairLoss};
use burn::tensor::{Tensor, TensorData};
use clap::Args;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Log-probs and losses of preference pairs: one JSON line a pair in input order, then the means
///
/// A row that has no numbers (chosen and rejected are equal, a response longer than the limit) has a line with its
/// number and an `error`, and is not in the means; where no row has numbers, the means are null.
///
/// Example: duel score --model M --reference R --data pairs.jsonl --loss sigmoid --beta 0.1 --json
#[derive(Debug, Args)]
pub struct Score {
    /// The policy
    #[arg(long)]
    model: String,
    /// The reference; absent: the model itself, which makes every margin 0
    #[arg(long)]
    reference: Option<String>,
    /// Pairs: jsonl or parquet, or a data set of the hub
    #[arg(long, value_parser = file)]
    data: PathBuf,
    #[command(flatten)]
    loss: Loss,
    /// Longest prompt with response; prompts lose their beginning
    #[arg(long, value_parser = numbers::from_1)]
    max_length: Option<usize>,
    /// Tokens computed at once
    #[arg(long, default_value_t = 4096, value_parser = numbers::from_1)]
    max_tokens_per_batch: usize,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    reading: Reading,
}

impl Score {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let loss = self.loss.config()?;
        let options = LoadOptions {
            allow_none: true,
            ..self.reading.options_of(&self.data)
        };
        let (rows, report) = load_preferences(&reading::rows(&self.data)?, &options)?;
        output::report(&report);
        let model = setup::writer(&self.model, global, self.keeping)?;
        let limits = examples::limits(
            self.max_length.unwrap_or(usize::MAX),
            Overlong::TruncatePrompt,
            &model,
        );
        let prepared = examples::pairs(&rows, &model.chat, &limits, true)?;
        setup::warn_of_plain_text(&model.chat, rows.iter().map(|row| &row.prompt))?;
        let mut faults = Faults::unread(&report);
        let unread = faults.len();
        left_out(&mut faults, &rows, &prepared.examples, limits.max_length);
        if faults.len() > unread {
            output::note(&format!(
                "{} pairs are too long: their lines say `error`",
                faults.len() - unread
            ));
        }
        let policy = self.logps(&model, &prepared.examples)?;
        let reference = match &self.reference {
            Some(name) => {
                let reference = setup::writer(name, global, self.keeping)?;
                examples::same_tokens(&model, &reference)?;
                self.logps(&reference, &prepared.examples)?
            }
            None => policy.clone(),
        };
        let losses = losses(&loss, &prepared.examples, &policy, &reference, &model)?;
        let mut sums = [0.0f64; 7];
        let errors = faults.len();
        let mut faults = faults.in_order();
        let lines: HashMap<&str, usize> =
            rows.iter().map(|row| (&*row.id, row.origin.line)).collect();
        for (i, example) in prepared.examples.iter().enumerate() {
            let tokens = |k: usize| example.sequences[k].scored_count();
            let numbers = [
                policy[i][0],
                policy[i][1],
                reference[i][0],
                reference[i][1],
                losses[i],
                tokens(0) as f32,
                tokens(1) as f32,
            ];
            for (sum, number) in sums.iter_mut().zip(numbers) {
                *sum += f64::from(number);
            }
            faults.print_before(lines[&*example.id])?;
            output::json(&json!({
                "id": example.id,
                "chosen_logp": policy[i][0],
                "rejected_logp": policy[i][1],
                "ref_chosen_logp": reference[i][0],
                "ref_rejected_logp": reference[i][1],
                "chosen_tokens": tokens(0),
                "rejected_tokens": tokens(1),
                "loss": losses[i],
            }))?;
        }
        faults.print_rest()?;
        let count = prepared.examples.len();
        let mean = |i: usize| (count > 0).then(|| sums[i] / count as f64);
        output::json(&json!({
            "pairs": count,
            "errors": errors,
            "chosen_logp": mean(0),
            "rejected_logp": mean(1),
            "ref_chosen_logp": mean(2),
            "ref_rejected_logp": mean(3),
            "chosen_tokens": mean(5),
            "rejected_tokens": mean(6),
            "loss": mean(4),
        }))
    }

    fn logps(&self, model: &Model, rows: &[Example]) -> Result<Vec<Vec<f32>>> {
        let rows: Vec<&Example> = rows.iter().collect();
        let mut all = Vec::with_capacity(rows.len());
        pairs::logps(
            &model.decoder,
            &rows,
            0,
            self.max_tokens_per_batch,
            "score",
            &mut |_, logps| {
                all.push(logps);
                Ok(())
            },
        )?;
        Ok(all)
    }
}

/// Rows whose response alone does not fit: they are never cut.
fn left_out(faults: &mut Faults, rows: &[Preference], kept: &[Example], max_length: usize) {
    let kept: HashSet<&str> = kept.iter().map(|example| &*example.id).collect();
    let reason = format!("a response is not shorter than the {max_length} tokens of the limit");
    for row in rows.iter().filter(|row| !kept.contains(&*row.id)) {
        faults.add(&row.id, &row.origin, &reason);
    }
}

/// The loss of each pair.
fn losses(
    config: &PairLoss,
    rows: &[Example],
    policy: &[Vec<f32>],
    reference: &[Vec<f32>],
    model: &Model,
) -> Result<Vec<f32>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let device = model.decoder.device();
    let column =
        |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [rows.len()]), &device);
    let of = |from: &[Vec<f32>], k: usize| column(from.iter().map(|row| row[k]).collect());
    let tokens = |k: usize| {
        column(
            rows.iter()
                .map(|row| row.sequences[k].scored_count() as f32)
                .collect(),
        )
    };
    let logps = PairLogps {
        chosen: of(policy, 0),
        rejected: of(policy, 1),
        ref_chosen: of(reference, 0),
        ref_rejected: of(reference, 1),
        chosen_tokens: tokens(0),
        rejected_tokens: tokens(1),
        tokens_per_pair: None,
    };
    let losses = pair_loss(config, &logps, &mut PairState::default());
    losses
        .into_data()
        .try_into_vec()
        .map_err(|e| Error::internal(format!("the losses are not f32: {e:?}")))
}
