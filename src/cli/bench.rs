//! `duel bench`: rate, peak memory and loss of a kind of work, for comparison with other trainers.

use super::kept::{self, Serving, must_fit};
use super::reading::{self, Reading, file};
use super::{Global, numbers, output, setup};
use crate::data::LoadOptions;
use crate::error::{Error, Result};
use crate::model::memory::{self, Batch};
use crate::model::{DecoderSpec, Kept, Model};
use crate::pipeline::context;
use crate::recipe::{Dtype, WeightDtype};
use crate::run::peak_rss_mib;
use burn::tensor::Device;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use duel_backends::clock;
use duel_backends::ops::Operands;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

mod drawing;
mod training;

/// Rate, peak memory and loss of a kind of work: dpo, reward, sft, generate, judge
///
/// Example: duel bench dpo --model M --data pairs.jsonl --pairs 2 --steps 12 --json
#[derive(Debug, Args)]
pub struct Bench {
    /// The work
    kind: Kind,
    /// The model
    #[arg(long)]
    model: String,
    /// Rows: preference pairs; for sft also conversations or text, for generate prompts, for judge responses; a file, or a data set of the hub
    #[arg(long, value_parser = file)]
    data: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Pairs in an optimiser step (sft learns twice as many sequences); prompts of generate and judge
    #[arg(long, default_value_t = 2, value_parser = numbers::from_1)]
    pairs: usize,
    /// Steps that are measured
    #[arg(long, default_value_t = 12, value_parser = numbers::from_1)]
    steps: usize,
    /// Steps before that
    #[arg(long, default_value_t = 2, value_parser = numbers::from_1)]
    warm: usize,
    /// Only pairs whose two sequences fit
    #[arg(long, default_value_t = 256, value_parser = numbers::from_1)]
    max_length: usize,
    /// Train rank-16 adapters instead of all weights
    #[arg(long)]
    lora: bool,
    /// Responses a prompt (generate; judge where the rows are pairs)
    #[arg(short, long, default_value_t = 8, value_parser = numbers::from_1)]
    k: usize,
    /// Keep only what goes into each block and compute the blocks again for the backward pass
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Tokens a response (generate)
    #[arg(long, default_value_t = 128, value_parser = numbers::from_1)]
    max_new_tokens: usize,
    /// 0 is greedy (generate)
    #[arg(long, default_value_t = 1.0, value_parser = numbers::not_negative)]
    temperature: f64,
    /// What matrix products read; frozen weights are kept in it
    #[arg(long, default_value = "f32")]
    compute: Dtype,
    /// Keep the weights in 4 bits: under adapters, or where nothing is trained
    #[arg(long)]
    load_in_4bit: bool,
    /// What the device's maker promises for --compute, in 10^12 operations a second: shown is the share that is reached
    #[arg(long, value_parser = numbers::positive)]
    peak_tflops: Option<f64>,
    /// What the weights are rounded to (generate)
    #[arg(long, default_value = "f32")]
    dtype: WeightDtype,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Dpo,
    Reward,
    Sft,
    Generate,
    Judge,
}

impl ValueEnum for Dtype {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::F32, Self::Auto, Self::Bf16, Self::F16]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl Bench {
    /// What products read.
    fn operands(&self, device: &Device) -> Operands {
        context::operands(self.compute, device)
    }

    /// The files of the rows, and how they are read.
    fn source(&self) -> Result<(Vec<PathBuf>, LoadOptions)> {
        Ok((
            reading::rows(&self.data)?,
            self.reading.options_of(&self.data),
        ))
    }

    /// The model, kept as the work needs it.
    fn load(&self, global: &Global) -> Result<Model> {
        let device = setup::device(global)?;
        context::check_dtype(self.compute, &device, "--compute")?;
        let only_read = matches!(self.kind, Kind::Generate | Kind::Judge);
        let kept = Kept {
            operands: self.operands(&device),
            frozen: only_read || self.lora,
            packed: self.load_in_4bit,
        };
        let path = setup::model_path(&self.model)?;
        if self.load_in_4bit && !only_read && !self.lora {
            return Err(
                Error::user("weights that are trained are not kept in 4 bits")
                    .hint("train adapters over them: --lora"),
            );
        }
        let takes = |spec: &DecoderSpec| self.bytes(spec, kept, &device);
        must_fit(&path, global, takes, |spec| {
            self.others(spec, kept, &device)
        })?;
        Model::load_kept(&path, &device, kept)
    }

    /// What is there at once in any case: a model that is read, with what it writes with, or one that is trained with its
    /// gradients and moments.
    fn bytes(&self, spec: &DecoderSpec, kept: Kept, device: &Device) -> u64 {
        match self.kind {
            Kind::Judge => memory::weights(spec, kept),
            Kind::Generate => kept::drawing_bytes(spec, kept, self.dtype, device),
            _ => {
                let lora = kept.frozen.then(training::adapter);
                memory::training(spec, lora.as_ref(), Batch::default(), kept).peak
            }
        }
    }

    /// What it would be with other flags.
    fn others(&self, spec: &DecoderSpec, asked: Kept, device: &Device) -> Vec<(String, u64)> {
        if matches!(self.kind, Kind::Generate) {
            let serving = Serving::said(self.dtype);
            return kept::fewer_drawing("", spec, asked, serving, device);
        }
        let mut others = Vec::new();
        let mut flags = "";
        let frozen = Kept {
            frozen: true,
            ..asked
        };
        if !asked.frozen {
            flags = "--lora";
            others.push((flags.to_owned(), frozen));
        }
        others.extend(kept::fewer_bits(flags, frozen, device));
        let bytes = |(flags, kept)| (flags, self.bytes(spec, kept, device));
        others.into_iter().map(bytes).collect()
    }

    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let began = Instant::now();
        let model = self.load(global)?;
        let loaded = began.elapsed().as_secs_f64();
        let compute = self.operands(&model.decoder.device()).name();
        if !matches!(self.kind, Kind::Reward | Kind::Judge) {
            model.must_write(&self.model)?;
        }
        let mut result = match self.kind {
            Kind::Generate => drawing::generate(self, &model)?,
            Kind::Judge => drawing::judge(self, model, global)?,
            _ => training::measure(self, model, global)?,
        };
        result["compute"] = json!(compute);
        result["load_seconds"] = json!(loaded);
        result["peak_rss_mib"] = json!(peak_rss_mib());
        match global.json {
            true => output::json(&result),
            false => {
                let rows = result.as_object().into_iter().flatten();
                let rows = rows
                    .map(|(key, value)| vec![key.clone(), value.to_string()])
                    .collect();
                output::print(&output::table(&["measure", "value"], rows))
            }
        }
    }
}

/// Shares of the measured training time by kind of work.
fn where_it_went(kinds: [(&'static str, f64); clock::KINDS.len()], total: f64) -> Value {
    let known: f64 = kinds.iter().map(|(_, seconds)| seconds).sum();
    let rest = ("everything else", total - known);
    let rounded = |seconds: f64| (1000.0 * seconds / total).round() / 1000.0;
    let shares = kinds.into_iter().chain([rest]);
    Value::Object(
        shares
            .map(|(name, seconds)| (name.to_owned(), rounded(seconds).into()))
            .collect(),
    )
}
