//! `duel generate`: K responses a prompt.

use super::claim::{claim, release};
use super::kept::{Keeping, Serving};
use super::reading::{self, Reading, file};
use super::{Global, numbers, output, setup};
use crate::data::{LoadOptions, PromptRow, load_prompts};
use crate::error::Result;
use crate::generate::Engine;
use crate::model::Kept;
use crate::pipeline::responses::{self, GroupRow};
use crate::pipeline::{Policy, examples};
use crate::recipe::{Overlong, Sampling, WeightDtype, hash_of};
use crate::run::stage_key;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Draw responses from a model: {"prompt","responses","finish"} lines, continued where an earlier run stopped
///
/// Example: duel generate --model HuggingFaceTB/SmolLM2-135M-Instruct --prompts prompts.jsonl --out out.jsonl -k 4
#[derive(Debug, Args)]
pub struct Generate {
    /// The model: a directory, a GGUF file, a hub id, or `quickstart`
    #[arg(long)]
    model: String,
    /// Prompts: jsonl or parquet, or a data set of the hub
    #[arg(long, value_parser = file)]
    prompts: PathBuf,
    /// Where the responses go
    #[arg(long)]
    out: PathBuf,
    /// Responses a prompt
    #[arg(short, long, default_value_t = 1, value_parser = numbers::from_1)]
    k: usize,
    /// Longest response, in tokens
    #[arg(long, default_value_t = 256, value_parser = numbers::from_1)]
    max_new_tokens: usize,
    /// 0 is greedy; several values are used in turn
    #[arg(long, value_delimiter = ',', default_value = "1.0", value_parser = numbers::not_negative)]
    temperature: Vec<f64>,
    /// Keep the likeliest tokens that together have this probability
    #[arg(long, default_value_t = 1.0, value_parser = numbers::share_above_0)]
    top_p: f64,
    /// Keep this many of the likeliest tokens; 0 keeps all
    #[arg(long, default_value_t = 0, value_parser = numbers::from_0)]
    top_k: usize,
    /// Drop tokens less likely than this share of the likeliest
    #[arg(long, default_value_t = 0.0, value_parser = numbers::share)]
    min_p: f64,
    /// Divide the logits of tokens that already occurred
    #[arg(long, default_value_t = 1.0, value_parser = numbers::positive)]
    repetition_penalty: f64,
    /// Texts that end a response
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
    /// Everything random is drawn from it and the prompts' ids
    #[arg(long, default_value_t = 0, value_parser = numbers::seed)]
    seed: u64,
    /// What the weights are rounded to: bf16 reads half of the bytes for each token, int8 a quarter
    #[arg(long, default_value = "f32")]
    dtype: WeightDtype,
    /// Tokens held in the cache at once
    #[arg(long, default_value_t = 16_384, value_parser = numbers::from_1)]
    max_tokens_per_batch: usize,
    /// Read no more prompts than this
    #[arg(long, value_parser = numbers::from_1)]
    limit: Option<usize>,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    reading: Reading,
}

impl ValueEnum for WeightDtype {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::F32, Self::Bf16, Self::Int8]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }))
    }
}

impl Generate {
    fn sampling(&self) -> Sampling {
        Sampling {
            num_generations: self.k,
            temperature: self.temperature.clone(),
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            max_new_tokens: self.max_new_tokens,
            stop: self.stop.clone(),
            dtype: self.dtype,
            max_tokens_per_batch: self.max_tokens_per_batch,
        }
    }

    /// Notes beside the file what made it, and refuses to go on with a file of another call: rows are known by their
    /// ids alone. The model is known by its content: a checkpoint that was trained on has the same name.
    fn claim(&self, rows: &[PromptRow], how: &Sampling, kept: Kept) -> Result<()> {
        let asked: Vec<(&str, String)> = rows
            .iter()
            .map(|row| {
                // The answer is written beside the responses.
                let answer = row.answer.as_ref().map(|answer| format!(" = {answer}"));
                let asked = format!("{:?}{}", row.prompt, answer.unwrap_or_default());
                (row.id.as_str(), asked)
            })
            .collect();
        let model = Policy::at(&setup::model_path(&self.model)?)?.kept(kept);
        let facts = (self.seed, hash_of(how).to_string(), asked);
        let key = stage_key(&facts, &[model.digest])?.to_string();
        claim(
            ("--out", &self.out),
            ("--prompts", &self.prompts),
            &key,
            "duel generate",
        )
    }

    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let how = self.sampling();
        let options = LoadOptions {
            limit: self.limit,
            ..self.reading.options_of(&self.prompts)
        };
        let (rows, report) = load_prompts(&reading::rows(&self.prompts)?, &options)?;
        output::report(&report);
        let model = setup::drawer(&self.model, global, self.keeping, Serving::said(self.dtype))?;
        setup::warn_of_plain_text(&model.chat, rows.iter().map(|row| &row.prompt))?;
        self.claim(&rows, &how, self.keeping.kept(&model.decoder.device()))?;
        let engine = Engine::new(&model.decoder, &model.chat, &how);
        // A prompt is answered whole or not at all.
        let limits = examples::limits_of_responses(usize::MAX, Overlong::Drop, 1, &model);
        let key = crate::data::Key::new(self.seed);
        let written: Vec<GroupRow> =
            responses::generate(&engine, &rows, Some(&limits), key, &self.out)
                .inspect_err(|_| release(&self.out))?;
        let drawn: usize = written.iter().map(|row| row.responses.len()).sum();
        output::note(&format!(
            "{drawn} responses to {} prompts in {}",
            written.len(),
            self.out.display()
        ));
        Ok(())
    }
}
