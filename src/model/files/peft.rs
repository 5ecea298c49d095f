//! LoRA adapters as PEFT lays them out: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! duel calls the two factors of a module `model.layers.0.self_attn.q_proj.lora_A` (`[r, in]`) and
//! `.lora_B` (`[out, r]`), and a trained reward head `score.weight`; PEFT wraps those names.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::config::read_json;
use super::element::StoreDtype;
use super::safetensors::{NamedTensor, Safetensors, write_safetensors};
use crate::error::{Error, Result};
use crate::run::write_json;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// PEFT's wrappers around the model.
const PREFIX: &str = "base_model.model.";
const SCORE: &str = "score.weight";

/// What duel uses of `adapter_config.json`, by PEFT's names.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AdapterConfig {
    /// Rank.
    pub r: usize,
    /// The product of the factors is scaled by `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Dropout on a module's input while training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Names of the linear modules, such as `q_proj`.
    pub target_modules: Vec<String>,
    /// `CAUSAL_LM` or `SEQ_CLS`.
    #[serde(default)]
    pub task_type: Option<String>,
    /// The model it belongs to.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// The branch, tag or commit of a base model on the hub.
    #[serde(default)]
    pub revision: Option<String>,
    /// `none`: duel trains no biases.
    #[serde(default = "no_bias")]
    pub bias: String,
    /// Scale by `lora_alpha / sqrt(r)` instead.
    #[serde(default)]
    pub use_rslora: bool,
    /// Modules saved whole: `score`, or nothing.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// Ranks that differ, by the end of the module's name.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas that differ, by the end of the module's name.
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
}

fn no_bias() -> String {
    "none".into()
}

/// An adapter in memory.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// Its configuration.
    pub config: AdapterConfig,
    /// `lora_A` / `lora_B` factors and perhaps `score.weight`, by duel's names, sorted.
    pub tensors: Vec<NamedTensor>,
}

impl AdapterConfig {
    /// The rank of a module, named as `model.layers.0.self_attn.q_proj`.
    pub fn rank_of(&self, module: &str) -> usize {
        of_pattern(&self.rank_pattern, module)
            .copied()
            .unwrap_or(self.r)
    }

    /// What the product `B A x` of a module is multiplied by.
    pub fn scale_of(&self, module: &str) -> f64 {
        let alpha = of_pattern(&self.alpha_pattern, module)
            .copied()
            .unwrap_or(self.lora_alpha);
        let rank = self.rank_of(module) as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Refuses what duel's low-rank path does not compute. `json` is the whole file.
    fn check(&self, json: &Value) -> Result<()> {
        let unsupported = |what: &str| {
            Err(Error::user(format!("the adapter uses {what}, which duel does not support"))
                .hint("merge the adapter into its base model with PEFT (`merge_and_unload`) and give the result"))
        };
        let on = |key: &str| match json.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            Some(_) => true,
        };
        if json.get("peft_type").and_then(Value::as_str) != Some("LORA") {
            return unsupported(&format!(
                "peft_type {}",
                json.get("peft_type").unwrap_or(&Value::Null)
            ));
        }
        if on("use_dora") {
            return unsupported("DoRA (`use_dora`)");
        }
        if self.bias != "none" {
            return unsupported(&format!("trained biases (`bias`: {})", self.bias));
        }
        let switches = [
            "use_qalora",
            "use_bdlora",
            "lora_bias",
            "fan_in_fan_out",
            "layer_replication",
            "target_parameters",
            "trainable_token_indices",
            "alora_invocation_tokens",
            "arrow_config",
        ];
        if let Some(switch) = switches.into_iter().find(|key| on(key)) {
            return unsupported(&format!("`{switch}`"));
        }
        // PEFT lists both names it has for a classification head.
        let whole = self.modules_to_save.iter().flatten();
        if let Some(module) = whole
            .into_iter()
            .find(|name| *name != "score" && *name != "classifier")
        {
            return unsupported(&format!("a fully trained `{module}` (`modules_to_save`)"));
        }
        let mut patterns = self.rank_pattern.keys().chain(self.alpha_pattern.keys());
        if let Some(pattern) = patterns.find(|pattern| pattern.contains(is_regex_sign)) {
            return unsupported(&format!("the regular expression `{pattern}`"));
        }
        if self.r == 0 || self.rank_pattern.values().any(|&rank| rank == 0) {
            return Err(Error::data("the adapter's rank is 0").hint("r must be at least 1"));
        }
        Ok(())
    }

    /// All that PEFT writes for a LoRA adapter; keys that duel has no use for stand at PEFT's defaults.
    fn to_json(&self) -> Value {
        let whole = |value: f64| {
            if value.fract() == 0.0 {
                json!(value as i64)
            } else {
                json!(value)
            }
        };
        let alphas: BTreeMap<&String, Value> = self
            .alpha_pattern
            .iter()
            .map(|(module, &alpha)| (module, whole(alpha)))
            .collect();
        json!({
            "alpha_pattern": alphas,
            "auto_mapping": null,
            "base_model_name_or_path": self.base_model_name_or_path,
            "bias": self.bias,
            "exclude_modules": null,
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layer_replication": null,
            "layers_pattern": null,
            "layers_to_transform": null,
            "loftq_config": {},
            "lora_alpha": whole(self.lora_alpha),
            "lora_bias": false,
            "lora_dropout": self.lora_dropout,
            "megatron_config": null,
            "megatron_core": "megatron.core",
            "modules_to_save": self.modules_to_save,
            "peft_type": "LORA",
            "r": self.r,
            "rank_pattern": self.rank_pattern,
            "revision": self.revision,
            "target_modules": self.target_modules,
            "task_type": self.task_type,
            "use_dora": false,
            "use_rslora": self.use_rslora,
        })
    }
}

/// A pattern matches a module that is it, or ends with a dot and it.
fn of_pattern<'a, T>(patterns: &'a BTreeMap<String, T>, module: &str) -> Option<&'a T> {
    let matches = |pattern: &str| {
        module
            .strip_suffix(pattern)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    patterns
        .iter()
        .find(|(pattern, _)| matches(pattern))
        .map(|(_, value)| value)
}

fn is_regex_sign(sign: char) -> bool {
    "^$*+?()[]{}|\\".contains(sign)
}

/// duel's name to PEFT's: `X.lora_A` to `base_model.model.X.lora_A.weight`.
pub fn peft_name(name: &str) -> String {
    if name.ends_with(".lora_A") || name.ends_with(".lora_B") {
        format!("{PREFIX}{name}.weight")
    } else {
        format!("{PREFIX}{name}")
    }
}

/// PEFT's name to duel's; `None` for anything but a LoRA factor of a linear module or the score head.
pub fn plain_name(name: &str) -> Option<String> {
    let name = name.strip_prefix(PREFIX)?;
    // Saved from inside the wrappers, the names carry the adapter's own: `default`.
    let factor = |factor: &str| {
        let module = name
            .strip_suffix(&format!(".{factor}.weight"))
            .or_else(|| name.strip_suffix(&format!(".{factor}.default.weight")))?;
        Some(format!("{module}.{factor}"))
    };
    match name {
        SCORE | "score.modules_to_save.weight" | "score.modules_to_save.default.weight" => {
            Some(SCORE.into())
        }
        _ => factor("lora_A").or_else(|| factor("lora_B")),
    }
}

/// Reads `adapter_config.json` alone.
///
/// # Errors
/// A missing or malformed file, a feature that duel does not support.
pub fn read_config(directory: &Path) -> Result<AdapterConfig> {
    let path = directory.join(CONFIG);
    let json = read_json(&path)?;
    let place = |error: Error| error.at(path.display());
    if let Some(Value::String(pattern)) = json.get("target_modules") {
        return Err(place(
            Error::user(format!(
                "target_modules is the pattern `{pattern}`, not a list"
            ))
            .hint("list the modules by name, for example [\"q_proj\", \"v_proj\"]"),
        ));
    }
    let config: AdapterConfig = serde_path_to_error::deserialize(&json).map_err(|error| {
        place(
            Error::data(format!("field `{}`: {}", error.path(), error.inner()))
                .hint("write the field as PEFT does"),
        )
    })?;
    config.check(&json).map_err(place)?;
    Ok(config)
}

/// Reads an adapter.
///
/// # Errors
/// Missing, truncated or malformed files; an unsupported feature; a factor without its partner; a rank
/// that is not the one of the config.
pub fn read_adapter(directory: &Path) -> Result<Adapter> {
    let config = read_config(directory)?;
    let path = directory.join(WEIGHTS);
    if !path.exists() && directory.join("adapter_model.bin").exists() {
        return Err(Error::user(format!(
            "{} holds a pickled adapter only",
            directory.display()
        ))
        .hint("duel reads no pickles, they can run code: save it again with a current PEFT"));
    }
    let files = Safetensors::open_file(&path)?;
    let mut tensors = Vec::new();
    for name in files.names() {
        let plain = plain_name(name).ok_or_else(|| {
            Error::user(format!("{}: tensor `{name}` is not a LoRA factor of a linear module", path.display()))
                .hint("merge the adapter into its base model with PEFT (`merge_and_unload`) and give the result")
        })?;
        let shape = files.shape(name).unwrap_or_default().to_vec();
        tensors.push((plain, shape.clone(), files.read(name, &shape)?));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    check_factors(&config, &tensors).map_err(|error| error.at(path.display()))?;
    Ok(Adapter { config, tensors })
}

/// Every A has its B, and both have the rank of the config.
fn check_factors(config: &AdapterConfig, tensors: &[NamedTensor]) -> Result<()> {
    let shapes: BTreeMap<&str, &[usize]> = tensors
        .iter()
        .map(|(name, shape, _)| (name.as_str(), shape.as_slice()))
        .collect();
    for (name, shape) in &shapes {
        let Some((module, factor)) = name.rsplit_once('.').filter(|_| *name != SCORE) else {
            continue;
        };
        let partner = format!(
            "{module}.{}",
            if factor == "lora_A" {
                "lora_B"
            } else {
                "lora_A"
            }
        );
        if !shapes.contains_key(partner.as_str()) {
            return Err(
                Error::data(format!("`{name}` is there, `{partner}` is not"))
                    .hint("the adapter is incomplete: copy or save it again"),
            );
        }
        let rank = config.rank_of(module);
        let axis = if factor == "lora_A" { 0 } else { 1 };
        if shape.len() != 2 || shape[axis] != rank {
            return Err(Error::data(format!(
                "`{name}` has shape {shape:?}, the config says rank {rank}"
            ))
            .hint(
                "adapter_config.json and adapter_model.safetensors belong to different adapters",
            ));
        }
    }
    Ok(())
}

/// Writes an adapter that PEFT loads. `tensors` carry duel's names; with a `score.weight` among them
/// `modules_to_save` becomes `["score"]`.
///
/// # Errors
/// Factors that do not fit the config, a failed write.
pub fn write_adapter(
    directory: &Path,
    config: &AdapterConfig,
    tensors: Vec<NamedTensor>,
    dtype: StoreDtype,
) -> Result<()> {
    check_factors(config, &tensors)?;
    let mut config = config.clone();
    let scored = tensors.iter().any(|(name, _, _)| name == SCORE);
    config.modules_to_save = scored.then(|| vec!["score".to_string()]);
    let named: Vec<NamedTensor> = tensors
        .into_iter()
        .map(|(name, shape, values)| (peft_name(&name), shape, values))
        .collect();
    std::fs::create_dir_all(directory).map_err(|error| Error::io(directory, "create", error))?;
    write_safetensors(&directory.join(WEIGHTS), &named, dtype)?;
    write_json(&directory.join(CONFIG), &config.to_json())
}

#[cfg(test)]
#[path = "peft_tests.rs"]
mod tests;
