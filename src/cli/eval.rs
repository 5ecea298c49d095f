//! `duel eval`: how often a reward model ranks held-out pairs right.

use super::reading::{Reading, file};
use super::{Global, numbers, output, setup};
use crate::data::{LoadOptions, load_preferences};
use crate::error::Result;
use crate::eval::Accuracy;
use crate::pipeline::reward::accuracy;
use crate::run::interval_name;
use clap::Args;
use std::path::PathBuf;

/// Accuracy of a reward model on pairs, beside the length-only and the random baseline
///
/// Example: duel eval --model runs/my-reward/reward/checkpoint --data held-out.jsonl
#[derive(Debug, Args)]
pub struct Eval {
    /// The reward model
    #[arg(long)]
    model: String,
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
        let model = setup::model(&self.model, global)?;
        setup::warn_of_plain_text(&model.chat, rows.iter().map(|row| &row.prompt))?;
        let found = accuracy(&model, &rows, self.max_length, self.max_tokens_per_batch)?;
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
            row("reward model", &found.judge),
            row("the longer response", &found.length_only),
            row("a coin", &found.random),
        ];
        output::print(&output::table(
            &["judge", "right", &interval, "pairs", "ties"],
            rows,
        ))
    }
}
