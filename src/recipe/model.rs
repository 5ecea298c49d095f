//! `[model]`, `[device]` and a stage's `[..lora]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The model to begin with: a name, or a new one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// A folder in Hugging Face layout, a GGUF file, a hub id, or `quickstart`, the model inside the binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name_or_path: Option<String>,
    /// Branch, tag or commit of a hub id; absent: the main branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// A chat template (Jinja, the text itself) in place of the model's own: base models have none, and conversations
    /// need one. Every model that the run writes carries it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// The type that matrix products read. They add up in f32, weights that are trained stay f32, and so does everything
    /// between two products; weights that are not trained are kept in this type.
    pub dtype: Dtype,
    /// Keep the matrices of the blocks in 4 bits (NF4). They cannot be trained: every stage that trains needs an adapter
    /// (`[..lora]`), as in QLoRA.
    #[serde(skip_serializing_if = "is_false")]
    pub load_in_4bit: bool,
    /// Begin with random weights of these sizes instead; `[sft]` is then pretraining.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<NewModel>,
}

/// What [`Model`] asks for, once it is checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ModelSource<'a> {
    /// The model inside the binary.
    Quickstart,
    /// A folder, a GGUF file or a hub id.
    Named(&'a str),
    /// Random weights.
    New(&'a NewModel),
}

impl Model {
    /// The name of the model inside the binary.
    pub const QUICKSTART: &'static str = "quickstart";

    /// Where the weights come from; `None` only in a recipe that was not checked.
    pub fn source(&self) -> Option<ModelSource<'_>> {
        match (&self.model_name_or_path, &self.new) {
            (None, Some(new)) => Some(ModelSource::New(new)),
            (Some(name), None) if name == Self::QUICKSTART => Some(ModelSource::Quickstart),
            (Some(name), None) => Some(ModelSource::Named(name)),
            _ => None,
        }
    }
}

/// A model of random weights in Llama's layout; keys as in `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    /// Width of the residual stream.
    #[schemars(range(min = 1))]
    pub hidden_size: usize,
    /// Width inside the SwiGLU.
    #[schemars(range(min = 1))]
    pub intermediate_size: usize,
    /// Number of blocks.
    #[schemars(range(min = 1))]
    pub num_hidden_layers: usize,
    /// Query heads; must divide `hidden_size`.
    #[schemars(range(min = 1))]
    pub num_attention_heads: usize,
    /// Key/value heads; must divide `num_attention_heads`.
    #[schemars(range(min = 1))]
    pub num_key_value_heads: usize,
    /// Entries of the vocabulary, special tokens included.
    #[schemars(range(min = 258))]
    pub vocab_size: usize,
    /// Longest sequence.
    #[serde(default = "default_positions")]
    #[schemars(range(min = 1))]
    pub max_position_embeddings: usize,
    /// Base of the rotary wavelengths.
    #[serde(default = "default_theta")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rope_theta: f64,
    /// Epsilon of every RMSNorm.
    #[serde(default = "default_norm_eps")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rms_norm_eps: f64,
    /// The output head is the embedding itself.
    #[serde(default = "default_tied")]
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial weights.
    #[serde(default = "default_init")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub initializer_range: f64,
    /// Folder with a `tokenizer.json` to use, from the file that names it; absent: a byte-level BPE of `vocab_size`
    /// entries is learned from the data of `[sft]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

/// Left out where it is written, so that a recipe from before the key is the same recipe.
fn is_false(value: &bool) -> bool {
    !value
}

fn default_positions() -> usize {
    512
}

fn default_theta() -> f64 {
    10_000.0
}

fn default_norm_eps() -> f64 {
    1e-5
}

fn default_tied() -> bool {
    true
}

fn default_init() -> f64 {
    0.02
}

/// The type that matrix products read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// What the device was seen to compute: bf16, or f16, or f32. On the CPU always f32.
    Auto,
    /// bfloat16.
    Bf16,
    /// 16-bit IEEE floats.
    F16,
}

impl Dtype {
    /// As recipes spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Auto => "auto",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// Where to compute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// The way to the hardware; `duel devices` lists those that are here.
    pub backend: Backend,
    /// Which device of that backend, from 0.
    pub index: usize,
    /// Plan for this much memory, in GiB, instead of what the device has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub memory_gib: Option<f64>,
}

/// A way to the hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The fastest that is here.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// NVIDIA.
    Cuda,
    /// AMD.
    Rocm,
    /// Any vendor's graphics card on Linux and Windows.
    Vulkan,
    /// Apple.
    Metal,
    /// DirectX 12 on Windows.
    Dx12,
    /// WebGPU, whatever stands behind it.
    Webgpu,
}

impl Backend {
    /// The name as recipes and `--device` spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Dx12 => "dx12",
            Self::Webgpu => "webgpu",
        }
    }
}

/// Train low-rank adapters instead of all weights; keys as in PEFT's `adapter_config.json`. A stage without this
/// table trains every weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lora {
    /// Rank of the adapters.
    #[schemars(range(min = 1))]
    pub r: usize,
    /// The adapters' output is scaled by `lora_alpha / r`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lora_alpha: f64,
    /// Share of an adapter's inputs that is dropped in training; only 0 is computed, as yet.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub lora_dropout: f64,
    /// Linear layers that get an adapter.
    pub target_modules: Vec<String>,
    /// Scale by `lora_alpha / sqrt(r)` instead (rsLoRA).
    pub use_rslora: bool,
}

impl Lora {
    /// Every linear layer of a block.
    pub const MODULES: [&'static str; 7] = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ];
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            r: 16,
            lora_alpha: 32.0,
            lora_dropout: 0.0,
            target_modules: Self::MODULES.map(str::to_owned).to_vec(),
            use_rslora: false,
        }
    }
}
