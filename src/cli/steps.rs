//! `duel steps`: labels of the steps of solutions, by drawing how they go on.

use super::claim::{claim, release};
use super::kept::{Keeping, Serving};
use super::reading::{self, Reading, file};
use super::{Global, numbers, output, setup};
use crate::data::{Key, LoadOptions, Needs, Problem, load_problems};
use crate::error::{Error, Result};
use crate::generate::Engine;
use crate::model::Kept;
use crate::pipeline::Policy;
use crate::pipeline::verifier::label::{Labelling, Labels, label};
use crate::recipe::{Sampling, hash_of};
use crate::run::stage_key;
use clap::Args;
use std::path::PathBuf;

/// Label every step of solutions by whether the model still reaches the right answer from there (Math-Shepherd)
///
/// Rows have `prompt`, `responses` and the right `answer`; each response becomes a row of `prompt`, `completions` and `labels`, as
/// `duel verifier` learns from.
///
/// Example: duel steps --model runs/my-sft/sft/checkpoint --data drawn.jsonl --out steps.jsonl -k 16
#[derive(Debug, Args)]
pub struct Steps {
    /// The model that goes on from each step
    #[arg(long)]
    model: String,
    /// Rows with `prompt`, `responses` and `answer`, as `duel generate` writes them for prompts with an `answer`: a file, or a data set of the hub
    #[arg(long, value_parser = file)]
    data: PathBuf,
    /// Where the labelled solutions go; an earlier call with the same arguments is continued
    #[arg(long)]
    out: PathBuf,
    /// Continuations a step
    #[arg(short, long, default_value_t = 16, value_parser = numbers::from_1)]
    k: usize,
    /// Label with the share of right continuations, not with whether there is any
    #[arg(long)]
    soft: bool,
    /// What stands between two steps; \n is a line break
    #[arg(long, default_value = r"\n\n", value_parser = separator)]
    separator: String,
    /// Longest continuation, in tokens
    #[arg(long, default_value_t = 256, value_parser = numbers::from_1)]
    max_new_tokens: usize,
    /// Of the continuations
    #[arg(long, default_value_t = 0.7, value_parser = numbers::positive)]
    temperature: f64,
    /// Everything random is drawn from it and the rows' ids
    #[arg(long, default_value_t = 0, value_parser = numbers::seed)]
    seed: u64,
    /// Tokens held in the cache at once
    #[arg(long, default_value_t = 16_384, value_parser = numbers::from_1)]
    max_tokens_per_batch: usize,
    /// Read no more rows than this
    #[arg(long, value_parser = numbers::from_1)]
    limit: Option<usize>,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    reading: Reading,
}

/// What a shell cannot easily write.
pub(super) fn separator(text: &str) -> std::result::Result<String, String> {
    match text.replace(r"\n", "\n") {
        text if text.is_empty() => Err("between two steps something has to stand".to_owned()),
        text => Ok(text),
    }
}

impl Steps {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let options = LoadOptions {
            limit: self.limit,
            needs: Needs::Answer,
            ..self.reading.options_of(&self.data)
        };
        let (problems, report) = load_problems(&reading::rows(&self.data)?, &options)?;
        output::report(&report);
        let how = Labelling {
            separator: self.separator.clone(),
            soft: self.soft,
        };
        let sampling = Sampling {
            num_generations: self.k,
            temperature: vec![self.temperature],
            max_new_tokens: self.max_new_tokens,
            max_tokens_per_batch: self.max_tokens_per_batch,
            ..Sampling::default()
        };
        let model = setup::drawer(&self.model, global, self.keeping, Serving::F32)?;
        setup::warn_of_plain_text(&model.chat, problems.iter().map(|row| &row.prompt))?;
        let room = model.decoder.spec.max_position_embeddings;
        let Some(longest) = room
            .checked_sub(self.max_new_tokens)
            .filter(|room| *room > 0)
        else {
            return Err(Error::user(format!(
                "{} tokens of continuation leave no room: the model ends at {room}",
                self.max_new_tokens
            ))
            .hint("lower --max-new-tokens"));
        };
        self.claim(
            &problems,
            &sampling,
            self.keeping.kept(&model.decoder.device()),
        )?;
        let engine = Engine::new(&model.decoder, &model.chat, &sampling);
        let key = Key::new(self.seed).fold("steps");
        let labels = label(&engine, &problems, &how, longest, key, &self.out);
        self.tell(&labels.inspect_err(|_| release(&self.out))?);
        Ok(())
    }

    /// Says what the file holds, and what it does not.
    fn tell(&self, found: &Labels) {
        for (count, why) in [
            (found.too_long, "leave no room for a continuation"),
            (found.empty, "say nothing"),
        ] {
            if count > 0 {
                output::note(&format!("{count} solutions {why} and are left out"));
            }
        }
        let labels: Vec<f32> = found
            .rows
            .iter()
            .flat_map(|row| row.labels.clone())
            .collect();
        let good = labels.iter().filter(|label| **label > 0.5).count();
        output::note(&format!(
            "{} solutions with {} steps in {}; {good} steps are good",
            found.rows.len(),
            labels.len(),
            self.out.display()
        ));
        if !labels.is_empty() && labels.iter().all(|label| *label == labels[0]) {
            tracing::warn!(
                "every label is {}: a verifier learns nothing from them; take other problems, another model, or more continuations (-k)",
                labels[0]
            );
        }
    }

    fn claim(&self, problems: &[Problem], sampling: &Sampling, kept: Kept) -> Result<()> {
        let asked: Vec<(&str, String)> = problems
            .iter()
            .map(|problem| {
                let Problem {
                    id,
                    prompt,
                    solutions,
                    answer,
                    ..
                } = problem;
                (id.as_str(), format!("{:?}", (prompt, solutions, answer)))
            })
            .collect();
        let model = Policy::at(&setup::model_path(&self.model)?)?.kept(kept);
        // How many tokens are computed at once changes none of them.
        let how = Sampling {
            max_tokens_per_batch: 1,
            ..sampling.clone()
        };
        let how = hash_of(&how).to_string();
        let facts = (self.seed, self.soft, &self.separator, how, asked);
        let key = stage_key(&facts, &[model.digest])?.to_string();
        claim(
            ("--out", &self.out),
            ("--data", &self.data),
            &key,
            "duel steps",
        )
    }
}
