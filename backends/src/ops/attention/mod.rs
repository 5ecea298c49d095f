//! Attention over spans: every query sees the key rows of its ancestors and, causally, those of its own
//! segment. One op serves training on a trie, prefill, and decoding from a cache that K samples share.
//!
//! The work is done tile by tile over the spans that are visible; `[queries, keys]` is never held. The
//! forward pass keeps a running softmax and saves its log-sum, the backward pass makes each tile again
//! (Dao 2023, FlashAttention-2, algorithms 1 and 2).

pub mod blocks;
mod cpu_body;
#[cfg(feature = "cube")]
mod cube;
mod few;
mod spans;
#[cfg(feature = "cube")]
mod tiles;

pub use spans::{KeySpan, QuerySegment, Spans};

use super::fused;
use crate::clock::{self, Work};
use crate::cpu;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Bool, Tensor, TensorData, activation};
use std::sync::Arc;

/// How the scores of a head are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Width of a head, `d`: scores are scaled by `1 / sqrt(d)`.
    pub head_dim: usize,
    /// Soft cap `c`: a score `s` counts as `c tanh(s / c)` (Gemma 2).
    pub softcap: Option<f32>,
}

impl Scores {
    /// Without a cap.
    pub fn new(head_dim: usize) -> Self {
        Self {
            head_dim,
            softcap: None,
        }
    }
}

/// Attends with `q [queries, heads * d]` to `k`, `v [keys, kv_heads * d]` under `spans`: `[queries, heads * d]`. Query heads
/// share key heads in groups (GQA).
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    scores: Scores,
    spans: Arc<Spans>,
) -> Tensor<2> {
    let group = q.dims()[1] / k.dims()[1].max(1);
    if !fused(&q) || (group > GROUPED && !cpu::serves(&q)) {
        return blocks::attention(q, k, v, scores, &spans, BLOCK);
    }
    let (out, _) = <Dispatch as Attention>::attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        scores,
        spans,
    );
    Tensor::from_dispatch(out)
}

/// The most query heads to a key head that the kernels take: all heads of one query lie in one tile.
const GROUPED: usize = 32;

/// Queries of a block where no fused body serves: enough for a matrix product to be worth its launch.
const BLOCK: usize = 512;

/// The same in plain tensor ops; holds `[heads, queries, keys]`.
pub fn reference(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    Scores { head_dim, softcap }: Scores,
    spans: &Spans,
) -> Tensor<2> {
    let ([queries, width], [keys, kv_width]) = (q.dims(), k.dims());
    let (heads, kv_heads) = (width / head_dim, kv_width / head_dim);
    let group = heads / kv_heads;
    let q = q
        .reshape([queries, kv_heads, group, head_dim])
        .permute([1, 2, 0, 3]);
    let spread = |x: Tensor<2>| {
        x.reshape([keys, kv_heads, 1, head_dim])
            .permute([1, 2, 0, 3])
    };
    let hidden = Tensor::<2, Bool>::from_data(
        TensorData::new(spans.hidden_mask(queries, keys), [queries, keys]),
        &q.device(),
    );
    let scores = q.matmul(spread(k).swap_dims(2, 3)) / (head_dim as f64).sqrt();
    let scores = match softcap {
        Some(cap) => (scores / cap).tanh() * cap,
        None => scores,
    };
    let scores = scores.mask_fill(hidden.unsqueeze(), f32::NEG_INFINITY);
    activation::softmax(scores, 3)
        .matmul(spread(v))
        .permute([2, 0, 1, 3])
        .reshape([queries, width])
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub trait Attention: Backend {
    /// `(out [queries, heads * d], log-sums [queries, heads])`, see [`attention`].
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scores: Scores,
        spans: Arc<Spans>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The op's gradients, for a backend that has the op.
pub trait AttentionBackward: Attention {
    /// `(d q, d k, d v)` for the gradient of the output.
    fn attention_backward(saved: Saved<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3];
}

/// What the backward pass needs.
#[derive(Debug)]
pub struct Saved<B: Backend> {
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    out: FloatTensor<B>,
    log_sums: FloatTensor<B>,
    scores: Scores,
    spans: Arc<Spans>,
}

impl<B: Backend> Clone for Saved<B> {
    fn clone(&self) -> Self {
        Self {
            q: self.q.clone(),
            k: self.k.clone(),
            v: self.v.clone(),
            out: self.out.clone(),
            log_sums: self.log_sums.clone(),
            scores: self.scores,
            spans: self.spans.clone(),
        }
    }
}

impl Attention for Flex {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scores: Scores,
        spans: Arc<Spans>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (q, k, v) = (cpu::dense(q), cpu::dense(k), cpu::dense(v));
        let [queries, width] = cpu::dims2(&q);
        let kv_width = cpu::dims2(&k)[1];
        let sizes = cpu_body::Sizes::new(width, kv_width, scores);
        let [qs, ks, vs] = [&q, &k, &v].map(cpu::slice);
        let (out, log_sums) = clock::measure(Work::Attention, || {
            cpu_body::forward(qs, ks, vs, sizes, &spans)
        });
        (
            cpu::tensor(out, &[queries, width]),
            cpu::tensor(log_sums, &[queries, width / scores.head_dim]),
        )
    }
}

impl AttentionBackward for Flex {
    fn attention_backward(saved: Saved<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        let [q, k, v, grad] = [&saved.q, &saved.k, &saved.v, &grad].map(|t| cpu::dense(t.clone()));
        let [queries, width] = cpu::dims2(&q);
        let [keys, kv_width] = cpu::dims2(&k);
        let inputs = cpu_body::Inputs {
            q: cpu::slice(&q),
            k: cpu::slice(&k),
            v: cpu::slice(&v),
            out: cpu::slice(&saved.out),
            log_sums: cpu::slice(&saved.log_sums),
            grad: cpu::slice(&grad),
        };
        let sizes = cpu_body::Sizes::new(width, kv_width, saved.scores);
        let [dq, dk, dv] = clock::measure(Work::Attention, || {
            cpu_body::backward(&inputs, sizes, &saved.spans)
        });
        [
            cpu::tensor(dq, &[queries, width]),
            cpu::tensor(dk, &[keys, kv_width]),
            cpu::tensor(dv, &[keys, kv_width]),
        ]
    }
}

impl<B: AttentionBackward, C: CheckpointStrategy> Attention for Autodiff<B, C> {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scores: Scores,
        spans: Arc<Spans>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct Attend;

        impl<B: AttentionBackward> Backward<B, 3> for Attend {
            type State = Saved<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let grad = grads.consume::<B>(&ops.node);
                let inputs = B::attention_backward(ops.state, grad);
                for (node, grad) in ops.parents.into_iter().zip(inputs) {
                    if let Some(node) = node {
                        grads.register::<B>(node.id, grad);
                    }
                }
            }
        }

        let nodes = [q.node(), k.node(), v.node()];
        let [q, k, v] = [q, k, v].map(|t| t.into_primitive());
        let kind = Attend.prepare::<C>(nodes).compute_bound().stateful();
        let (out, log_sums) =
            <B as Attention>::attention(q.clone(), k.clone(), v.clone(), scores, spans.clone());
        let sums = Self::from_inner(log_sums.clone());
        let out = match kind {
            OpsKind::Tracked(prep) => {
                let saved = Saved {
                    q,
                    k,
                    v,
                    out: out.clone(),
                    log_sums,
                    scores,
                    spans,
                };
                prep.finish(saved, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        (out, sums)
    }
}
