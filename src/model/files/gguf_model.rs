//! A GGUF file seen as a Hugging Face checkpoint: `config.json` from the metadata, Hugging Face's tensor
//! names, and llama.cpp's order of q and k rows undone.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::config::HfConfig;
use super::gguf::{Gguf, TensorInfo};
use super::gguf_tokenizer;
use super::safetensors::wrong_shape;
use crate::error::{Error, Result};
use crate::model::spec::{DecoderSpec, RopeScaling};
use crate::text::files::TokenizerFiles;

/// Llama 3's factors for long wavelengths, as a tensor instead of metadata.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A decoder in a GGUF file.
#[derive(Debug)]
pub struct GgufModel {
    gguf: Gguf,
    config: Value,
    spec: DecoderSpec,
    /// Hugging Face name to ggml name.
    names: BTreeMap<String, String>,
}

impl GgufModel {
    /// Opens a GGUF file of a Llama, Mistral, Qwen2 or Qwen3 decoder.
    ///
    /// # Errors
    /// A broken file, another architecture, missing metadata, tensors that such a decoder does not have.
    pub fn open(path: &Path) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        let place = |error: Error| error.at(path.display());
        let names = hugging_face_names(&gguf).map_err(place)?;
        let config = config(&gguf).map_err(place)?;
        let spec = HfConfig::from_value(config.clone())
            .and_then(|config| config.resolve())
            .map_err(place)?;
        check_rope(&gguf, &spec).map_err(place)?;
        Ok(Self {
            gguf,
            config,
            spec,
            names,
        })
    }

    /// The metadata as transformers would write it into `config.json`.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The resolved sizes.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// All tensors by their Hugging Face names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The shape of a tensor, row-major.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let info = self.gguf.tensors().get(self.names.get(name)?)?;
        Some(&info.shape)
    }

    /// Dequantises a tensor to f32.
    ///
    /// # Errors
    /// No such tensor, or another shape than `expected`.
    pub fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
        let path = self.gguf.path();
        let info = self
            .names
            .get(name)
            .and_then(|ggml| self.gguf.tensors().get(ggml))
            .ok_or_else(|| {
                Error::data(format!("{}: no tensor `{name}`", path.display()))
                    .hint("the file is incomplete: download or convert it again")
            })?;
        if info.shape != expected {
            return Err(wrong_shape(path, name, expected, &info.shape));
        }
        Ok(match self.permuted_heads(name) {
            Some(heads) => dequantise_permuted(&self.gguf, info, heads),
            None => {
                let row = info.shape.last().copied().unwrap_or(1);
                info.kind
                    .dequantise_rows(self.gguf.data(info), row, |row| row)
            }
        })
    }

    /// The tokenizer and chat template of the metadata, as Hugging Face's files.
    ///
    /// # Errors
    /// A tokenizer model or pre-tokenizer that duel does not know, missing or malformed lists.
    pub fn tokenizer_files(&self) -> Result<TokenizerFiles> {
        gguf_tokenizer::tokenizer_files(&self.gguf)
            .map_err(|error| error.at(self.gguf.path().display()))
    }

    /// llama.cpp stores q and k of Llama models with the two halves of each head interleaved; Qwen's as they are.
    fn permuted_heads(&self, name: &str) -> Option<usize> {
        if !matches!(
            self.gguf.text("general.architecture"),
            Some("llama" | "mistral")
        ) {
            return None;
        }
        if name.contains(".self_attn.q_proj.") {
            Some(self.spec.num_attention_heads)
        } else if name.contains(".self_attn.k_proj.") {
            Some(self.spec.num_key_value_heads)
        } else {
            None
        }
    }
}

/// Row `half * d/2 + i` of a head is stored as row `2 i + half`.
fn dequantise_permuted(gguf: &Gguf, info: &TensorInfo, heads: usize) -> Vec<f32> {
    let rows = info.shape.first().copied().unwrap_or(1);
    let row_len = info.shape.get(1).copied().unwrap_or(1);
    let head_dim = rows / heads;
    info.kind.dequantise_rows(gguf.data(info), row_len, |row| {
        let (head, within) = (row / head_dim, row % head_dim);
        let (half, i) = (within / (head_dim / 2), within % (head_dim / 2));
        head * head_dim + 2 * i + half
    })
}

/// Maps every tensor of the file; one without a place in the decoder is an error, since leaving it out
/// would compute another model.
fn hugging_face_names(gguf: &Gguf) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for ggml in gguf.tensors().keys().filter(|name| *name != ROPE_FACTORS) {
        let name = hugging_face_name(ggml).ok_or_else(|| {
            Error::user(format!(
                "tensor `{ggml}` has no place in a Llama, Mistral, Qwen2 or Qwen3 decoder"
            ))
            .hint("mixtures of experts and other architectures are not supported")
        })?;
        names.insert(name, ggml.clone());
    }
    Ok(names)
}

/// `blk.3.attn_q.weight` to `model.layers.3.self_attn.q_proj.weight`, and so on.
fn hugging_face_name(ggml: &str) -> Option<String> {
    let (module, kind) = ggml.rsplit_once('.')?;
    if kind != "weight" && kind != "bias" {
        return None;
    }
    let module = match module {
        "token_embd" => "model.embed_tokens".to_string(),
        "output_norm" => "model.norm".to_string(),
        "output" => "lm_head".to_string(),
        _ => {
            let (layer, part) = module.strip_prefix("blk.")?.split_once('.')?;
            let layer: usize = layer.parse().ok()?;
            let part = match part {
                "attn_norm" => "input_layernorm",
                "ffn_norm" => "post_attention_layernorm",
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_output" => "self_attn.o_proj",
                "attn_q_norm" => "self_attn.q_norm",
                "attn_k_norm" => "self_attn.k_norm",
                "ffn_gate" => "mlp.gate_proj",
                "ffn_up" => "mlp.up_proj",
                "ffn_down" => "mlp.down_proj",
                _ => return None,
            };
            format!("model.layers.{layer}.{part}")
        }
    };
    Some(format!("{module}.{kind}"))
}

/// `config.json` in transformers 4's spelling, which transformers 5 and every other reader understand too.
fn config(gguf: &Gguf) -> Result<Value> {
    let ggml = gguf
        .text("general.architecture")
        .ok_or_else(|| missing("general.architecture"))?;
    let window = gguf
        .integer(&format!("{ggml}.attention.sliding_window"))
        .filter(|&window| window > 0);
    let (class, model_type) = match ggml {
        // Mistral models are converted as `llama`; their window gives them away.
        "llama" if window.is_some() => ("Mistral", "mistral"),
        "llama" => ("Llama", "llama"),
        "mistral" => ("Mistral", "mistral"),
        "qwen2" => ("Qwen2", "qwen2"),
        "qwen3" => ("Qwen3", "qwen3"),
        other => {
            return Err(
                Error::user(format!("GGUF architecture `{other}` is not supported"))
                    .hint("duel reads GGUF files of llama, mistral, qwen2 and qwen3"),
            );
        }
    };
    let size = |key: &str| {
        let key = format!("{ggml}.{key}");
        gguf.integer(&key).ok_or_else(|| missing(&key))
    };
    let embedding = gguf.tensors().get("token_embd.weight").ok_or_else(|| {
        Error::data("no tensor `token_embd.weight`")
            .hint("the file is incomplete: download or convert it again")
    })?;
    let heads = size("attention.head_count")?;
    let hidden = size("embedding_length")?;
    let has = |name: &str| gguf.tensors().contains_key(name);
    let mut fields = Map::new();
    let mut set = |key: &str, value: Value| fields.insert(key.to_string(), value);
    set("architectures", json!([format!("{class}ForCausalLM")]));
    set("model_type", json!(model_type));
    set("vocab_size", json!(embedding.shape.first()));
    set("hidden_size", json!(hidden));
    set("intermediate_size", json!(size("feed_forward_length")?));
    set("num_hidden_layers", json!(size("block_count")?));
    set("num_attention_heads", json!(heads));
    set(
        "num_key_value_heads",
        json!(size("attention.head_count_kv").unwrap_or(heads)),
    );
    set("head_dim", json!(head_dim(gguf, ggml, hidden, heads)?));
    set("max_position_embeddings", json!(size("context_length")?));
    let epsilon = format!("{ggml}.attention.layer_norm_rms_epsilon");
    set(
        "rms_norm_eps",
        json!(gguf.number(&epsilon).ok_or_else(|| missing(&epsilon))?),
    );
    set(
        "rope_theta",
        json!(
            gguf.number(&format!("{ggml}.rope.freq_base"))
                .unwrap_or(10_000.0)
        ),
    );
    set("rope_scaling", rope_scaling(gguf, ggml)?);
    set("hidden_act", json!("silu"));
    set("tie_word_embeddings", json!(!has("output.weight")));
    if class == "Llama" || class == "Qwen3" {
        set("attention_bias", json!(has("blk.0.attn_q.bias")));
    }
    if class == "Llama" {
        set("mlp_bias", json!(has("blk.0.ffn_up.bias")));
    }
    if let Some(window) = window {
        set("sliding_window", json!(window));
    }
    if let (Some(_), "qwen2" | "qwen3") = (window, ggml) {
        set("use_sliding_window", json!(true));
        set("max_window_layers", json!(0));
    }
    for (key, ggml) in [("bos", "bos"), ("eos", "eos"), ("pad", "padding")] {
        if let Some(id) = gguf.integer(&format!("tokenizer.ggml.{ggml}_token_id")) {
            set(&format!("{key}_token_id"), json!(id));
        }
    }
    set("torch_dtype", json!("float32"));
    Ok(Value::Object(fields))
}

fn head_dim(gguf: &Gguf, ggml: &str, hidden: usize, heads: usize) -> Result<usize> {
    let stated = gguf.integer(&format!("{ggml}.attention.key_length"));
    match stated.or_else(|| gguf.integer(&format!("{ggml}.rope.dimension_count"))) {
        Some(head_dim) => Ok(head_dim),
        None if heads > 0 && hidden.is_multiple_of(heads) => Ok(hidden / heads),
        None => Err(missing(&format!("{ggml}.attention.key_length"))),
    }
}

fn rope_scaling(gguf: &Gguf, ggml: &str) -> Result<Value> {
    if let Some(info) = gguf.tensors().get(ROPE_FACTORS) {
        return llama3_scaling(gguf, ggml, info);
    }
    let factor = gguf
        .number(&format!("{ggml}.rope.scaling.factor"))
        .or_else(|| gguf.number(&format!("{ggml}.rope.scale_linear")))
        .filter(|&factor| factor != 1.0 && factor != 0.0);
    match (gguf.text(&format!("{ggml}.rope.scaling.type")), factor) {
        (None | Some("linear"), Some(factor)) => {
            Ok(json!({"rope_type": "linear", "factor": factor}))
        }
        (None | Some("none" | "linear"), _) => Ok(Value::Null),
        (Some("yarn"), Some(factor)) => yarn_scaling(gguf, ggml, factor),
        // The name as it is: resolving the config refuses it with the list of what is supported.
        (Some(other), factor) => Ok(json!({"rope_type": other, "factor": factor})),
    }
}

/// llama.cpp's own defaults are those of transformers; what it can say beyond them is refused.
fn yarn_scaling(gguf: &Gguf, ggml: &str, factor: f64) -> Result<Value> {
    for key in [
        "attn_factor",
        "yarn_attn_factor",
        "yarn_ext_factor",
        "yarn_log_multiplier",
    ] {
        let key = format!("{ggml}.rope.scaling.{key}");
        let usual = if key.ends_with("log_multiplier") {
            0.0
        } else {
            1.0
        };
        if let Some(value) = gguf.number(&key).filter(|&value| value != usual) {
            return Err(
                Error::user(format!("`{key}` {value} is not supported")).hint(
                    "use the model's Hugging Face directory, whose config.json states the rule",
                ),
            );
        }
    }
    let mut scaling = json!({"rope_type": "yarn", "factor": factor});
    for (key, ggml_key) in [
        ("beta_fast", "yarn_beta_fast"),
        ("beta_slow", "yarn_beta_slow"),
    ] {
        if let Some(beta) = gguf.number(&format!("{ggml}.rope.scaling.{ggml_key}")) {
            scaling[key] = json!(beta);
        }
    }
    if let Some(original) = gguf.integer(&format!("{ggml}.rope.scaling.original_context_length")) {
        scaling["original_max_position_embeddings"] = json!(original);
    }
    Ok(scaling)
}

/// llama.cpp keeps only the resulting divisor of each wavelength. The rule's own numbers are those of all
/// published Llama 3 models; whether they give these divisors is checked in [`check_rope`].
fn llama3_scaling(gguf: &Gguf, ggml: &str, info: &TensorInfo) -> Result<Value> {
    let factors = info.kind.dequantise_rows(
        gguf.data(info),
        info.shape.last().copied().unwrap_or(1),
        |row| row,
    );
    let factor = factors.iter().copied().fold(1.0, f32::max);
    let original = gguf
        .integer(&format!("{ggml}.rope.scaling.original_context_length"))
        .unwrap_or(8192);
    Ok(json!({
        "rope_type": "llama3",
        "factor": f64::from(factor),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": original,
    }))
}

/// Recomputes Llama 3's divisors from the guessed rule and compares them with the stored ones.
fn check_rope(gguf: &Gguf, spec: &DecoderSpec) -> Result<()> {
    let Some(info) = gguf.tensors().get(ROPE_FACTORS) else {
        return Ok(());
    };
    let stored = info.kind.dequantise_rows(
        gguf.data(info),
        info.shape.last().copied().unwrap_or(1),
        |row| row,
    );
    let half = spec.head_dim / 2;
    let agrees = stored.len() == half
        && stored.iter().enumerate().all(|(i, &stored)| {
            let wavelength =
                2.0 * std::f64::consts::PI * spec.rope.theta.powf(i as f64 / half as f64);
            let expected = llama3_divisor(&spec.rope.scaling, wavelength);
            (f64::from(stored) - expected).abs() <= 1e-3 * expected
        });
    if agrees {
        return Ok(());
    }
    Err(Error::user(format!(
        "`{ROPE_FACTORS}` does not follow Llama 3's rope rule"
    ))
    .hint("use the model's Hugging Face directory, whose config.json states the rule"))
}

/// What Llama 3.1's rule divides the frequency of `wavelength` by.
fn llama3_divisor(scaling: &RopeScaling, wavelength: f64) -> f64 {
    let RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
    } = *scaling
    else {
        return 1.0;
    };
    let turns = original_max_position_embeddings as f64 / wavelength;
    if turns < low_freq_factor {
        factor
    } else if turns > high_freq_factor {
        1.0
    } else {
        let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
        1.0 / ((1.0 - smooth) / factor + smooth)
    }
}

fn missing(key: &str) -> Error {
    Error::data(format!("the metadata has no valid `{key}`"))
        .hint("the file is incomplete or of another kind: download or convert it again")
}

#[cfg(test)]
#[path = "gguf_model_tests.rs"]
mod tests;
