//! `config.json` in two steps: verbatim as written, then resolved to a [`DecoderSpec`].
//!
//! Reads what transformers 4 and 5 write: `rope_theta` + `rope_scaling` or `rope_parameters`,
//! `torch_dtype` or `dtype`.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::model::spec::{Activation, Architecture, DecoderSpec, Head, Rope, RopeScaling};

const CAUSAL: &str = "ForCausalLM";
const CLASSIFICATION: &str = "ForSequenceClassification";
/// What publishers call a class of their own that scores.
const REWARD: &str = "Reward";
const GATING: &str = "ForRewardModelWithGating";
const FAMILIES: [(&str, Architecture); 6] = [
    ("Llama", Architecture::Llama),
    ("Mistral", Architecture::Mistral),
    ("Qwen2", Architecture::Qwen2),
    ("Qwen3", Architecture::Qwen3),
    ("Gemma", Architecture::Gemma),
    ("Gemma2", Architecture::Gemma2),
];

/// No model comes near; beyond it, products of two sizes could overflow.
const MAX_SIZE: usize = 1 << 28;

/// The fields of `config.json` that a decoder needs, by their own names, and the whole file beside them.
#[derive(Debug, Clone, Deserialize)]
pub struct HfConfig {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    original_max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    query_pre_attn_scalar: Option<usize>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    partial_rotary_factor: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    num_labels: Option<usize>,
    id2label: Option<Map<String, Value>>,
    pad_token_id: Option<i64>,
    quantization_config: Option<Value>,
    #[serde(skip)]
    json: Value,
}

impl HfConfig {
    /// Reads `config.json` of a model directory.
    ///
    /// # Errors
    /// A missing file, malformed JSON (with its line), a field of the wrong type (named).
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("config.json");
        Self::from_value(read_json(&path)?).map_err(|error| error.at(path.display()))
    }

    /// Takes the fields out of a parsed `config.json`.
    pub fn from_value(json: Value) -> Result<Self> {
        let mut config: Self = serde_path_to_error::deserialize(&json).map_err(|error| {
            Error::data(format!("field `{}`: {}", error.path(), error.inner()))
                .hint("write the field as transformers does")
        })?;
        config.json = json;
        Ok(config)
    }

    /// The whole file, unknown keys included.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// Resolves defaults and checks that duel's decoder computes what this file describes.
    ///
    /// # Errors
    /// An unknown architecture, an unsupported switch, sizes that do not fit together.
    pub fn resolve(&self) -> Result<DecoderSpec> {
        let (architecture, head) = self.architecture()?;
        let gemma = matches!(architecture, Architecture::Gemma | Architecture::Gemma2);
        let gemma2 = architecture == Architecture::Gemma2;
        self.refuse_unsupported(gemma)?;
        if head == Head::Score {
            self.one_label()?;
        }
        let hidden_size = required(self.hidden_size, "hidden_size")?;
        let num_attention_heads = required(self.num_attention_heads, "num_attention_heads")?;
        let num_key_value_heads = match self.num_key_value_heads {
            Some(heads) => required(Some(heads), "num_key_value_heads")?,
            None => num_attention_heads,
        };
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            return Err(Error::data(format!(
                "num_attention_heads {num_attention_heads} is not a multiple of num_key_value_heads {num_key_value_heads}"
            ))
            .hint("every key/value head serves a whole group of query heads: correct one of the two"));
        }
        let attention_bias = self.attention_bias.unwrap_or(false);
        // Mistral never has biases, Qwen2 always the same three; the others have the switch.
        let switch = !matches!(architecture, Architecture::Mistral | Architecture::Qwen2);
        let all_bias = attention_bias && switch;
        let head_dim = self.head_dim(architecture, hidden_size, num_attention_heads)?;
        let (sliding_window, full_attention_layers) = self.windows(architecture);
        // An absent cap is the class's own; `null` is none.
        let cap = |name: &str, value: Option<f32>, default: f32| match self.json.get(name) {
            None if gemma2 => Some(default),
            _ => value.filter(|_| gemma2),
        };
        Ok(DecoderSpec {
            architecture,
            vocab_size: required(self.vocab_size, "vocab_size")?,
            hidden_size,
            intermediate_size: required(self.intermediate_size, "intermediate_size")?,
            num_hidden_layers: required(self.num_hidden_layers, "num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings: self.positions(architecture),
            rms_norm_eps: self.rms_norm_eps.unwrap_or(1e-6),
            rope: self.rope(self.positions(architecture))?,
            tie_word_embeddings: self.tie_word_embeddings.unwrap_or(gemma),
            qkv_bias: architecture == Architecture::Qwen2 || all_bias,
            o_bias: all_bias,
            mlp_bias: architecture == Architecture::Llama && self.mlp_bias.unwrap_or(false),
            qk_norm: architecture == Architecture::Qwen3,
            sliding_window,
            full_attention_layers,
            activation: match gemma {
                true => Activation::GeluTanh,
                false => Activation::Silu,
            },
            norm_plus_one: gemma,
            embedding_scale: match gemma {
                true => (hidden_size as f64).sqrt(),
                false => 1.0,
            },
            query_pre_attn_scalar: match gemma2 {
                true => self.query_pre_attn_scalar.unwrap_or(256).max(1),
                false => head_dim,
            },
            attn_logit_softcapping: cap(
                "attn_logit_softcapping",
                self.attn_logit_softcapping,
                50.0,
            ),
            final_logit_softcapping: cap(
                "final_logit_softcapping",
                self.final_logit_softcapping,
                30.0,
            ),
            post_norms: gemma2,
            head,
            pad_token_id: self.pad_token_id(head),
        })
    }

    /// The class name in `architectures`, or the causal class of `model_type`.
    fn architecture(&self) -> Result<(Architecture, Head)> {
        let listed = self.architectures.as_ref().and_then(|names| names.first());
        let Some(name) = listed else {
            let model_type = self.model_type.as_deref().unwrap_or_default();
            return FAMILIES
                .iter()
                .find(|(family, _)| family.eq_ignore_ascii_case(model_type))
                .map(|&(_, architecture)| (architecture, Head::LanguageModel))
                .ok_or_else(|| unknown_architecture(&format!("model_type `{model_type}`")));
        };
        FAMILIES
            .iter()
            .find_map(|&(family, architecture)| match name.strip_prefix(family)? {
                CAUSAL => Some((architecture, Head::LanguageModel)),
                CLASSIFICATION => Some((architecture, Head::Score)),
                GATING => Some((architecture, Head::Gated)),
                _ => None,
            })
            .ok_or_else(|| match name.contains(REWARD) {
                true => own_reward_head(name),
                false => unknown_architecture(&format!("architecture `{name}`")),
            })
    }

    fn refuse_unsupported(&self, gemma: bool) -> Result<()> {
        if let Some(method) = self
            .quantization_config
            .as_ref()
            .filter(|value| !value.is_null())
        {
            let method = method
                .get("quant_method")
                .and_then(Value::as_str)
                .unwrap_or("unknown");
            return Err(Error::user(format!(
                "the weights are quantised (`quantization_config`, method {method})"
            ))
            .hint("give the unquantised model, or a GGUF file of it"));
        }
        // The first configs of Gemma say `gelu` and mean the one by tanh, as transformers reads them.
        let (act, known): (_, &[&str]) = match gemma {
            true => {
                let act = self.hidden_activation.as_deref();
                let known = &["gelu_pytorch_tanh", "gelu"][..];
                (act.or(self.hidden_act.as_deref()), known)
            }
            false => (self.hidden_act.as_deref(), &["silu", "swish"]),
        };
        if let Some(act) = act
            && !known.contains(&act)
        {
            return Err(
                Error::user(format!("hidden_act `{act}` is not supported")).hint(
                    "duel's decoder has the SwiGLU of Llama, Mistral and Qwen (hidden_act `silu`) and the GELU of Gemma \
                     (`gelu_pytorch_tanh`)",
                ),
            );
        }
        if let Some(share) = self.partial_rotary_factor
            && share != 1.0
        {
            return Err(Error::user(format!(
                "partial_rotary_factor {share} is not supported: duel rotates whole heads"
            ))
            .hint("choose a Llama, Mistral, Qwen2, Qwen3, Gemma or Gemma 2 model"));
        }
        Ok(())
    }

    /// A reward model has one label. Where the config does not say how many there are, the weights do.
    fn one_label(&self) -> Result<()> {
        let stated = self.id2label.as_ref().map(Map::len).or(self.num_labels);
        match stated {
            None | Some(1) => Ok(()),
            Some(labels) => Err(many_labels(labels)),
        }
    }

    /// The token that a score is never read at. Old configs write -1 for none; a language model pools nothing.
    fn pad_token_id(&self, head: Head) -> Option<u32> {
        match head {
            Head::Score | Head::Gated => u32::try_from(self.pad_token_id?).ok(),
            Head::LanguageModel => None,
        }
    }

    fn head_dim(&self, architecture: Architecture, hidden: usize, heads: usize) -> Result<usize> {
        let head_dim = match self.head_dim {
            Some(head_dim) => required(Some(head_dim), "head_dim")?,
            // transformers fixes it for Qwen3 instead of dividing.
            None if architecture == Architecture::Qwen3 => 128,
            None if matches!(architecture, Architecture::Gemma | Architecture::Gemma2) => 256,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                return Err(Error::data(format!(
                    "hidden_size {hidden} is not a multiple of num_attention_heads {heads}"
                ))
                .hint("set `head_dim`, or correct one of the two"));
            }
        };
        if head_dim % 2 == 1 {
            return Err(Error::data(format!(
                "head_dim {head_dim} is odd; rotary embeddings turn pairs"
            ))
            .hint("correct head_dim, hidden_size or num_attention_heads"));
        }
        Ok(head_dim)
    }

    /// The window, and the layers that go without it. `layer_types` is the newer spelling of Qwen's `max_window_layers` and of
    /// Gemma 2's every other layer.
    fn windows(&self, architecture: Architecture) -> (Option<usize>, Vec<usize>) {
        use Architecture::{Gemma, Gemma2, Llama, Qwen2, Qwen3};
        let none = (None, Vec::new());
        let layers = self.num_hidden_layers.unwrap_or(0);
        match architecture {
            Llama | Gemma => return none,
            Qwen2 | Qwen3 if !self.use_sliding_window.unwrap_or(false) => return none,
            _ => {}
        }
        let window = match (self.json.get("sliding_window"), architecture) {
            (None, Gemma2) => Some(4096),
            _ => self.sliding_window.filter(|&window| window > 0),
        };
        let Some(window) = window else {
            return none;
        };
        let slides = |layer: usize| match (&self.layer_types, architecture) {
            (Some(types), _) => types
                .get(layer)
                .is_some_and(|name| name == "sliding_attention"),
            (None, Qwen2 | Qwen3) => layer >= self.max_window_layers.unwrap_or(28),
            (None, Gemma2) => layer.is_multiple_of(2),
            (None, _) => true,
        };
        let full: Vec<usize> = (0..layers).filter(|&layer| !slides(layer)).collect();
        match full.len() == layers {
            true => none,
            false => (Some(window), full),
        }
    }

    fn positions(&self, architecture: Architecture) -> usize {
        let default = match architecture {
            Architecture::Qwen2 | Architecture::Qwen3 => 32768,
            Architecture::Llama => 2048,
            Architecture::Mistral => 131_072,
            Architecture::Gemma | Architecture::Gemma2 => 8192,
        };
        self.max_position_embeddings.unwrap_or(default)
    }

    fn rope(&self, positions: usize) -> Result<Rope> {
        let empty = Map::new();
        let parameters = self
            .rope_parameters
            .as_ref()
            .or(self.rope_scaling.as_ref())
            .unwrap_or(&empty);
        if parameters.values().any(Value::is_object) {
            return Err(
                Error::user("rope_parameters differ from layer type to layer type")
                    .hint("duel gives all layers the same rotary embedding: choose another model"),
            );
        }
        let theta = match parameters.get("rope_theta") {
            Some(_) => Some(number(parameters, "rope_theta")?),
            None => self.rope_theta,
        }
        .unwrap_or(10_000.0);
        if !(theta > 0.0 && theta.is_finite()) {
            return Err(
                Error::data(format!("rope_theta {theta} is not a positive number"))
                    .hint("correct rope_theta"),
            );
        }
        let stated = match parameters.get("original_max_position_embeddings") {
            Some(_) => Some(positive(parameters, "original_max_position_embeddings")? as usize),
            None => None,
        };
        // In transformers' order: beside the rope parameters (as Phi-3 has it), in them, or not stretched.
        let context = Context {
            original: self
                .original_max_position_embeddings
                .filter(|&original| original > 0)
                .or(stated)
                .unwrap_or(positions),
            positions,
        };
        Ok(Rope {
            theta,
            scaling: rope_scaling(parameters, context)?,
        })
    }
}

/// The lengths that a rope rule is stretched from and to.
#[derive(Clone, Copy)]
struct Context {
    original: usize,
    positions: usize,
}

fn rope_scaling(parameters: &Map<String, Value>, context: Context) -> Result<RopeScaling> {
    let kind = ["rope_type", "type"]
        .iter()
        .find_map(|key| parameters.get(*key)?.as_str());
    match kind.unwrap_or("default") {
        "default" => Ok(RopeScaling::None),
        // NTK scaling sets in beyond `max_position_embeddings`, which no sequence of duel's exceeds.
        "dynamic" => positive(parameters, "factor").map(|_| RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear {
            factor: positive(parameters, "factor")?,
        }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: positive(parameters, "factor")?,
            low_freq_factor: positive(parameters, "low_freq_factor")?,
            high_freq_factor: positive(parameters, "high_freq_factor")?,
            original_max_position_embeddings: context.original,
        }),
        "yarn" => yarn(parameters, context),
        other => Err(Error::user(format!("rope type `{other}` is not supported"))
            .hint("supported: default, linear, dynamic, llama3, yarn")),
    }
}

/// YaRN's numbers, with transformers' defaults for those that are not stated.
fn yarn(parameters: &Map<String, Value>, context: Context) -> Result<RopeScaling> {
    let factor = match parameters.get("factor") {
        Some(Value::Null) => context.positions as f64 / context.original as f64,
        _ => positive(parameters, "factor")?,
    };
    // 0 counts as not stated.
    let stated = |key: &str| match parameters.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => number(parameters, key).map(|value| (value != 0.0).then_some(value)),
    };
    let scale = |weight: f64| match factor <= 1.0 {
        true => 1.0,
        false => 0.1 * weight * factor.ln() + 1.0,
    };
    let implied = match (stated("mscale")?, stated("mscale_all_dim")?) {
        (Some(mscale), Some(all)) => scale(mscale) / scale(all),
        _ => scale(1.0),
    };
    Ok(RopeScaling::Yarn {
        factor,
        original_max_position_embeddings: context.original,
        beta_fast: stated("beta_fast")?.unwrap_or(32.0),
        beta_slow: stated("beta_slow")?.unwrap_or(1.0),
        truncate: parameters.get("truncate").and_then(Value::as_bool) != Some(false),
        attention_factor: stated("attention_factor")?.unwrap_or(implied),
    })
}

fn number(parameters: &Map<String, Value>, key: &str) -> Result<f64> {
    parameters.get(key).and_then(Value::as_f64).ok_or_else(|| {
        Error::data(format!("the rope parameters have no number `{key}`")).hint(
            "compare `rope_parameters` / `rope_scaling` with the original model's config.json",
        )
    })
}

fn positive(parameters: &Map<String, Value>, key: &str) -> Result<f64> {
    let value = number(parameters, key)?;
    if value > 0.0 {
        return Ok(value);
    }
    Err(Error::data(format!(
        "the rope parameter `{key}` is {value}; it must be positive"
    ))
    .hint("compare `rope_parameters` / `rope_scaling` with the original model's config.json"))
}

fn required(value: Option<usize>, field: &str) -> Result<usize> {
    match value {
        Some(0) => Err(Error::data(format!("`{field}` is 0")).hint("correct config.json")),
        Some(value) if value > MAX_SIZE => {
            Err(Error::data(format!("`{field}` is {value}")).hint("correct config.json"))
        }
        Some(value) => Ok(value),
        None => Err(Error::data(format!("`{field}` is missing"))
            .hint("take config.json from the original model")),
    }
}

fn unknown_architecture(found: &str) -> Error {
    Error::user(format!("unknown {found}"))
        .hint("duel knows Llama, Mistral, Qwen2, Qwen3, Gemma and Gemma 2, each as *ForCausalLM, *ForSequenceClassification and *ForRewardModelWithGating")
}

/// A class that came with its model's own code: nothing says how it computes a score of the hidden states.
fn own_reward_head(name: &str) -> Error {
    Error::user(format!(
        "architecture `{name}` computes its reward by code of its own, which duel does not have"
    ))
    .hint("duel reads reward models of the form *ForSequenceClassification: one label, `score.weight [1, hidden]`")
}

/// The error for a classification head of `labels` labels.
pub(super) fn many_labels(labels: usize) -> Error {
    Error::user(format!(
        "the classification head has {labels} labels; a reward model has one"
    ))
    .hint("give a model with `\"id2label\": {\"0\": \"LABEL_0\"}` and `score.weight [1, hidden]`")
}

/// Parses a JSON file.
///
/// # Errors
/// A missing file; malformed JSON, with line and column.
pub fn read_json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, "read", error))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::data(format!("{}: not valid JSON: {error}", path.display()))
            .hint("download or copy the file again")
    })
}

/// The configuration of a reward model made of `config`: `*ForSequenceClassification`, one label, a pad token.
///
/// transformers finds the last token as the last one that is not `pad_token_id`, so that must not be the
/// token that ends a sequence. `num_labels` is not written: every reader derives it from `id2label`.
///
/// # Errors
/// An architecture that duel does not know.
pub fn for_reward(config: &Value, pad_token_id: u32) -> Result<Value> {
    for_class(config, CLASSIFICATION, pad_token_id)
}

/// The same of a multi-objective reward model, `*ForRewardModelWithGating`, whose class is ArmoRM's own.
///
/// # Errors
/// An architecture that duel does not know.
pub fn for_gating(config: &Value, pad_token_id: u32) -> Result<Value> {
    for_class(config, GATING, pad_token_id)
}

fn for_class(config: &Value, class: &str, pad_token_id: u32) -> Result<Value> {
    let (architecture, _) = HfConfig::from_value(config.clone())?.architecture()?;
    let family = FAMILIES
        .iter()
        .find(|(_, known)| *known == architecture)
        .map_or("Llama", |(name, _)| name);
    let mut reward = config.clone();
    let fields = reward.as_object_mut().ok_or_else(|| {
        Error::data("config.json is not an object").hint("take it from the original model")
    })?;
    fields.shift_remove("num_labels");
    fields.insert("architectures".into(), json!([format!("{family}{class}")]));
    fields.insert("id2label".into(), json!({"0": "LABEL_0"}));
    fields.insert("label2id".into(), json!({"LABEL_0": 0}));
    fields.insert("pad_token_id".into(), json!(pad_token_id));
    Ok(reward)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
