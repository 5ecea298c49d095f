//! What a decoder is made of: sizes and switches, resolved from a verbatim `config.json`.

/// The families that share the one decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 1-3, SmolLM2 and everything else of that layout.
    Llama,
    /// Llama with a sliding attention window.
    Mistral,
    /// Llama with biases on q, k and v.
    Qwen2,
    /// Qwen2 without biases, with an RMSNorm on each head of q and k.
    Qwen3,
    /// Scaled embeddings, norms that multiply by 1 + w, a GELU in the MLP.
    Gemma,
    /// Gemma with norms behind attention and MLP, soft caps, and a window on every other layer.
    Gemma2,
}

/// What gates the MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x sigmoid(x)`: SwiGLU (Shazeer 2020).
    Silu,
    /// The GELU by tanh (Hendrycks and Gimpel 2016).
    GeluTanh,
}

/// What sits on top of the last hidden state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// `*ForCausalLM`: logits over the vocabulary.
    LanguageModel,
    /// `*ForSequenceClassification` with one label: `score.weight [1, hidden]`, no bias.
    Score,
    /// `*ForRewardModelWithGating`: a reward for each attribute and a gate ([`super::Gated`]).
    Gated,
}

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the wavelengths (`rope_theta`).
    pub theta: f64,
    /// How the wavelengths are stretched.
    pub scaling: RopeScaling,
}

/// `rope_scaling` / `rope_parameters`, resolved.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// As trained.
    None,
    /// All positions divided by `factor`.
    Linear {
        /// Divisor.
        factor: f64,
    },
    /// Llama 3.1's rule: long wavelengths divided by `factor`, short ones kept, a smooth blend between.
    Llama3 {
        /// Divisor of the longest wavelengths.
        factor: f64,
        /// Wavelengths above `original / low` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original / high` are kept.
        high_freq_factor: f64,
        /// The context length before stretching.
        original_max_position_embeddings: usize,
    },
    /// YaRN (Peng et al. 2023): pairs that turn often are kept, those that turn seldom divided by `factor`, a
    /// ramp over the pairs between; and longer queries and keys.
    Yarn {
        /// Divisor of the slowest pairs.
        factor: f64,
        /// The context length before stretching.
        original_max_position_embeddings: usize,
        /// Turns in the original context from which on a pair is kept.
        beta_fast: f64,
        /// Turns in the original context up to which a pair is divided.
        beta_slow: f64,
        /// The ends of the ramp are whole pairs.
        truncate: bool,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
    },
}

/// Everything the decoder needs to know; field names follow `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderSpec {
    /// The family.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key/value heads; query heads share them in groups (GQA).
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest sequence the model was made for.
    pub max_position_embeddings: usize,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f64,
    /// Rotary embedding.
    pub rope: Rope,
    /// The output head is the embedding itself.
    pub tie_word_embeddings: bool,
    /// Biases on q, k, v.
    pub qkv_bias: bool,
    /// A bias on the attention's output projection (Llama's `attention_bias`).
    pub o_bias: bool,
    /// Biases in the MLP (Llama's `mlp_bias`).
    pub mlp_bias: bool,
    /// RMSNorm over each head of q and k (Qwen3).
    pub qk_norm: bool,
    /// A query sees only the last `n` positions, itself included.
    pub sliding_window: Option<usize>,
    /// Layers whose queries see everything all the same.
    pub full_attention_layers: Vec<usize>,
    /// What gates the MLP.
    pub activation: Activation,
    /// Norms multiply by `1 + w` (Gemma).
    pub norm_plus_one: bool,
    /// What the vectors of tokens are multiplied by.
    pub embedding_scale: f64,
    /// What scores are divided by the square root of; another width than the head's has queries scaled.
    pub query_pre_attn_scalar: usize,
    /// Soft cap of the attention's scores.
    pub attn_logit_softcapping: Option<f32>,
    /// Soft cap of the output logits.
    pub final_logit_softcapping: Option<f32>,
    /// Norms behind attention and MLP, too, before they join the residual stream (Gemma 2).
    pub post_norms: bool,
    /// The head on top.
    pub head: Head,
    /// Under a score head: the token that tells nothing. The score is read at the last token that is not this one, as
    /// transformers reads it.
    pub pad_token_id: Option<u32>,
}

impl DecoderSpec {
    /// The window of layer `layer`, where it has one.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.sliding_window
            .filter(|_| !self.full_attention_layers.contains(&layer))
    }
}
