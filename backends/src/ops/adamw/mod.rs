//! One AdamW update (Loshchilov and Hutter 2019, algorithm 2), in place where nobody else holds the
//! tensors, and the squared norm that gradient clipping needs.

#[cfg(feature = "cube")]
pub(super) mod cube;

use super::fused;
use crate::clock::{self, Work};
use crate::{cpu, simd};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// The numbers of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this update, from 1: for the bias correction.
    pub step: usize,
    /// What the gradient is multiplied with first (normalisation and clipping in one).
    pub grad_scale: f64,
}

impl AdamW {
    /// `(lr / (1 - beta1^t), sqrt(1 - beta2^t))`.
    fn corrections(&self) -> (f64, f64) {
        let step = i32::try_from(self.step).unwrap_or(i32::MAX);
        let first = 1.0 - self.beta1.powi(step);
        let second = 1.0 - self.beta2.powi(step);
        (self.lr / first, second.sqrt())
    }
}

/// An update's numbers in f32, made once for all elements.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub beta1: f32,
    pub beta2: f32,
    pub rest1: f32,
    pub rest2: f32,
    pub eps: f32,
    pub rate: f32,
    pub inverse_root: f32,
    pub keep: f32,
    pub grad_scale: f32,
}

impl From<AdamW> for Numbers {
    fn from(how: AdamW) -> Self {
        let (rate, root) = how.corrections();
        Self {
            beta1: how.beta1 as f32,
            beta2: how.beta2 as f32,
            rest1: (1.0 - how.beta1) as f32,
            rest2: (1.0 - how.beta2) as f32,
            eps: how.eps as f32,
            rate: rate as f32,
            inverse_root: (1.0 / root) as f32,
            keep: (1.0 - how.lr * how.weight_decay) as f32,
            grad_scale: how.grad_scale as f32,
        }
    }
}

/// `(parameter, first moment, second moment)` after the update; all of one shape.
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    first: Tensor<D>,
    second: Tensor<D>,
    how: AdamW,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    if !fused(&param) {
        return reference(param, grad, first, second, how);
    }
    let (param, first, second) = <Dispatch as AdamWOp>::adamw(
        param.into_dispatch(),
        grad.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        how,
    );
    (
        Tensor::from_dispatch(param),
        Tensor::from_dispatch(first),
        Tensor::from_dispatch(second),
    )
}

/// The same in plain tensor ops.
pub fn reference<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    first: Tensor<D>,
    second: Tensor<D>,
    how: AdamW,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (rate, root) = how.corrections();
    let grad = grad * how.grad_scale;
    let first = first * how.beta1 + grad.clone() * (1.0 - how.beta1);
    let second = second * how.beta2 + grad.powi_scalar(2) * (1.0 - how.beta2);
    let denominator = second.clone().sqrt() / root + how.eps;
    let param = param * (1.0 - how.lr * how.weight_decay) - first.clone() / denominator * rate;
    (param, first, second)
}

/// Sum of squares, `[1]`.
pub fn squared_norm<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    if !fused(&tensor) {
        return tensor.powi_scalar(2).sum();
    }
    Tensor::from_dispatch(<Dispatch as AdamWOp>::squared_norm(tensor.into_dispatch()))
}

/// The ops on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"))]
pub trait AdamWOp: Backend {
    /// See [`adamw`].
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        how: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`squared_norm`].
    fn squared_norm(tensor: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Elements a task takes.
const TASK: usize = 65_536;

impl AdamWOp for Flex {
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        how: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        clock::measure(Work::Optimiser, || {
            let grad = cpu::dense(grad);
            let (mut param, mut first, mut second) =
                (cpu::owned(param), cpu::owned(first), cpu::owned(second));
            let how = Numbers::from(how);
            cpu::slice_mut(&mut param)
                .par_chunks_mut(TASK)
                .zip(cpu::slice_mut(&mut first).par_chunks_mut(TASK))
                .zip(cpu::slice_mut(&mut second).par_chunks_mut(TASK))
                .zip(cpu::slice(&grad).par_chunks(TASK))
                .for_each(|(((param, first), second), grad)| {
                    simd::vectorize(|| {
                        for i in 0..param.len() {
                            let g = grad[i] * how.grad_scale;
                            first[i] = first[i] * how.beta1 + g * how.rest1;
                            second[i] = second[i] * how.beta2 + g * g * how.rest2;
                            let denominator = second[i].sqrt() * how.inverse_root + how.eps;
                            param[i] = param[i] * how.keep - first[i] / denominator * how.rate;
                        }
                    });
                });
            (param, first, second)
        })
    }

    /// Partial sums of fixed pieces are added in order: the same bits for any thread count.
    fn squared_norm(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        clock::measure(Work::Optimiser, || {
            let tensor = cpu::dense(tensor);
            let parts: Vec<f64> = cpu::slice(&tensor)
                .par_chunks(TASK)
                .map(|part| simd::vectorize(|| f64::from(simd::dot(part, part))))
                .collect();
            cpu::tensor(vec![parts.iter().sum::<f64>() as f32], &[1])
        })
    }
}
