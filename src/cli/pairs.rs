//! `duel pairs`: preference pairs of judged responses.

use super::{Global, numbers, output};
use crate::data::Key;
use crate::error::{Error, Result};
use crate::judge::PairRule;
use crate::pipeline::pairs;
use crate::pipeline::responses::GroupRow;
use crate::recipe::Choose;
use crate::run::write_rows;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Preference pairs of judged responses
///
/// Example: duel pairs --data scores.jsonl --out judged-pairs.jsonl --choose max_min --length-penalty 0.001
#[derive(Debug, Args)]
pub struct Pairs {
    /// Rows of `duel judge --out`: responses with rewards
    #[arg(long)]
    data: PathBuf,
    /// Where the pairs go
    #[arg(long)]
    out: PathBuf,
    /// Which two responses: max_min, max_random, max_max, random
    #[arg(long, default_value = "max_min")]
    choose: Choose,
    /// Taken from the reward for every character
    #[arg(long, default_value_t = 0.0, value_parser = numbers::penalty)]
    length_penalty: f32,
    /// Taken from the reward of a response that was cut off
    #[arg(long, default_value_t = 0.0, value_parser = numbers::penalty)]
    missing_eos_penalty: f32,
    /// Pairs whose rewards differ by less are dropped
    #[arg(long, default_value_t = 0.0, value_parser = numbers::penalty)]
    min_margin: f32,
    /// For the random choices
    #[arg(long, default_value_t = 0, value_parser = numbers::seed)]
    seed: u64,
    /// Replace the file that `--out` names
    #[arg(long)]
    force: bool,
}

impl Pairs {
    /// The judged rows. What another program left out is filled in: the line's number as the id, and responses that
    /// ended by themselves.
    fn rows(&self) -> Result<Vec<GroupRow>> {
        let text =
            std::fs::read_to_string(&self.data).map_err(|e| Error::io(&self.data, "read", e))?;
        let mut rows = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let place = format!("{}:{}", self.data.display(), number + 1);
            let wrong = |what: String| {
                Error::data(what).at(&place).hint(
                    "a row is {\"id\", \"prompt\", \"responses\", \"finish\", \"rewards\"} with as many finite rewards as responses; `duel judge --out` writes them",
                )
            };
            let mut row: Value =
                serde_json::from_str(line).map_err(|e| wrong(format!("not JSON: {e}")))?;
            let count = row["responses"].as_array().map_or(0, Vec::len);
            let finite = |reward: &Value| reward.as_f64().is_some_and(f64::is_finite);
            let rewards = row["rewards"].as_array();
            if count == 0 || !rewards.is_some_and(|r| r.len() == count && r.iter().all(finite)) {
                return Err(wrong(format!(
                    "{count} `responses` need as many finite `rewards`"
                )));
            }
            if row["id"].is_null() {
                row["id"] = Value::from((number + 1).to_string());
            }
            if row["finish"].is_null() {
                row["finish"] = Value::from(vec!["stop"; count]);
            }
            if row["tokens"].is_null() {
                row["tokens"] = Value::from(Vec::<u64>::new());
            }
            rows.push(serde_json::from_value(row).map_err(|e| wrong(e.to_string()))?);
        }
        match rows.is_empty() {
            true => Err(Error::data(format!("{} has no rows", self.data.display()))
                .hint("`duel judge --out` writes judged rows")),
            false => Ok(rows),
        }
    }

    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        output::check_free(&self.out, &self.data, self.force)?;
        let rows = self.rows()?;
        let rule = PairRule {
            choose: self.choose,
            length_penalty: self.length_penalty,
            missing_eos_penalty: self.missing_eos_penalty,
            min_margin: self.min_margin,
            key: Key::new(self.seed).fold("pairs"),
        };
        let (found, counts) = pairs::choose(&rows, &rule)?;
        write_rows(&self.out, &found)?;
        match global.json {
            true => output::json(&counts),
            false => output::print(&format!("{counts} -> {}", self.out.display())),
        }
    }
}
