//! `duel pairs`: preference pairs of judged responses.

use super::{Global, output};
use crate::data::Key;
use crate::error::Result;
use crate::judge::{Choose, PairRule};
use crate::pipeline::pairs;
use crate::pipeline::responses::GroupRow;
use crate::run::{read_rows, write_atomic_with};
use clap::Args;
use std::path::PathBuf;

/// Preference pairs of judged responses
///
/// Example: duel pairs --data scores.jsonl --out pairs.jsonl --choose max_min --length-penalty 0.001
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
    #[arg(long, default_value_t = 0.0)]
    length_penalty: f32,
    /// Taken from the reward of a response that was cut off
    #[arg(long, default_value_t = 0.0)]
    missing_eos_penalty: f32,
    /// Pairs whose rewards differ by less are dropped
    #[arg(long, default_value_t = 0.0)]
    min_margin: f32,
    /// For the random choices
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Pairs {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let rows: Vec<GroupRow> = read_rows(&self.data)?;
        let rule = PairRule {
            choose: self.choose,
            length_penalty: self.length_penalty,
            missing_eos_penalty: self.missing_eos_penalty,
            min_margin: self.min_margin,
            key: Key::new(self.seed).fold("pairs"),
        };
        let (found, counts) = pairs::choose(&rows, &rule)?;
        write_atomic_with(&self.out, |out| {
            for row in &found {
                serde_json::to_writer(&mut *out, row)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        })?;
        match global.json {
            true => output::json(&counts),
            false => output::print(&format!("{counts} -> {}", self.out.display())),
        }
    }
}
