//! `duel judge`: a judge's rewards, one line a row.

use super::explain::{explain, explain_rule};
use super::faults::Faults;
use super::kept::Keeping;
use super::reading::{self, Reading, file};
use super::steps::separator;
use super::{Global, numbers, output, setup};
use crate::data::{LoadOptions, Needs, PromptRow, load_prompts};
use crate::error::{Error, Result};
use crate::judge::{
    Judge as Rank, PairwiseModel, RewardJudge, Rule, RuleJudge, Tournament, TreeModel, Verifier,
};
use crate::model::Model;
use crate::pipeline::examples;
use crate::pipeline::judges::{self, score_with};
use crate::pipeline::responses::{self, GroupRow};
use crate::recipe::{Aggregate, Overlong, Rounds};
use crate::text::{Answer, Comparison, Fit, Limits};
use clap::Args;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Rewards of responses: one JSON line a row in input order, with `rewards`, or `chosen` and `rejected` for pairs
///
/// A row that has no rewards (an empty prompt, a response longer than the limit) has a line with its number and an
/// `error`; a file of --out has only the rows with rewards.
///
/// Example: duel judge --model runs/my-reward/reward/checkpoint --data responses.jsonl --json
#[derive(Debug, Args)]
pub struct Judge {
    /// A reward model: `*ForSequenceClassification` with one label, or a multi-objective one
    #[arg(long)]
    model: Option<String>,
    /// Print what the scores of a multi-objective model are made of: each attribute's reward, before and after the debiasing, its
    /// weight in the gate, and its coefficient; or why a rule gives each
    #[arg(long, conflicts_with_all = ["out", "pairwise", "process", "outcome", "command", "remote"])]
    explain: bool,
    /// A pairwise preference model instead: a chat model that answers which of two responses is the better
    #[arg(long, value_name = "MODEL", conflicts_with = "model")]
    pairwise: Option<String>,
    /// Let it meet responses in a knock-out, not each with each
    #[arg(long, requires = "pairwise")]
    knock_out: bool,
    /// A process reward model instead: it marks every step of a response
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["model", "pairwise"])]
    process: Option<String>,
    /// An outcome reward model instead: it marks the whole response
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["model", "pairwise", "process"])]
    outcome: Option<String>,
    /// How the scores of the steps become one
    #[arg(
        long,
        default_value = "mean",
        requires = "process",
        conflicts_with = "outcome"
    )]
    aggregate: Aggregate,
    /// What stands between two steps; \n is a line break
    #[arg(long, default_value = r"\n\n", value_parser = separator, requires = "process", conflicts_with = "outcome")]
    separator: String,
    /// A rule instead: sentence, no_repeats, feelings, polite, length:WORDS, contains:PHRASE, avoids:PHRASE, answer (the row's
    /// `answer`), or a weighted sum; or matches:REGEX
    #[arg(long, conflicts_with_all = ["model", "pairwise", "process", "outcome", "compute", "load_in_4bit"])]
    rule: Option<String>,
    /// A program instead, with its arguments as one text: it reads JSON lines with `prompt` and `responses` and answers each
    /// with a line `{"rewards": [...]}`
    #[arg(long, conflicts_with_all = ["model", "pairwise", "process", "outcome", "rule", "compute", "load_in_4bit"])]
    command: Option<String>,
    /// A model behind an OpenAI-compatible endpoint instead: its address up to /chat/completions
    #[arg(long, value_name = "URL", conflicts_with_all = ["model", "pairwise", "process", "outcome", "rule", "command", "compute", "load_in_4bit"], requires = "remote_model")]
    remote: Option<String>,
    /// The model's name there
    #[arg(long, value_name = "NAME", requires = "remote")]
    remote_model: Option<String>,
    /// The environment variable that holds its API key
    #[arg(long, value_name = "NAME", requires = "remote")]
    api_key_env: Option<String>,
    /// Ask it for a grade of each response, not which of two is the better
    #[arg(long, requires = "remote")]
    grades: bool,
    /// Rows with `responses`, or `chosen` and `rejected`: a file, or a data set of the hub
    #[arg(long, value_parser = file)]
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
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    reading: Reading,
    /// Replace the file that `--out` names
    #[arg(long, requires = "out")]
    force: bool,
}

impl Judge {
    /// Whether it asks a model elsewhere, whose replies are kept.
    pub fn asks_an_endpoint(&self) -> bool {
        self.remote.is_some()
    }

    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        if let Some(out) = &self.out {
            output::check_free(out, &self.data, self.force)?;
        }
        let rule = self.rule.as_deref().map(str::parse::<Rule>).transpose()?;
        let options = LoadOptions {
            allow_none: true,
            needs: match rule.as_ref().is_some_and(Rule::asks_for_answer) {
                true => Needs::Answer,
                false => Needs::Nothing,
            },
            ..self.reading.options_of(&self.data)
        };
        let (rows, report) = load_prompts(&reading::rows(&self.data)?, &options)?;
        output::report(&report);
        let mut faults = Faults::unread(&report);
        let rows = answered(rows, &mut faults)?;
        match (&self.model, rule) {
            (_, Some(rule)) if self.explain => explain_rule(&rule, &rows, faults, global),
            (_, Some(rule)) => self.judge(&mut RuleJudge::new(rule), &rows, faults),
            (None, None) if self.pairwise.is_some() => self.by_pairs(rows, faults, global),
            (None, None) if self.process.is_some() || self.outcome.is_some() => {
                self.by_verifier(rows, faults, global)
            }
            (None, None) if self.command.is_some() || self.remote.is_some() => {
                self.judge(&mut *self.elsewhere()?, &rows, faults)
            }
            (Some(name), None) => {
                let model = setup::model(name, global, self.keeping)?;
                setup::warn_of_plain_text(&model.chat, rows.iter().map(|row| &row.prompt))?;
                let mut judge =
                    RewardJudge::new(&model, self.max_length, self.max_tokens_per_batch)?;
                let rows = self.fitting(rows, &model, &mut faults)?;
                if self.explain {
                    return explain(&model, &judge, &rows, faults, global);
                }
                self.judge(&mut judge, &rows, faults)
            }
            (None, None) => Err(Error::user("no judge was named")
                .hint("give --model MODEL, --pairwise MODEL, --process MODEL, --outcome MODEL, --rule FORMULA, --command PROGRAM or --remote URL")),
        }
    }

    /// By a pairwise preference model or a decision tree, whose scores are shares of wins.
    fn by_pairs(&self, rows: Vec<PromptRow>, mut faults: Faults, global: &Global) -> Result<()> {
        let name = self.pairwise.as_deref().unwrap_or_default();
        let model = setup::model(name, global, self.keeping)?;
        let rounds = match self.knock_out {
            true => Rounds::KnockOut,
            false => Rounds::RoundRobin,
        };
        if let Some(compare) = TreeModel::of(&model, self.max_length, self.max_tokens_per_batch)? {
            let kept = self.fitting(rows, &model, &mut faults)?;
            return self.judge(&mut Tournament { compare, rounds }, &kept, faults);
        }
        setup::warn_of_other_stage(name, "pairwise");
        model.must_write(name)?;
        let limits = examples::limits(self.max_length, Overlong::TruncatePrompt, &model);
        let reason = format!(
            "two responses do not fit side by side into the {} tokens of the limit",
            limits.max_length
        );
        let mut kept = Vec::with_capacity(rows.len());
        for row in rows {
            match side_by_side(&row, &model, &limits)? {
                true => kept.push(row),
                false => faults.add(&row.id, &row.origin, &reason),
            }
        }
        let compare = PairwiseModel::new(&model, limits, self.max_tokens_per_batch)?;
        self.judge(&mut Tournament { compare, rounds }, &kept, faults)
    }

    /// By a process or an outcome reward model, whose scores are probabilities.
    fn by_verifier(&self, rows: Vec<PromptRow>, mut faults: Faults, global: &Global) -> Result<()> {
        let separator = self.process.as_ref().map(|_| self.separator.clone());
        let name = self.process.as_deref().or(self.outcome.as_deref());
        let name = name.unwrap_or_default();
        setup::warn_of_other_stage(name, "verifier");
        let model = setup::model(name, global, self.keeping)?;
        let (length, budget) = (self.max_length, self.max_tokens_per_batch);
        let mut judge = Verifier::new(&model, separator, self.aggregate, length, budget)?;
        let reason = format!("a response does not fit into {length} tokens with its marks");
        let mut kept = Vec::with_capacity(rows.len());
        for row in rows {
            match judge
                .fits(&row.prompt, &row.responses)
                .map_err(|e| e.at(&row.origin))?
            {
                true => kept.push(row),
                false => faults.add(&row.id, &row.origin, &reason),
            }
        }
        self.judge(&mut judge, &kept, faults)
    }

    /// A judge that is no part of duel.
    fn elsewhere(&self) -> Result<Box<dyn Rank>> {
        let table = match (&self.command, &self.remote) {
            (Some(program), _) => return Ok(Box::new(judges::program(program)?)),
            (None, remote) => json!({
                "base_url": remote,
                "model": self.remote_model,
                "api_key_env": self.api_key_env,
                "ask": if self.grades { "grades" } else { "pairs" },
            }),
        };
        let table = serde_json::from_value(table);
        judges::remote(&table.map_err(|error| Error::internal(error.to_string()))?)
    }

    /// The rows whose responses the model can read whole; the others are faults.
    fn fitting(
        &self,
        rows: Vec<PromptRow>,
        model: &Model,
        faults: &mut Faults,
    ) -> Result<Vec<PromptRow>> {
        let limits = examples::limits(self.max_length, Overlong::TruncatePrompt, model);
        let fits = |row: &PromptRow| -> Result<bool> {
            for response in &row.responses {
                let encoded = model.chat.response(&row.prompt, response, true);
                let mut encoded = encoded.map_err(|e| e.at(&row.origin))?;
                if let Fit::Dropped(_) = limits.response(&mut encoded) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let fits: Vec<bool> = rows.par_iter().map(fits).collect::<Result<_>>()?;
        let max_length = limits.max_length;
        let reason = format!("a response is not shorter than the {max_length} tokens of the limit");
        let mut kept = Vec::with_capacity(rows.len());
        for (row, fits) in rows.into_iter().zip(fits) {
            match fits {
                true => kept.push(row),
                false => faults.add(&row.id, &row.origin, &reason),
            }
        }
        Ok(kept)
    }

    /// Prints a line for every row as soon as it is judged, or writes the judged ones to the file.
    fn judge(&self, judge: &mut dyn Rank, rows: &[PromptRow], faults: Faults) -> Result<()> {
        if faults.len() > 0 {
            let place = match &self.out {
                None => "their lines say `error`".to_owned(),
                Some(path) => format!("they are not in {}", path.display()),
            };
            output::note(&format!("{} rows have no rewards: {place}", faults.len()));
        }
        let groups: Vec<GroupRow> = rows.iter().map(responses::read).collect();
        if let Some(path) = &self.out {
            let mut scored = Vec::with_capacity(groups.len());
            score_with(judge, groups, &mut |row| {
                scored.push(row);
                Ok(())
            })?;
            return crate::run::write_rows(path, &scored);
        }
        let mut faults = faults.in_order();
        let mut places = rows.iter();
        score_with(judge, groups, &mut |row| {
            let place = places.next().expect("a judge answers each row once");
            faults.print_before(place.origin.line)?;
            output::json(&line(&row, place.is_pair))
        })?;
        faults.print_rest()
    }
}

/// Whether any two responses of a row fit beside each other: the two of most tokens do.
fn side_by_side(row: &PromptRow, model: &Model, limits: &Limits) -> Result<bool> {
    let tokens = |text: &String| Ok((model.chat.tokenizer().encode(text)?.len(), text.clone()));
    let mut longest: Vec<(usize, String)> =
        row.responses.iter().map(tokens).collect::<Result<_>>()?;
    longest.sort_by_key(|(tokens, _)| std::cmp::Reverse(*tokens));
    let [(_, first), (_, second), ..] = &longest[..] else {
        return Ok(true);
    };
    let [first, second] = [first, second].map(|text| Answer::Text(text.clone()));
    let comparison = Comparison::of(&model.chat, &row.prompt, &first, &second)?;
    let asked = comparison.encode(&model.chat, limits);
    Ok(asked.map_err(|e| e.at(&row.origin))?.is_some())
}

/// The rows that have something to judge; the others are faults, unless there is nothing else.
fn answered(rows: Vec<PromptRow>, faults: &mut Faults) -> Result<Vec<PromptRow>> {
    let (answered, bare): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| !row.responses.is_empty());
    if let (true, Some(row)) = (answered.is_empty(), bare.first()) {
        return Err(Error::data("the row has no responses").at(&row.origin).hint(
            "rows need `responses`, or `chosen` and `rejected`; `duel generate` writes the former",
        ));
    }
    for row in bare {
        faults.add(&row.id, &row.origin, "the row has no responses");
    }
    Ok(answered)
}

fn line(row: &GroupRow, pair: bool) -> Value {
    match (pair, &row.rewards[..]) {
        (true, [chosen, rejected]) => {
            json!({"id": row.id, "chosen": chosen, "rejected": rejected, "rewards": row.rewards})
        }
        _ => json!({"id": row.id, "rewards": row.rewards}),
    }
}
