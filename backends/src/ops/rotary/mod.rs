//! Rotary position embedding in Hugging Face's half-split form: in each head of width `d`, element `i`
//! turns with element `i + d/2` (Su et al. 2021, equation 34, with the pairs laid out as Llama's weights
//! have them).

#[cfg(feature = "cube")]
mod cube;

use super::fused;
use crate::clock::{self, Work};
use crate::{cpu, simd};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Turns every head of `x [n, heads * d]` by the angles whose cosines and sines are `cos`, `sin`
/// `[n, d / 2]`. The angles take no gradient.
pub fn rotary(x: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<2> {
    if !fused(&x) {
        return reference(x, cos, sin);
    }
    Tensor::from_dispatch(<Dispatch as Rotary>::rotary(
        x.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
        false,
    ))
}

/// The same in plain tensor ops.
pub fn reference(x: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<2> {
    let [n, width] = x.dims();
    let half = cos.dims()[1];
    let heads = width / (2 * half);
    let x = x.reshape([n, heads, 2, half]);
    let first = x.clone().narrow(2, 0, 1);
    let second = x.narrow(2, 1, 1);
    let cos = cos.reshape([n, 1, 1, half]);
    let sin = sin.reshape([n, 1, 1, half]);
    let turned_first = first.clone() * cos.clone() - second.clone() * sin.clone();
    let turned_second = second * cos + first * sin;
    Tensor::cat(vec![turned_first, turned_second], 2).reshape([n, width])
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub trait Rotary: Backend {
    /// See [`rotary`]; `back` turns the other way, which is the gradient of turning.
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self>;
}

impl Rotary for Flex {
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self> {
        clock::measure(Work::Elementwise, || {
            let (x, cos, sin) = (cpu::dense(x), cpu::dense(cos), cpu::dense(sin));
            let [rows, width] = cpu::dims2(&x);
            let half = cpu::dims2(&cos)[1];
            let mut out = vec![0.0f32; rows * width];
            let task = cpu::rows_per_task(rows, width);
            out.par_chunks_mut(task * width)
                .zip(cpu::slice(&x).par_chunks(task * width))
                .zip(cpu::slice(&cos).par_chunks(task * half))
                .zip(cpu::slice(&sin).par_chunks(task * half))
                .for_each(|(((out, x), cos), sin)| {
                    simd::vectorize(|| turn_rows(out, x, cos, sin, width, half, back));
                });
            cpu::tensor(out, &[rows, width])
        })
    }
}

#[inline(always)]
fn turn_rows(
    out: &mut [f32],
    x: &[f32],
    cos: &[f32],
    sin: &[f32],
    width: usize,
    half: usize,
    back: bool,
) {
    let sign = if back { -1.0 } else { 1.0 };
    let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
    let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
    for ((out, x), (cos, sin)) in rows.zip(angles) {
        let heads = out.chunks_exact_mut(2 * half).zip(x.chunks_exact(2 * half));
        for (out, x) in heads {
            let (out_first, out_second) = out.split_at_mut(half);
            let (first, second) = x.split_at(half);
            for i in 0..half {
                let s = sign * sin[i];
                out_first[i] = first[i] * cos[i] - second[i] * s;
                out_second[i] = second[i] * cos[i] + first[i] * s;
            }
        }
    }
}

impl<B: Rotary, C: CheckpointStrategy> Rotary for Autodiff<B, C> {
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Turn;

        impl<B: Rotary> Backward<B, 1> for Turn {
            type State = (FloatTensor<B>, FloatTensor<B>, bool);

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (cos, sin, back) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    B::rotary(grad, cos, sin, !back)
                });
            }
        }

        let nodes = [x.node()];
        let (x, cos, sin) = (
            x.into_primitive(),
            cos.into_primitive(),
            sin.into_primitive(),
        );
        match Turn.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let out = B::rotary(x, cos.clone(), sin.clone(), back);
                prep.finish((cos, sin, back), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::rotary(x, cos, sin, back)),
        }
    }
}
