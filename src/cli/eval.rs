//! `duel eval`: how often a judge ranks held-out pairs right.

use super::reading::{Reading, file};
use super::{Global, numbers, output, setup};
use crate::data::{LoadOptions, Preference, load_preferences};
use crate::error::Result;
use crate::eval::{Accuracy, AccuracyReport};
use crate::judge::PairwiseModel;
use crate::pipeline::reward::accuracy;
use crate::pipeline::{examples, pairwise};
use crate::recipe::Overlong;
use crate::run::interval_name;
use clap::Args;
use std::path::PathBuf;

/// Accuracy of a reward model or a pairwise model on pairs, beside the length-only and the random baseline
///
/// Example: duel eval --model runs/my-reward/reward/checkpoint --data held-out.jsonl
#[derive(Debug, Args)]
pub struct Eval {
    /// The reward model
    #[arg(long, required_unless_present = "pairwise")]
    model: Option<String>,
    /// A pairwise preference model instead, asked in both orders
    #[arg(long, value_name = "MODEL", conflicts_with = "model")]
    pairwise: Option<String>,
    /// Pairs that it was not trained on
    #[arg(long, value_parser = file)]
    data: PathBuf,
    /// Longest prompt with response, in tokens
    #[arg(long, default_value_t = 2048, value_parser = numbers::from_1)]
    max_length: usize,
    /// Tokens computed at once
    #[arg(long, default_value_t = 4096, value_parser = numbers::from_1)]
    max_tokens_per_batch: usize,
    /// Read no more pairs than this
    #[arg(long, value_parser = numbers::from_1)]
    limit: Option<usize>,
    #[command(flatten)]
    reading: Reading,
}

impl Eval {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let options = LoadOptions {
            limit: self.limit,
            ..self.reading.options()
        };
        let (rows, report) = load_preferences(std::slice::from_ref(&self.data), &options)?;
        output::report(&report);
        let (judge, found) = match (&self.pairwise, &self.model) {
            (Some(name), _) => ("pairwise model", self.by_pairs(name, &rows, global)?),
            (None, name) => {
                let model = setup::model(name.as_deref().unwrap_or_default(), global)?;
                setup::warn_of_plain_text(&model.chat, rows.iter().map(|row| &row.prompt))?;
                let (max_length, budget) = (self.max_length, self.max_tokens_per_batch);
                ("reward model", accuracy(&model, &rows, max_length, budget)?)
            }
        };
        if global.json {
            return output::json(&found);
        }
        let row = |name: &str, a: &Accuracy| {
            vec![
                name.to_owned(),
                format!("{:.1} %", 100.0 * a.accuracy),
                format!("{:.1} to {:.1} %", 100.0 * a.low, 100.0 * a.high),
                a.pairs.to_string(),
                a.ties.to_string(),
            ]
        };
        let interval = interval_name(Some(found.confidence));
        let rows = vec![
            row(judge, &found.judge),
            row("the longer response", &found.length_only),
            row("a coin", &found.random),
        ];
        output::print(&output::table(
            &["judge", "right", &interval, "pairs", "ties"],
            rows,
        ))?;
        let of = |part: Option<Accuracy>| match part {
            Some(a) => format!("{:.1} % of {}", 100.0 * a.accuracy, a.pairs),
            None => "none".to_owned(),
        };
        let correlation = found.length.pearson;
        output::print(&format!(
            "right where the chosen response is the longer one: {}; where the rejected one is: {}; score and length correlate at {}",
            of(found.length.chosen_longer),
            of(found.length.rejected_longer),
            correlation.map_or("-".to_owned(), |rho| format!("{rho:.2}"))
        ))?;
        let Some(position) = found.position else {
            return Ok(());
        };
        output::print(&format!(
            "the first place has probability {:.3} in the mean; the other order turns {:.1} % of the pairs over; one order \
             alone is right on {:.1} %",
            position.first_place,
            100.0 * position.turned_over,
            100.0 * position.one_order
        ))
    }

    fn by_pairs(&self, name: &str, rows: &[Preference], global: &Global) -> Result<AccuracyReport> {
        let model = setup::writer(name, global)?;
        let limits = examples::limits(self.max_length, Overlong::TruncatePrompt, &model);
        let mut judge = PairwiseModel::new(&model, limits, self.max_tokens_per_batch)?;
        pairwise::accuracy(&mut judge, &model.chat, rows)
    }
}
