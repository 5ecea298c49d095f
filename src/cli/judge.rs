//! `duel judge`: a judge's rewards, one line a row.

use super::{Global, numbers, output, setup};
use crate::data::{LoadOptions, PromptRow, load_prompts};
use crate::error::{Error, Result};
use crate::generate::Finish;
use crate::judge::{RewardJudge, Rule, RuleJudge};
use crate::pipeline::judges::score_with;
use crate::pipeline::responses::GroupRow;
use crate::run::read_rows;
use clap::Args;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;

/// Rewards of responses: one JSON line a row, with `rewards`, or `chosen` and `rejected` for pairs
///
/// Example: duel judge --model runs/my-reward/reward/checkpoint --data responses.jsonl --json
#[derive(Debug, Args)]
pub struct Judge {
    /// A reward model: `*ForSequenceClassification` with one label
    #[arg(long)]
    model: Option<String>,
    /// A rule instead: sentence, no_repeats, feelings, polite, length:WORDS, contains:PHRASE, or a weighted sum
    #[arg(long, conflicts_with = "model")]
    rule: Option<String>,
    /// Rows with `responses`, or `chosen` and `rejected`
    #[arg(long)]
    data: PathBuf,
    /// Write the rows with their rewards to this file instead of printing them
    #[arg(long)]
    out: Option<PathBuf>,
    /// Longest prompt with response, in tokens
    #[arg(long, default_value_t = 2048, value_parser = numbers::from_1)]
    max_length: usize,
    /// Tokens computed at once
    #[arg(long, default_value_t = 4096, value_parser = numbers::from_1)]
    max_tokens_per_batch: usize,
    /// Count and list rows that cannot be read instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Take text prompts as a user's turn, with the model's chat template around them; text is else taken as it stands
    #[arg(long, alias = "chat")]
    text_as_chat: bool,
    /// Replace the file that `--out` names
    #[arg(long, requires = "out")]
    force: bool,
}

impl Judge {
    /// How responses of `duel generate` ended, and their tokens, go out as they came in.
    fn keep_what_is_known(&self, groups: &mut [GroupRow]) {
        let known: Vec<GroupRow> = read_rows(&self.data).unwrap_or_default();
        let known: HashMap<&str, &GroupRow> =
            known.iter().map(|row| (row.id.as_str(), row)).collect();
        for group in groups {
            if let Some(row) = known.get(group.id.as_str())
                && row.responses == group.responses
            {
                group.finish.clone_from(&row.finish);
                group.tokens.clone_from(&row.tokens);
            }
        }
    }

    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        if let Some(out) = &self.out {
            output::check_free(out, &self.data, self.force)?;
        }
        let options = LoadOptions {
            skip_bad: self.skip_bad,
            text_as_chat: self.text_as_chat,
            ..LoadOptions::default()
        };
        let (rows, report) = load_prompts(std::slice::from_ref(&self.data), &options)?;
        output::report(&report);
        if let Some(row) = rows.iter().find(|row| row.responses.is_empty()) {
            return Err(Error::data("the row has no responses")
                .at(&row.origin)
                .hint("rows need `responses`, or `chosen` and `rejected`; `duel generate` writes the former"));
        }
        let mut groups: Vec<GroupRow> = rows.iter().map(group).collect();
        self.keep_what_is_known(&mut groups);
        let mut scored = Vec::with_capacity(groups.len());
        let mut keep = |row| {
            scored.push(row);
            Ok(())
        };
        match (&self.model, &self.rule) {
            (_, Some(rule)) => {
                score_with(&mut RuleJudge(rule.parse::<Rule>()?), groups, &mut keep)?
            }
            (Some(name), None) => {
                let model = setup::model(name, global)?;
                setup::warn_of_plain_text(&model.chat, rows.iter().map(|row| &row.prompt))?;
                let mut judge =
                    RewardJudge::new(&model, self.max_length, self.max_tokens_per_batch)?;
                score_with(&mut judge, groups, &mut keep)?;
            }
            (None, None) => {
                return Err(
                    Error::user("no judge was named").hint("give --model MODEL, or --rule FORMULA")
                );
            }
        }
        let pairs = rows.iter().map(|row| row.is_pair);
        let lines = scored.iter().zip(pairs).map(|(row, pair)| line(row, pair));
        match &self.out {
            None => lines.into_iter().try_for_each(|line| output::json(&line)),
            Some(path) => crate::run::write_rows(path, &scored),
        }
    }
}

fn group(row: &PromptRow) -> GroupRow {
    GroupRow {
        id: row.id.clone(),
        prompt: (&row.prompt).into(),
        finish: vec![Finish::Stop; row.responses.len()],
        tokens: Vec::new(),
        responses: row.responses.clone(),
        rewards: Vec::new(),
    }
}

fn line(row: &GroupRow, pair: bool) -> Value {
    match (pair, &row.rewards[..]) {
        (true, [chosen, rejected]) => {
            json!({"id": row.id, "chosen": chosen, "rejected": rejected, "rewards": row.rewards})
        }
        _ => json!({"id": row.id, "rewards": row.rewards}),
    }
}
