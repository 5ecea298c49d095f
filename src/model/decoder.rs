//! The decoder: one module for Llama, Mistral, Qwen2, Qwen3, Gemma and Gemma 2. Field names are Hugging Face's tensor names.

use super::cache::Cache;
use super::linear::Linear;
use super::rope::Frequencies;
use super::served::Served;
use super::spec::{Activation, DecoderSpec};
use super::tape::Tape;
use crate::trie::{Trie, rounded_up};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use duel_backends::ops::{self, Operands, Scores, Spans, TargetLogprobs};
use std::sync::Arc;

/// A decoder with what sits on it: an output head (its own, or the tied embedding) or a score head.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Everything below the head.
    pub model: Body,
    /// `lm_head.weight [vocab, hidden]`; none where it is tied or the model scores.
    pub lm_head: Option<Linear>,
    /// `score.weight [1, hidden]` of a reward model; a row more for each head that only a loss needs.
    pub score: Option<Linear>,
    /// Sizes and switches.
    #[module(skip)]
    pub spec: Arc<DecoderSpec>,
    /// How the products of the head are read.
    #[module(skip)]
    pub operands: Operands,
    /// What training keeps of its forward passes.
    #[module(skip)]
    pub(super) tape: Option<Tape>,
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
    /// It multiplies by `1 + weight`.
    #[module(skip)]
    pub plus_one: bool,
}

/// Attention and MLP, each with its norm in front and the residual around.
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub input_layernorm: Norm,
    /// Attention.
    pub self_attn: SelfAttention,
    /// Before the MLP; with norms behind, too, the one behind attention.
    pub post_attention_layernorm: Norm,
    /// The gated MLP.
    pub mlp: Mlp,
    /// Before and behind the MLP (Gemma 2).
    pub pre_feedforward_layernorm: Option<Norm>,
    /// See there.
    pub post_feedforward_layernorm: Option<Norm>,
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

/// The gated MLP.
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
pub(super) struct Place {
    cos: Tensor<2>,
    sin: Tensor<2>,
    /// Under the window, where there is one.
    spans: Arc<Spans>,
    /// Without it: the same where no layer goes without.
    full: Arc<Spans>,
}

/// Which block it is, in a forward pass over which rows.
#[derive(Clone, Copy)]
struct At<'a> {
    spec: &'a DecoderSpec,
    place: &'a Place,
    layer: usize,
}

impl Place {
    /// On the decoder's device.
    pub(super) fn new(decoder: &Decoder, positions: &[u32], spans: Arc<Spans>) -> Self {
        let frequencies = Frequencies::new(&decoder.spec.rope, decoder.spec.head_dim);
        let (cos, sin) = frequencies.angles(positions, &decoder.device());
        let full = match decoder.spec.full_attention_layers.is_empty() {
            true => spans.clone(),
            false => Arc::new(Spans {
                window: None,
                ..(*spans).clone()
            }),
        };
        Self {
            cos,
            sin,
            spans,
            full,
        }
    }

    /// What the queries of a layer see.
    fn spans(&self, spec: &DecoderSpec, layer: usize) -> Arc<Spans> {
        match spec.window(layer) {
            Some(_) => self.spans.clone(),
            None => self.full.clone(),
        }
    }
}

/// The matrix products of a block: layer by layer where they may be trained, stacked where they are only read.
pub(super) trait Products {
    /// Queries, keys and values of `x [n, hidden]`.
    fn qkv(&self, x: Tensor<2>) -> [Tensor<2>; 3];
    /// The heads' outputs, `[n, heads * d]`, back to `[n, hidden]`.
    fn o(&self, x: Tensor<2>) -> Tensor<2>;
    /// Both inputs of the SwiGLU.
    fn gate_up(&self, x: Tensor<2>) -> [Tensor<2>; 2];
    /// The SwiGLU's output back to `[n, hidden]`.
    fn down(&self, x: Tensor<2>) -> Tensor<2>;
}

impl Products for Block {
    fn qkv(&self, x: Tensor<2>) -> [Tensor<2>; 3] {
        let SelfAttention {
            q_proj,
            k_proj,
            v_proj,
            ..
        } = &self.self_attn;
        [q_proj, k_proj, v_proj].map(|layer| layer.forward(x.clone()))
    }

    fn o(&self, x: Tensor<2>) -> Tensor<2> {
        self.self_attn.o_proj.forward(x)
    }

    fn gate_up(&self, x: Tensor<2>) -> [Tensor<2>; 2] {
        [&self.mlp.gate_proj, &self.mlp.up_proj].map(|layer| layer.forward(x.clone()))
    }

    fn down(&self, x: Tensor<2>) -> Tensor<2> {
        self.mlp.down_proj.forward(x)
    }
}

impl Norm {
    fn forward(&self, x: Tensor<2>, eps: f64) -> Tensor<2> {
        let weight = match self.plus_one {
            true => self.weight.val() + 1.0,
            false => self.weight.val(),
        };
        ops::rms_norm(x, weight, eps)
    }

    /// Normalises each head of `x [n, heads * d]`.
    fn per_head(&self, x: Tensor<2>, eps: f64) -> Tensor<2> {
        let [n, width] = x.dims();
        let dim = self.weight.val().dims()[0];
        self.forward(x.reshape([n * width / dim, dim]), eps)
            .reshape([n, width])
    }
}

impl SelfAttention {
    /// Queries, keys and values to the heads' outputs, `[n, heads * d]`, before `o_proj`; with a cache the new keys and
    /// values are written into layer `layer` of it and the spans speak of its rows.
    fn forward(
        &self,
        [mut q, mut k, mut v]: [Tensor<2>; 3],
        At { spec, place, layer }: At,
        cache: Option<&mut Cache>,
    ) -> Tensor<2> {
        if let (Some(q_norm), Some(k_norm)) = (&self.q_norm, &self.k_norm) {
            q = q_norm.per_head(q, spec.rms_norm_eps);
            k = k_norm.per_head(k, spec.rms_norm_eps);
        }
        q = ops::rotary(q, place.cos.clone(), place.sin.clone());
        k = ops::rotary(k, place.cos.clone(), place.sin.clone());
        if let Some(cache) = cache {
            (k, v) = cache.write(layer, k, v);
        }
        if spec.query_pre_attn_scalar != spec.head_dim {
            q = q * (spec.head_dim as f64 / spec.query_pre_attn_scalar as f64).sqrt();
        }
        let scores = Scores {
            head_dim: spec.head_dim,
            softcap: spec.attn_logit_softcapping,
        };
        ops::attention(q, k, v, scores, place.spans(spec, layer))
    }
}

impl Block {
    fn forward(
        &self,
        x: Tensor<2>,
        products: &dyn Products,
        at: At,
        cache: Option<&mut Cache>,
        rows: Option<&Tensor<1, Int>>,
    ) -> Tensor<2> {
        let eps = at.spec.rms_norm_eps;
        let seen = self.input_layernorm.forward(x.clone(), eps);
        let qkv = products.qkv(seen);
        let mut mixed = self.self_attn.forward(qkv, at, cache);
        let mut x = x;
        if let Some(rows) = rows {
            mixed = mixed.select(0, rows.clone());
            x = x.select(0, rows.clone());
        }
        let mixed = products.o(mixed);
        let (before, behind) = (
            &self.pre_feedforward_layernorm,
            &self.post_feedforward_layernorm,
        );
        let (x, seen) = match before {
            // The norm of that name stands behind attention then.
            Some(before) => {
                let x = x + self.post_attention_layernorm.forward(mixed, eps);
                let seen = before.forward(x.clone(), eps);
                (x, seen)
            }
            None => {
                let x = x + mixed;
                let seen = self.post_attention_layernorm.forward(x.clone(), eps);
                (x, seen)
            }
        };
        let [gate, up] = products.gate_up(seen);
        let gated = match at.spec.activation {
            Activation::Silu => ops::swiglu(gate, up),
            Activation::GeluTanh => gelu_tanh(gate) * up,
        };
        let y = products.down(gated);
        match behind {
            Some(behind) => x + behind.forward(y, eps),
            None => x + y,
        }
    }
}

impl Decoder {
    /// The device the weights are on.
    pub fn device(&self) -> Device {
        self.model.embed_tokens.weight.val().device()
    }

    /// The vectors of `tokens`, where the blocks begin: `[tokens, hidden]`.
    pub(super) fn embed(&self, tokens: &[u32]) -> Tensor<2> {
        let vectors = embedded(self.model.embed_tokens.weight.val(), tokens);
        self.spec.scaled(vectors)
    }

    fn at<'a>(&'a self, place: &'a Place, layer: usize) -> At<'a> {
        At {
            spec: &self.spec,
            place,
            layer,
        }
    }

    /// Block `layer`. Above the last attention only `rows` are computed.
    pub(super) fn block(
        &self,
        layer: usize,
        x: Tensor<2>,
        place: &Place,
        rows: &Tensor<1, Int>,
    ) -> Tensor<2> {
        let block = &self.model.layers[layer];
        let rows = (layer + 1 == self.model.layers.len()).then_some(rows);
        block.forward(x, block, self.at(place, layer), None, rows)
    }

    /// All blocks.
    pub(super) fn blocks(&self, x: Tensor<2>, place: &Place, rows: &Tensor<1, Int>) -> Tensor<2> {
        let layers = 0..self.model.layers.len();
        layers.fold(x, |x, layer| self.block(layer, x, place, rows))
    }

    /// Final hidden states of `rows` of a trie: `[rows, hidden]`.
    pub fn hidden(&self, trie: &Trie, rows: &[u32]) -> Tensor<2> {
        let trie = &*trie.padded(self.row_multiple());
        let x = match &self.tape {
            Some(tape) => self.taped_blocks(tape, trie, rows),
            None => {
                let spans = Arc::new(trie.spans(self.spec.sliding_window));
                let place = Place::new(self, &trie.positions, spans);
                self.blocks(
                    self.embed(&trie.tokens),
                    &place,
                    &index(rows, &self.device()),
                )
            }
        };
        self.model.norm.forward(x, self.spec.rms_norm_eps)
    }

    /// The matrix that turns hidden states into logits, `[vocab, hidden]`.
    pub fn output_weight(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.weight.whole(),
            None => self.model.embed_tokens.weight.val(),
        }
    }

    /// Log-probs of a trie's targets, in their order.
    pub fn target_logprobs(&self, trie: &Trie) -> TargetLogprobs {
        let rows = trie.targets.iter().map(|t| t.row).collect();
        let tokens = trie.targets.iter().map(|t| t.token).collect();
        let hidden = self.hidden(trie, &self.rounded_up(rows));
        let tokens = Arc::new(self.rounded_up(tokens));
        let TargetLogprobs { logps, notes } = ops::target_logprobs(
            hidden,
            self.output_weight(),
            tokens,
            self.operands,
            self.spec.final_logit_softcapping,
        );
        TargetLogprobs {
            logps: first(logps, trie.targets.len()),
            notes: first(notes, trie.targets.len()),
        }
    }

    /// The logit of `yes` less that of `no` where each of the trie's targets is predicted: `[targets]`.
    pub fn verdicts(&self, trie: &Trie, [yes, no]: [u32; 2]) -> Tensor<1> {
        let rows = trie.targets.iter().map(|t| t.row).collect();
        let hidden = self.hidden(trie, &self.rounded_up(rows));
        let both = embedded(self.output_weight(), &[yes, no]);
        let logits = self.spec.capped(hidden.matmul(both.transpose()));
        let logit = |column| logits.clone().narrow(1, column, 1).flatten(0, 1);
        first(logit(0).sub(logit(1)), trie.targets.len())
    }

    /// What the numbers of rows are multiples of.
    fn row_multiple(&self) -> usize {
        duel_backends::device::row_multiple(&self.device())
    }

    /// `ids` with zeros behind them, as many as the device wants.
    pub(super) fn rounded_up(&self, mut ids: Vec<u32>) -> Vec<u32> {
        ids.resize(rounded_up(ids.len(), self.row_multiple()), 0);
        ids
    }

    /// The score head at the last token of each sequence that is no padding: `[sequences]`.
    ///
    /// # Panics
    /// If the model has no score head: judges are checked when they are loaded.
    pub fn rewards(&self, trie: &Trie) -> Tensor<1> {
        self.heads(trie).flatten(0, 1)
    }

    /// Every score head there, `[sequences, heads]`: one, but while a loss trains more of them.
    ///
    /// # Panics
    /// If the model has no score head.
    pub fn heads(&self, trie: &Trie) -> Tensor<2> {
        let head = self
            .score
            .as_ref()
            .expect("a reward model has a score head");
        let last = match self.spec.pad_token_id {
            Some(pad) => trie.last_but(pad),
            None => trie.last.clone(),
        };
        let hidden = self.hidden(trie, &self.rounded_up(last));
        first(head.forward(hidden), trie.sequences())
    }

    /// Runs new tokens against a cache, through matrices that [`Decoder::served`] has laid out, and returns the logits
    /// of `rows` among them: `[rows, vocab]`. `spans` speaks of the cache's rows.
    pub fn cached_logits(
        &self,
        served: &Served,
        tokens: &[u32],
        positions: &[u32],
        spans: Spans,
        cache: &mut Cache,
        rows: &[u32],
    ) -> Tensor<2> {
        let place = Place::new(self, positions, Arc::new(spans));
        let rows = index(rows, &self.device());
        let mut x = self.embed(tokens);
        let last = self.model.layers.len() - 1;
        for (layer, block) in self.model.layers.iter().enumerate() {
            let rows = (layer == last).then_some(&rows);
            let (products, cache) = (&served.blocks[layer], Some(&mut *cache));
            x = block.forward(x, products, self.at(&place, layer), cache, rows);
        }
        let states = self.model.norm.forward(x, self.spec.rms_norm_eps);
        self.spec.capped(served.head.linear(states))
    }
}

impl DecoderSpec {
    /// The vectors of tokens as the first block sees them.
    pub(super) fn scaled(&self, vectors: Tensor<2>) -> Tensor<2> {
        match self.embedding_scale {
            1.0 => vectors,
            scale => vectors * scale,
        }
    }

    /// Output logits under the soft cap, where there is one.
    fn capped(&self, logits: Tensor<2>) -> Tensor<2> {
        match self.final_logit_softcapping {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`. A power function would make NaN of negative numbers on some devices.
fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    let cube = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cube * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
    x * (inner.tanh() + 1.0) * 0.5
}

/// The first `count` rows, where there are more.
fn first<const D: usize>(x: Tensor<D>, count: usize) -> Tensor<D> {
    match x.dims()[0] == count {
        true => x,
        false => x.narrow(0, 0, count),
    }
}

/// The rows `tokens` of a table of vectors.
pub(super) fn embedded(table: Tensor<2>, tokens: &[u32]) -> Tensor<2> {
    let tokens = index(tokens, &table.device());
    table.select(0, tokens).cast(DType::F32)
}

/// Ids as an index tensor.
pub(super) fn index(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let count = ids.len();
    Tensor::from_data(TensorData::new(ids, [count]), device)
}
