//! `duel pairs`: preference pairs of judged responses.

use super::reading::{self, Reading, file};
use super::{Global, numbers, output};
use crate::data::{Key, PromptRow, load_prompts};
use crate::error::{Error, Result};
use crate::judge::PairRule;
use crate::pipeline::pairs;
use crate::pipeline::responses::{self, GroupRow};
use crate::recipe::Choose;
use crate::run::write_rows;
use clap::Args;
use std::path::PathBuf;

/// Preference pairs of judged responses
///
/// Example: duel pairs --data scores.jsonl --out judged-pairs.jsonl --choose max_min --length-penalty 0.001
#[derive(Debug, Args)]
pub struct Pairs {
    /// Rows of `duel judge --out`: responses with rewards, in a file or a data set of the hub
    #[arg(long, value_parser = file)]
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
    #[command(flatten)]
    reading: Reading,
    /// Replace the file that `--out` names
    #[arg(long)]
    force: bool,
}

impl Pairs {
    /// The judged rows. What another program left out is filled in: the line's number as the id, and responses that
    /// ended by themselves.
    fn rows(&self) -> Result<Vec<GroupRow>> {
        let options = self.reading.options_of(&self.data);
        let (rows, report) = load_prompts(&reading::rows(&self.data)?, &options)?;
        output::report(&report);
        let judged = |row: &PromptRow| {
            match row.noted.rewards.is_empty() {
            false => Ok(responses::read(row)),
            true => Err(
                Error::data("the row has no `rewards` of its `responses`").at(&row.origin).hint(
                    "a row is {\"prompt\", \"responses\", \"rewards\"}, with \"id\", \"finish\" and \"tokens\" where they \
                     are known; `duel judge --out` writes them",
                ),
            ),
        }
        };
        rows.iter().map(judged).collect()
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
        if found.is_empty() {
            return Err(Error::data(format!("no pair: {counts}")).hint(
                "draw more responses at a higher temperature, or lower --min-margin; nothing was written",
            ));
        }
        write_rows(&self.out, &found)?;
        match global.json {
            true => output::json(&counts),
            false => output::print(&format!("{counts} -> {}", self.out.display())),
        }
    }
}
