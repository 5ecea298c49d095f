//! The decoder: one module for Llama, Mistral, Qwen2 and Qwen3. Field names are Hugging Face's tensor names.

use super::cache::Cache;
use super::linear::Linear;
use super::rope::Frequencies;
use super::spec::DecoderSpec;
use crate::trie::Trie;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use duel_backends::ops::{self, Spans, TargetLogprobs};
use std::sync::Arc;

/// A decoder with what sits on it: an output head (its own, or the tied embedding) or a score head.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Everything below the head.
    pub model: Body,
    /// `lm_head.weight [vocab, hidden]`; none where it is tied or the model scores.
    pub lm_head: Option<Linear>,
    /// `score.weight [1, hidden]` of a reward model.
    pub score: Option<Linear>,
    /// Sizes and switches.
    #[module(skip)]
    pub spec: Arc<DecoderSpec>,
}

/// Embedding, blocks, final norm.
#[derive(Module, Debug)]
pub struct Body {
    /// `[vocab, hidden]`.
    pub embed_tokens: Embedding,
    /// The blocks, first to last.
    pub layers: Vec<Block>,
    /// Before the head.
    pub norm: Norm,
}

/// A table of vectors.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[vocab, hidden]`.
    pub weight: Param<Tensor<2>>,
}

/// RMSNorm.
#[derive(Module, Debug)]
pub struct Norm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
}

/// Attention and MLP, each with its norm in front and the residual around.
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub input_layernorm: Norm,
    /// Attention.
    pub self_attn: SelfAttention,
    /// Before the MLP.
    pub post_attention_layernorm: Norm,
    /// The gated MLP.
    pub mlp: Mlp,
}

/// Grouped-query attention with rotary positions.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// `[heads * d, hidden]`.
    pub q_proj: Linear,
    /// `[kv_heads * d, hidden]`.
    pub k_proj: Linear,
    /// `[kv_heads * d, hidden]`.
    pub v_proj: Linear,
    /// `[hidden, heads * d]`.
    pub o_proj: Linear,
    /// Over each head of q (Qwen3).
    pub q_norm: Option<Norm>,
    /// Over each head of k (Qwen3).
    pub k_norm: Option<Norm>,
}

/// SwiGLU.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[intermediate, hidden]`.
    pub gate_proj: Linear,
    /// `[intermediate, hidden]`.
    pub up_proj: Linear,
    /// `[hidden, intermediate]`.
    pub down_proj: Linear,
}

/// Where the rows of a forward pass stand, and whom they see.
struct Place {
    cos: Tensor<2>,
    sin: Tensor<2>,
    spans: Arc<Spans>,
}

impl Norm {
    fn forward(&self, x: Tensor<2>, eps: f64) -> Tensor<2> {
        ops::rms_norm(x, self.weight.val(), eps)
    }

    /// Normalises each head of `x [n, heads * d]`.
    fn per_head(&self, x: Tensor<2>, eps: f64) -> Tensor<2> {
        let [n, width] = x.dims();
        let dim = self.weight.val().dims()[0];
        self.forward(x.reshape([n * width / dim, dim]), eps)
            .reshape([n, width])
    }
}

impl Mlp {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let gate = self.gate_proj.forward(x.clone());
        let up = self.up_proj.forward(x);
        self.down_proj.forward(ops::swiglu(gate, up))
    }
}

impl SelfAttention {
    /// `x [n, hidden]` to the heads' outputs, `[n, heads * d]`, before `o_proj`; with a cache the new keys and values
    /// are written into layer `layer` of it and the spans speak of its rows.
    fn forward(
        &self,
        x: Tensor<2>,
        spec: &DecoderSpec,
        place: &Place,
        cache: Option<(&mut Cache, usize)>,
    ) -> Tensor<2> {
        let mut q = self.q_proj.forward(x.clone());
        let mut k = self.k_proj.forward(x.clone());
        let mut v = self.v_proj.forward(x);
        if let (Some(q_norm), Some(k_norm)) = (&self.q_norm, &self.k_norm) {
            q = q_norm.per_head(q, spec.rms_norm_eps);
            k = k_norm.per_head(k, spec.rms_norm_eps);
        }
        q = ops::rotary(q, place.cos.clone(), place.sin.clone());
        k = ops::rotary(k, place.cos.clone(), place.sin.clone());
        if let Some((cache, layer)) = cache {
            (k, v) = cache.write(layer, k, v);
        }
        ops::attention(q, k, v, spec.head_dim, place.spans.clone())
    }
}

impl Block {
    fn forward(
        &self,
        x: Tensor<2>,
        spec: &DecoderSpec,
        place: &Place,
        cache: Option<(&mut Cache, usize)>,
        rows: Option<&Tensor<1, Int>>,
    ) -> Tensor<2> {
        let eps = spec.rms_norm_eps;
        let seen = self.input_layernorm.forward(x.clone(), eps);
        let mut mixed = self.self_attn.forward(seen, spec, place, cache);
        let mut x = x;
        if let Some(rows) = rows {
            mixed = mixed.select(0, rows.clone());
            x = x.select(0, rows.clone());
        }
        let x = x + self.self_attn.o_proj.forward(mixed);
        let seen = self.post_attention_layernorm.forward(x.clone(), eps);
        x + self.mlp.forward(seen)
    }
}

impl Decoder {
    /// The device the weights are on.
    pub fn device(&self) -> Device {
        self.model.embed_tokens.weight.val().device()
    }

    /// Final hidden states of `rows`, after the final norm: `[rows, hidden]`. Above the last attention no other row
    /// is computed.
    fn states(
        &self,
        tokens: &[u32],
        positions: &[u32],
        spans: Arc<Spans>,
        mut cache: Option<&mut Cache>,
        rows: &[u32],
    ) -> Tensor<2> {
        let device = self.device();
        let (cos, sin) =
            Frequencies::new(&self.spec.rope, self.spec.head_dim).angles(positions, &device);
        let place = Place { cos, sin, spans };
        let embedding = self.model.embed_tokens.weight.val();
        let mut x = embedding.select(0, index(tokens, &device));
        let rows = index(rows, &device);
        let last = self.model.layers.len() - 1;
        for (layer, block) in self.model.layers.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| (cache, layer));
            let rows = (layer == last).then_some(&rows);
            x = block.forward(x, &self.spec, &place, cache, rows);
        }
        self.model.norm.forward(x, self.spec.rms_norm_eps)
    }

    /// Final hidden states of `rows` of a trie: `[rows, hidden]`.
    pub fn hidden(&self, trie: &Trie, rows: &[u32]) -> Tensor<2> {
        let spans = Arc::new(trie.spans(self.spec.sliding_window));
        self.states(&trie.tokens, &trie.positions, spans, None, rows)
    }

    /// The matrix that turns hidden states into logits, `[vocab, hidden]`.
    pub fn output_weight(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.weight.val(),
            None => self.model.embed_tokens.weight.val(),
        }
    }

    /// Log-probs of a trie's targets, in their order.
    pub fn target_logprobs(&self, trie: &Trie) -> TargetLogprobs {
        let rows: Vec<u32> = trie.targets.iter().map(|t| t.row).collect();
        let tokens: Vec<u32> = trie.targets.iter().map(|t| t.token).collect();
        let hidden = self.hidden(trie, &rows);
        ops::target_logprobs(hidden, self.output_weight(), Arc::new(tokens))
    }

    /// The score head at the last token of each sequence: `[sequences]`.
    ///
    /// # Panics
    /// If the model has no score head: judges are checked when they are loaded.
    pub fn rewards(&self, trie: &Trie) -> Tensor<1> {
        let head = self
            .score
            .as_ref()
            .expect("a reward model has a score head");
        let hidden = self.hidden(trie, &trie.last);
        head.forward(hidden).flatten(0, 1)
    }

    /// Runs new tokens against a cache and returns the logits of `rows` among them: `[rows, vocab]`.
    /// `spans` speaks of the cache's rows.
    pub fn cached_logits(
        &self,
        tokens: &[u32],
        positions: &[u32],
        spans: Spans,
        cache: &mut Cache,
        rows: &[u32],
    ) -> Tensor<2> {
        let states = self.states(tokens, positions, Arc::new(spans), Some(cache), rows);
        ops::linear(states, self.output_weight())
    }
}

/// Ids as an index tensor.
fn index(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let count = ids.len();
    Tensor::from_data(TensorData::new(ids, [count]), device)
}
