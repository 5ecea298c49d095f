//! Model files in and out: Hugging Face directories, GGUF, PEFT adapters, the hub. Plain `Vec<f32>`, no tensors.

pub mod config;
mod element;
mod gguf;
mod gguf_model;
mod gguf_quant;
mod gguf_tokenizer;
pub mod hub;
mod mapped;
mod parameters;
pub mod peft;
pub mod safetensors;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use self::config::HfConfig;
use self::gguf_model::GgufModel;
use self::safetensors::{MAX_SHARD_BYTES, write_model_weights};
pub use self::safetensors::{Safetensors, write_safetensors};
use crate::error::{Error, Result};
use crate::model::spec::{DecoderSpec, Head};
use crate::run::write_json;
use crate::text::files::TokenizerFiles;

pub use self::config::for_reward;
pub use self::element::StoreDtype;
pub use self::parameters::parameters;
pub use self::safetensors::NamedTensor;

/// The head of a reward model, as transformers names it.
const SCORE: &str = "score.weight";

/// A model on disk: what it is, and its weights by name.
#[derive(Debug)]
pub struct Checkpoint {
    /// Sizes and switches.
    pub spec: DecoderSpec,
    /// `config.json`, unknown keys included; for a GGUF file, made from its metadata.
    pub config: Value,
    path: PathBuf,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    Safetensors(Safetensors),
    Gguf(Box<GgufModel>),
}

impl Checkpoint {
    /// Opens a Hugging Face directory or a `.gguf` file and checks that every parameter is there in the right
    /// shape. No weights are read yet.
    ///
    /// # Errors
    /// No such path, broken or missing files, an unsupported model, weights that do not fit the config.
    pub fn open(path: &Path) -> Result<Self> {
        let checkpoint = if path.is_dir() {
            Self::open_directory(path)?
        } else if path.exists() {
            let model = GgufModel::open(path)?;
            Self {
                spec: model.spec().clone(),
                config: model.config().clone(),
                path: path.to_owned(),
                weights: Weights::Gguf(Box::new(model)),
            }
        } else {
            return Err(Error::user(format!("no model at {}", path.display())).hint(
                "give a Hugging Face model directory, a .gguf file, or a hub id such as owner/name",
            ));
        };
        checkpoint.check_shapes()?;
        Ok(checkpoint)
    }

    fn open_directory(path: &Path) -> Result<Self> {
        if !path.join("config.json").exists() && path.join("adapter_config.json").exists() {
            return Err(Error::user(format!(
                "{} is a LoRA adapter, not a whole model",
                path.display()
            ))
            .hint("give the base model as the model and this directory as its adapter"));
        }
        let config = HfConfig::read(path)?;
        let spec = config
            .resolve()
            .map_err(|error| error.at(path.join("config.json").display()))?;
        let weights = Weights::Safetensors(Safetensors::open(path)?);
        Ok(Self {
            spec,
            config: config.json().clone(),
            path: path.to_owned(),
            weights,
        })
    }

    /// Finds a model of the wrong size before the first weight is read, and names the parameter.
    fn check_shapes(&self) -> Result<()> {
        // A corrupt layer count would otherwise ask for a list longer than the memory.
        let last = format!(
            "model.layers.{}.input_layernorm.weight",
            self.spec.num_hidden_layers - 1
        );
        if self.shape(&last).is_none() {
            return Err(self.missing(&last));
        }
        for (name, expected) in parameters(&self.spec) {
            match self.shape(&name) {
                Some(found) if found == expected => {}
                Some(found) if name == SCORE && found.get(1..) == expected.get(1..) => {
                    return Err(config::many_labels(found[0]).at(self.path.display()));
                }
                Some(found) => {
                    return Err(safetensors::wrong_shape(
                        &self.path, &name, &expected, &found,
                    ));
                }
                None => return Err(self.missing(&name)),
            }
        }
        self.refuse_unused()
    }

    /// Weights of a layer that the config leaves out would be dropped in silence, and another model computed. What
    /// stands outside the layers, or is no weight (rotary tables, scales of a quantised cache), harms nobody.
    fn refuse_unused(&self) -> Result<()> {
        let used: BTreeSet<String> = parameters(&self.spec).into_iter().map(|(n, _)| n).collect();
        let weighs = |name: &String| name.ends_with(".weight") || name.ends_with(".bias");
        let unused = |name: &String| name.starts_with("model.layers.") && !used.contains(name);
        let names = self.names();
        let foreign: Vec<&String> = names.iter().filter(|n| weighs(n) && unused(n)).collect();
        let Some(first) = foreign.first() else {
            return Ok(());
        };
        let others = match foreign.len() - 1 {
            0 => String::new(),
            1 => " and another one".to_owned(),
            n => format!(" and {n} others"),
        };
        Err(Error::data(format!(
            "{}: config.json ({} layers) has no place for the tensor `{first}`{others}",
            self.path.display(),
            self.spec.num_hidden_layers
        ))
        .hint("take config.json and the weights from the same model"))
    }

    fn missing(&self, name: &str) -> Error {
        let error = Error::data(format!("{}: no tensor `{name}`", self.path.display()));
        if (name, self.spec.head) != (SCORE, Head::Score) {
            return error.hint(
                "the weights and config.json belong to different models, or a file is incomplete",
            );
        }
        // PEFT before 0.3 left both copies of a head in a merged model; other trainers have names of their own.
        let width = self.spec.hidden_size;
        let names = self.names();
        let head = |name: &&String| {
            let beside = !name.starts_with("model.") && *name != "lm_head.weight";
            beside && self.shape(name).is_some_and(|shape| shape == [1, width])
        };
        let trained = |name: &&String| name.contains("modules_to_save");
        match names.iter().filter(head).max_by_key(trained) {
            Some(found) => error.hint(format!(
                "the weights hold `{found}` of its shape: if that is the trained head, rename it to `{SCORE}`, as \
                 transformers has it"
            )),
            None => error.hint("config.json promises a reward model, the weights hold none: take both from one place"),
        }
    }

    /// The names of all tensors that belong to the model, sorted. An output head beside tied embeddings and
    /// the rotary tables of old checkpoints are left out.
    pub fn names(&self) -> Vec<String> {
        let used = |name: &&str| {
            !(name.ends_with(".rotary_emb.inv_freq")
                || (self.spec.tie_word_embeddings && *name == "lm_head.weight"))
        };
        match &self.weights {
            Weights::Safetensors(files) => files.names().filter(used).map(str::to_string).collect(),
            Weights::Gguf(model) => model.names().filter(used).map(str::to_string).collect(),
        }
    }

    /// The shape of a tensor, row-major; `None` where there is none of that name.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.weights {
            Weights::Safetensors(files) => files.shape(name),
            Weights::Gguf(model) => model.shape(name),
        }
        .map(<[usize]>::to_vec)
    }

    /// Reads a tensor as f32, row-major, linear weights `[out, in]`.
    ///
    /// # Errors
    /// No such tensor, another shape than `expected`, a type that is not a float.
    pub fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
        match &self.weights {
            Weights::Safetensors(files) => files.read(name, expected),
            Weights::Gguf(model) => model.read(name, expected),
        }
    }

    /// The tokenizer inside a GGUF file; `None` for a directory, whose tokenizer is in files of its own.
    pub fn tokenizer_files(&self) -> Option<Result<TokenizerFiles>> {
        match &self.weights {
            Weights::Safetensors(_) => None,
            Weights::Gguf(model) => Some(model.tokenizer_files()),
        }
    }

    /// Whether this is a GGUF file.
    pub fn is_gguf(&self) -> bool {
        matches!(self.weights, Weights::Gguf(_))
    }

    /// The directory or file it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a model that transformers loads: weights, `generation_config.json` (unless there is one), and last
/// `config.json`, so that a directory with a config is whole. Tied embeddings go without `lm_head.weight`.
///
/// # Errors
/// A config that does not resolve, parameters that are missing or of another shape, a failed write.
pub fn write_model(
    dir: &Path,
    config: &Value,
    mut tensors: Vec<NamedTensor>,
    dtype: StoreDtype,
) -> Result<()> {
    let spec = HfConfig::from_value(config.clone())?.resolve()?;
    if spec.tie_word_embeddings {
        tensors.retain(|(name, _, _)| name != "lm_head.weight");
    }
    for (name, shape) in parameters(&spec) {
        if !tensors
            .iter()
            .any(|(given, found, _)| *given == name && *found == shape)
        {
            return Err(Error::internal(format!(
                "the model to write has no `{name}` of shape {shape:?}"
            )));
        }
    }
    std::fs::create_dir_all(dir).map_err(|error| Error::io(dir, "create", error))?;
    write_model_weights(dir, &tensors, dtype, MAX_SHARD_BYTES)?;
    write_generation_config(dir, config, &[])?;
    write_json(&dir.join("config.json"), &with_dtype(config, dtype))
}

/// Sees to it that `generation_config.json` names every id of `ends` as an end of sequence: transformers and vLLM
/// stop where it says. One that is there and names them all stays as it is; where there is none it is made of
/// `config`.
///
/// # Errors
/// A file that is not JSON, a failed write.
pub fn write_generation_config(dir: &Path, config: &Value, ends: &[u32]) -> Result<()> {
    let path = dir.join("generation_config.json");
    let found = path.exists();
    let mut settings = match found {
        true => config::read_json(&path)?,
        false => generation_config(config),
    };
    let mut all: Vec<Value> = match settings.get("eos_token_id") {
        Some(Value::Array(ids)) => ids.clone(),
        None | Some(Value::Null) => Vec::new(),
        Some(id) => vec![id.clone()],
    };
    let stated = all.len();
    for id in ends {
        if !all.contains(&json!(id)) {
            all.push(json!(id));
        }
    }
    if found && all.len() == stated {
        return Ok(());
    }
    if let (Some(fields), true) = (settings.as_object_mut(), all.len() > stated) {
        let ids = match &all[..] {
            [id] => id.clone(),
            _ => Value::Array(all),
        };
        fields.insert("eos_token_id".into(), ids);
    }
    write_json(&path, &settings)
}

/// The token ids that generation starts, ends and pads with.
fn generation_config(config: &Value) -> Value {
    let mut fields = Map::new();
    for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
        if let Some(id) = config.get(key).filter(|id| !id.is_null()) {
            fields.insert(key.into(), id.clone());
        }
    }
    Value::Object(fields)
}

/// States the stored type in transformers 5's key, and in 4's where the config has it.
fn with_dtype(config: &Value, dtype: StoreDtype) -> Value {
    let mut config = config.clone();
    if let Some(fields) = config.as_object_mut() {
        if fields.contains_key("torch_dtype") {
            fields.insert("torch_dtype".into(), json!(dtype.config_name()));
        }
        fields.insert("dtype".into(), json!(dtype.config_name()));
    }
    config
}

#[cfg(test)]
mod tests;
