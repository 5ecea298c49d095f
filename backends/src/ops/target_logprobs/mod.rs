//! Log-probs of given next tokens, without ever holding the logits of the whole vocabulary.
//!
//! `log p(t) = h w_t - log sum_v e^(h w_v)`. The vocabulary is walked in chunks, forward with a running
//! maximum and sum (Milakov and Gimelshein 2018), backward by making each chunk's logits again: three
//! products of `[targets, hidden, vocab]` in all, and `[targets, CHUNK]` of memory.

#[cfg(feature = "cube")]
mod cube;

use super::fused;
use super::linear::{Operands, Product, dots};
use crate::clock::{self, Work};
use crate::cpu::{self, Write};
use crate::simd;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor, TensorData, activation};
use rayon::prelude::*;
use std::sync::Arc;

/// What is known about each target; only `logps` carries a gradient.
pub struct TargetLogprobs {
    /// Log-probability of the target, `[targets]`.
    pub logps: Tensor<1>,
    /// `[targets, 3]`: entropy of the prediction, mean of the logits, and 1 where the target is the most
    /// likely token.
    pub notes: Tensor<2>,
}

/// Log-probs of `targets` (ids below `vocab`) under `softmax(hidden weight^T)`, for `hidden
/// [targets, width]` and `weight [vocab, width]`, which are multiplied as `operands` says. With a soft cap `c` a logit `l`
/// counts as `c tanh(l / c)` (Gemma 2).
pub fn target_logprobs(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Arc<Vec<u32>>,
    operands: Operands,
    softcap: Option<f32>,
) -> TargetLogprobs {
    if !fused(&hidden) {
        return in_chunks(hidden, weight, &targets, softcap);
    }
    let (logps, notes, _) = <Dispatch as TargetLogprobsOp>::target_logprobs(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        targets,
        operands,
        softcap,
    );
    TargetLogprobs {
        logps: Tensor::from_dispatch(logps),
        notes: Tensor::from_dispatch(notes),
    }
}

/// The reference over so many targets at once that their logits stay within [`LOGITS`].
fn in_chunks(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: &[u32],
    softcap: Option<f32>,
) -> TargetLogprobs {
    let rows = (LOGITS / weight.dims()[0].max(1)).max(1);
    let parts = targets.chunks(rows).enumerate().map(|(i, targets)| {
        let at = i * rows..i * rows + targets.len();
        let hidden = hidden.clone().slice([at]);
        reference(hidden, weight.clone(), Arc::new(targets.to_vec()), softcap)
    });
    let (logps, notes) = parts.map(|part| (part.logps, part.notes)).unzip();
    TargetLogprobs {
        logps: Tensor::cat(logps, 0),
        notes: Tensor::cat(notes, 0),
    }
}

/// Logits in one buffer, 64 MiB of them: WebGPU promises 128 MiB to a buffer.
const LOGITS: usize = 1 << 24;

/// The same in plain tensor ops; holds `[targets, vocab]`.
pub fn reference(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Arc<Vec<u32>>,
    softcap: Option<f32>,
) -> TargetLogprobs {
    let device = hidden.device();
    let count = targets.len();
    let ids: Vec<i32> = targets.iter().map(|&id| id as i32).collect();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), &device);
    let ids = ids.reshape([count, 1]);
    let logits = hidden.matmul(weight.transpose());
    let logits = match softcap {
        Some(cap) => (logits / cap).tanh() * cap,
        None => logits,
    };
    let all = activation::log_softmax(logits.clone(), 1);
    let (inner, logits) = (all.clone().detach(), logits.detach());
    let entropy = -(inner.clone().exp() * inner).sum_dim(1);
    let mean = logits.clone().mean_dim(1);
    let target = logits.clone().gather(1, ids.clone());
    let top1 = target.greater_equal(logits.max_dim(1)).float();
    TargetLogprobs {
        logps: all.gather(1, ids).reshape([count]),
        notes: Tensor::cat(vec![entropy, mean, top1], 1),
    }
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub trait TargetLogprobsOp: Backend {
    /// `(logps [targets], notes [targets, 3], log-sums [targets])`, see [`target_logprobs`]; a log-sum is `log sum_v e^l_v`.
    fn target_logprobs(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: Arc<Vec<u32>>,
        operands: Operands,
        softcap: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// The op's gradients, for a backend that has the op.
pub trait TargetLogprobsBackward: TargetLogprobsOp {
    /// `(d hidden, d weight)`; the weight's only where `weight_tracked`.
    fn target_logprobs_backward(
        saved: &Saved<Self>,
        grad: FloatTensor<Self>,
        weight_tracked: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

/// What the backward pass needs.
#[derive(Debug)]
pub struct Saved<B: Backend> {
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: Arc<Vec<u32>>,
    log_sums: FloatTensor<B>,
    operands: Operands,
    softcap: Option<f32>,
}

impl<B: Backend> Clone for Saved<B> {
    fn clone(&self) -> Self {
        Self {
            hidden: self.hidden.clone(),
            weight: self.weight.clone(),
            targets: self.targets.clone(),
            log_sums: self.log_sums.clone(),
            operands: self.operands,
            softcap: self.softcap,
        }
    }
}

/// Vocabulary entries whose logits exist at one time.
pub const CHUNK: usize = 4096;

/// The running softmax of one target.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    /// Sum of `e^(l - max)`.
    sum: f32,
    /// Sum of `l e^(l - max)`, for the entropy.
    weighted: f32,
    logits: f32,
    target: f32,
}

impl Running {
    const START: Self = Self {
        max: f32::NEG_INFINITY,
        sum: 0.0,
        weighted: 0.0,
        logits: 0.0,
        target: 0.0,
    };

    /// Takes in one chunk of logits, whose first entry is token `first`. The chunk is overwritten.
    #[inline(always)]
    fn take(&mut self, chunk: &mut [f32], first: usize, target: usize) {
        if (first..first + chunk.len()).contains(&target) {
            self.target = chunk[target - first];
        }
        self.logits += simd::sum(chunk);
        let max = simd::max(chunk).max(self.max);
        let kept = simd::exp(self.max - max);
        // l e^(l - max) = (l - max) e^(l - max) + max e^(l - max): one pass for both sums.
        let (mut sum, mut weighted) = ([0.0f32; 16], [0.0f32; 16]);
        let (lanes, rest) = chunk.as_chunks::<16>();
        for l in lanes {
            for i in 0..16 {
                let e = simd::exp(l[i] - max);
                sum[i] += e;
                weighted[i] += e * l[i];
            }
        }
        for (i, l) in rest.iter().enumerate() {
            let e = simd::exp(l - max);
            sum[i] += e;
            weighted[i] += e * l;
        }
        self.sum = self.sum * kept + simd::sum(&sum);
        self.weighted = self.weighted * kept + simd::sum(&weighted);
        self.max = max;
    }

    fn log_sum(&self) -> f32 {
        self.max + self.sum.ln()
    }
}

impl TargetLogprobsOp for Flex {
    fn target_logprobs(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: Arc<Vec<u32>>,
        operands: Operands,
        softcap: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        clock::measure(Work::Head, || {
            let (hidden, weight) = (operand(hidden, operands), kept(weight, operands));
            let [rows, width] = cpu::dims2(&hidden);
            let vocab = cpu::dims2(&weight)[0];
            let mut running = vec![Running::START; rows];
            let mut logits = vec![0.0f32; rows * CHUNK.min(vocab)];
            for first in (0..vocab).step_by(CHUNK) {
                let size = CHUNK.min(vocab - first);
                chunk_logits(&mut logits, &hidden, &weight, first, size);
                running
                    .par_iter_mut()
                    .zip(logits.par_chunks_mut(size))
                    .zip(targets.par_iter())
                    .for_each(|((running, logits), &target)| {
                        simd::vectorize(|| {
                            if let Some(cap) = softcap {
                                simd::softcap(logits, cap);
                            }
                            running.take(logits, first, target as usize);
                        });
                    });
            }
            debug_assert_eq!(width, cpu::dims2(&weight)[1]);
            let logps = running.iter().map(|r| r.target - r.log_sum()).collect();
            let notes = running
                .iter()
                .flat_map(|r| {
                    let top1 = if r.target >= r.max { 1.0 } else { 0.0 };
                    [
                        r.log_sum() - r.weighted / r.sum,
                        r.logits / vocab as f32,
                        top1,
                    ]
                })
                .collect();
            let log_sums = running.iter().map(Running::log_sum).collect();
            (
                cpu::tensor(logps, &[rows]),
                cpu::tensor(notes, &[rows, 3]),
                cpu::tensor(log_sums, &[rows]),
            )
        })
    }
}

fn operand(x: FlexTensor, operands: Operands) -> FlexTensor {
    cpu::dense(Flex::operand(x, operands).values)
}

fn kept(weight: FlexTensor, operands: Operands) -> FlexTensor {
    cpu::dense(Flex::weight(weight, operands).values)
}

/// `logits[row][i] = hidden[row] . weight[first + i]`, rows `size` apart.
fn chunk_logits(
    logits: &mut [f32],
    hidden: &FlexTensor,
    weight: &FlexTensor,
    first: usize,
    size: usize,
) {
    let [rows, width] = cpu::dims2(hidden);
    let weight = &cpu::slice(weight)[first * width..(first + size) * width];
    dots(
        cpu::slice(hidden),
        weight,
        width,
        &mut logits[..rows * size],
    );
}

impl TargetLogprobsBackward for Flex {
    /// With `p` the softmax and `g` the gradient: `d logit_v = g ([v = target] - p_v)`.
    fn target_logprobs_backward(
        saved: &Saved<Self>,
        grad: FloatTensor<Self>,
        weight_tracked: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        clock::measure(Work::Head, || {
            let operands = saved.operands;
            let hidden = &operand(saved.hidden.clone(), operands);
            let weight = &kept(saved.weight.clone(), operands);
            let [rows, width] = cpu::dims2(hidden);
            let vocab = cpu::dims2(weight)[0];
            let grad = cpu::dense(grad);
            let (grads, log_sums) = (cpu::slice(&grad), cpu::slice(&saved.log_sums));
            let mut d_hidden = vec![0.0f32; rows * width];
            let mut d_weight = weight_tracked.then(|| vec![0.0f32; vocab * width]);
            let mut logits = vec![0.0f32; rows * CHUNK.min(vocab)];
            for first in (0..vocab).step_by(CHUNK) {
                let size = CHUNK.min(vocab - first);
                chunk_logits(&mut logits, hidden, weight, first, size);
                logits[..rows * size]
                    .par_chunks_mut(size)
                    .enumerate()
                    .for_each(|(row, logits)| {
                        let (g, log_sum) = (grads[row], log_sums[row]);
                        let target = saved.targets[row] as usize;
                        let target = (first..first + size)
                            .contains(&target)
                            .then(|| target - first);
                        match saved.softcap {
                            None => {
                                simd::vectorize(|| {
                                    for l in logits.iter_mut() {
                                        *l = -g * simd::exp(*l - log_sum);
                                    }
                                });
                                if let Some(at) = target {
                                    logits[at] += g;
                                }
                            }
                            Some(cap) => {
                                let slope = |l: f32| 1.0 - simd::tanh(l / cap).powi(2);
                                let of_target = target.map(|at| g * slope(logits[at]));
                                simd::vectorize(|| {
                                    for l in logits.iter_mut() {
                                        let t = simd::tanh(*l / cap);
                                        let p = simd::exp(cap * t - log_sum);
                                        *l = -g * p * (1.0 - t * t);
                                    }
                                });
                                if let (Some(at), Some(more)) = (target, of_target) {
                                    logits[at] += more;
                                }
                            }
                        }
                    });
                if operands != Operands::F32 {
                    let chunk = cpu::tensor(logits[..rows * size].to_vec(), &[rows, size]);
                    let chunk = operand(chunk, operands);
                    logits[..rows * size].copy_from_slice(cpu::slice(&chunk));
                }
                cpu::gemm(
                    [rows, width, size],
                    (&mut d_hidden, width, 1),
                    (&logits, size, 1),
                    (&cpu::slice(weight)[first * width..], width, 1),
                    Write::AddParallel,
                );
                if let Some(d_weight) = &mut d_weight {
                    cpu::gemm(
                        [size, width, rows],
                        (&mut d_weight[first * width..], width, 1),
                        (&logits, 1, size),
                        (cpu::slice(hidden), width, 1),
                        Write::OverParallel,
                    );
                }
            }
            (
                cpu::tensor(d_hidden, &[rows, width]),
                d_weight.map(|d| cpu::tensor(d, &[vocab, width])),
            )
        })
    }
}

impl<B: TargetLogprobsBackward, C: CheckpointStrategy> TargetLogprobsOp for Autodiff<B, C> {
    fn target_logprobs(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: Arc<Vec<u32>>,
        operands: Operands,
        softcap: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct Score;

        impl<B: TargetLogprobsBackward> Backward<B, 2> for Score {
            type State = Saved<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let grad = grads.consume::<B>(&ops.node);
                let [hidden_node, weight_node] = ops.parents;
                let (d_hidden, d_weight) =
                    B::target_logprobs_backward(&ops.state, grad, weight_node.is_some());
                if let Some(node) = hidden_node {
                    grads.register::<B>(node.id, d_hidden);
                }
                if let (Some(node), Some(d_weight)) = (weight_node, d_weight) {
                    grads.register::<B>(node.id, d_weight);
                }
            }
        }

        let nodes = [hidden.node(), weight.node()];
        let (hidden, weight) = (hidden.into_primitive(), weight.into_primitive());
        let kind = Score.prepare::<C>(nodes).compute_bound().stateful();
        let (logps, notes, log_sums) = B::target_logprobs(
            hidden.clone(),
            weight.clone(),
            targets.clone(),
            operands,
            softcap,
        );
        let beside = [&notes, &log_sums].map(|t| Self::from_inner(t.clone()));
        let logps = match kind {
            OpsKind::Tracked(prep) => {
                let saved = Saved {
                    hidden,
                    weight,
                    targets,
                    log_sums,
                    operands,
                    softcap,
                };
                prep.finish(saved, logps)
            }
            OpsKind::UnTracked(prep) => prep.finish(logps),
        };
        let [notes, log_sums] = beside;
        (logps, notes, log_sums)
    }
}
