//! `duel export`: any model that duel reads, as a Hugging Face directory.

use super::kept::must_fit;
use super::{Global, output, setup};
use crate::error::{Error, Result};
use crate::model::files::{StoreDtype, peft};
use crate::model::{DecoderSpec, Kept, Model, memory};
use crate::run::write_folder_atomic;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Write any model that duel reads as a Hugging Face directory, adapters merged into their weights
///
/// The directory appears whole or not at all.
///
/// Example: duel export runs/mine/round-3/checkpoint --out mine --dtype bf16
#[derive(Debug, Args)]
pub struct Export {
    /// The model: a directory, an adapter, a GGUF file, a hub id, or `quickstart`
    model: String,
    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How weights are stored; left out, as the model's config says
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<Dtype>,
    /// Add an adapter into the weights: what happens anyway, said aloud; a model without adapter is refused
    #[arg(long)]
    merge: bool,
    /// Copy the adapter without its base model
    #[arg(long, conflicts_with_all = ["merge", "dtype"])]
    adapter_only: bool,
    /// Replace the model that is in the directory
    #[arg(long)]
    force: bool,
}

/// What `--dtype` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    F32,
    F16,
    Bf16,
}

impl From<Dtype> for StoreDtype {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::Bf16 => Self::Bf16,
        }
    }
}

const MODEL: &str = "config.json";
const ADAPTER: &str = "adapter_config.json";

/// What an adapter's directory may consist of; anything else in it (a checkpoint's optimiser) stays.
const ADAPTER_FILES: [&str; 8] = [
    ADAPTER,
    "adapter_model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
];

impl Export {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let source = setup::model_path(&self.model)?;
        let adapted = source.join(ADAPTER).exists();
        if (self.merge || self.adapter_only) && !adapted {
            let fact = format!("{} has no adapter: it is a whole model", self.model);
            return Err(Error::user(fact).hint("leave `--merge` and `--adapter-only` out"));
        }
        let out = std::path::absolute(&self.out).map_err(|e| Error::io(&self.out, "find", e))?;
        self.check_free(&source, &out)?;
        let written = match self.adapter_only {
            true => copy_adapter(&source, &out)?,
            false => self.write(&source, &out, global)?,
        };
        match global.json {
            true => output::json(&written),
            false => output::print(&self.out.display().to_string()),
        }
    }

    /// Refuses to write where something else would be lost.
    fn check_free(&self, source: &Path, out: &Path) -> Result<()> {
        if out.is_file() {
            let fact = format!("{} is a file", self.out.display());
            return Err(Error::user(fact).hint("name a directory with `--out`"));
        }
        let empty = fs::read_dir(out).map_or(true, |mut entries| entries.next().is_none());
        if empty {
            return Ok(());
        }
        if let (Ok(source), Ok(out)) = (source.canonicalize(), out.canonicalize())
            && source.starts_with(&out)
        {
            let fact = format!(
                "{} holds the model that is to be exported",
                self.out.display()
            );
            return Err(Error::user(fact).hint("name another directory with `--out`"));
        }
        let fact = format!("{} is not empty", self.out.display());
        let is_model = out.join(MODEL).exists() || out.join(ADAPTER).exists();
        match (self.force, is_model) {
            (true, true) => Ok(()),
            (true, false) => Err(Error::user(format!("{fact} and holds no model"))
                .hint("`--force` replaces models only; name another directory with `--out`")),
            (false, _) => Err(Error::user(fact).hint(
                "name another directory with `--out`, or replace the model in it with `--force`",
            )),
        }
    }

    fn write(&self, source: &Path, out: &Path, global: &Global) -> Result<Value> {
        // In f32 whatever it is written as: adapters are added in.
        let takes = |spec: &DecoderSpec| memory::weights(spec, Kept::default());
        must_fit(source, global, takes, |_| Vec::new())?;
        let mut model = Model::load(source, &setup::device(global)?)?;
        let decoder = model.decoder.clone().merged();
        model.decoder = decoder.clone();
        let dtype = match self.dtype {
            Some(dtype) => dtype.into(),
            None => stated_dtype(&model.config),
        };
        write_folder_atomic(out, |dir| model.save(dir, &decoder, None, dtype))?;
        let (parameters, _) = decoder.parameter_counts();
        Ok(json!({
            "path": self.out,
            "parameters": parameters,
            "dtype": dtype.config_name(),
            "merged": source.join(ADAPTER).exists(),
        }))
    }
}

/// The type that `config.json` names; f32 where it names none.
fn stated_dtype(config: &Value) -> StoreDtype {
    let stated = config.get("dtype").or_else(|| config.get("torch_dtype"));
    match stated.and_then(Value::as_str) {
        Some("bfloat16") => StoreDtype::Bf16,
        Some("float16") => StoreDtype::F16,
        _ => StoreDtype::F32,
    }
}

fn copy_adapter(source: &Path, out: &Path) -> Result<Value> {
    // Read first: a broken adapter is not worth copying.
    let adapter = peft::read_adapter(source)?;
    write_folder_atomic(out, |dir| {
        ADAPTER_FILES
            .iter()
            .filter(|name| source.join(name).is_file())
            .try_for_each(|name| copy(&source.join(name), &dir.join(name)))
    })?;
    let sizes = adapter.tensors.iter().map(|(_, _, values)| values.len());
    Ok(json!({
        "path": out,
        "parameters": sizes.sum::<usize>(),
        "base": adapter.config.base_model_name_or_path,
    }))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(|_| ())
        .map_err(|error| Error::io(to, "write", error))
}
