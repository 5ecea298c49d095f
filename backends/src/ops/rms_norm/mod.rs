//! RMSNorm: `y = x / sqrt(mean(x^2) + eps) * w` (Zhang and Sennrich 2019, equation 4).

#[cfg(feature = "cube")]
#[allow(clippy::needless_range_loop)] // kernels count places
mod cube;

use super::fused;
use crate::clock::{self, Work};
use crate::cpu::{self, Shared};
use crate::simd;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Normalises each row of `x [n, width]` and scales it by `weight [width]`.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    if !fused(&x) {
        return reference(x, weight, eps);
    }
    Tensor::from_dispatch(<Dispatch as RmsNorm>::rms_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        eps,
    ))
}

/// The same in plain tensor ops.
pub fn reference(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    let scale = (x.clone().powi_scalar(2).mean_dim(1) + eps).sqrt().recip();
    x * scale * weight.unsqueeze()
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub trait RmsNorm: Backend {
    /// See [`rms_norm`].
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;
}

/// The op's gradients, for a backend that has the op.
pub trait RmsNormBackward: RmsNorm {
    /// `(d x, d weight)` for the gradient of the output.
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl RmsNorm for Flex {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        clock::measure(Work::Elementwise, || {
            let (x, weight) = (cpu::dense(x), cpu::dense(weight));
            let [rows, width] = cpu::dims2(&x);
            let mut out = vec![0.0f32; rows * width];
            let task = cpu::rows_per_task(rows, width) * width;
            let w = cpu::slice(&weight);
            out.par_chunks_mut(task)
                .zip(cpu::slice(&x).par_chunks(task))
                .for_each(|(out, x)| {
                    simd::vectorize(|| {
                        for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                            let scale = inverse_rms(x, eps);
                            for i in 0..width {
                                out[i] = x[i] * scale * w[i];
                            }
                        }
                    });
                });
            cpu::tensor(out, &[rows, width])
        })
    }
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f64) -> f32 {
    let mean = simd::dot(x, x) / x.len() as f32;
    1.0 / (mean + eps as f32).sqrt()
}

impl RmsNormBackward for Flex {
    /// With `s = 1 / rms` and `g = grad * w`: `dx = s g - x s^3 mean(g x)`, `dw = sum(grad x s)`.
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        clock::measure(Work::Elementwise, || {
            let (x, weight, grad) = (cpu::dense(x), cpu::dense(weight), cpu::dense(grad));
            let [rows, width] = cpu::dims2(&x);
            let (xs, w, gs) = (cpu::slice(&x), cpu::slice(&weight), cpu::slice(&grad));
            let mut dx = vec![0.0f32; rows * width];
            // Fixed pieces: the same sums for any number of threads.
            let task = (16_384 / width.max(1)).max(1);
            let tasks = rows.div_ceil(task).max(1);
            // One partial sum of dw per task, added in the order of the rows.
            let mut partial = vec![0.0f32; tasks * width];
            let out = Shared(dx.as_mut_ptr());
            partial
                .par_chunks_mut(width)
                .enumerate()
                .for_each(|(t, dw)| {
                    let rows = t * task..((t + 1) * task).min(rows);
                    simd::vectorize(|| {
                        for row in rows {
                            let at = row * width;
                            // SAFETY: each row belongs to one task.
                            let dx = unsafe { out.at(at, width) };
                            backward_row(&xs[at..at + width], w, &gs[at..at + width], eps, dx, dw);
                        }
                    });
                });
            let mut dw = vec![0.0f32; width];
            for part in partial.chunks_exact(width) {
                simd::axpy(&mut dw, 1.0, part);
            }
            (cpu::tensor(dx, &[rows, width]), cpu::tensor(dw, &[width]))
        })
    }
}

#[inline(always)]
fn backward_row(x: &[f32], w: &[f32], grad: &[f32], eps: f64, dx: &mut [f32], dw: &mut [f32]) {
    let scale = inverse_rms(x, eps);
    for i in 0..x.len() {
        dx[i] = grad[i] * w[i];
        dw[i] += grad[i] * x[i] * scale;
    }
    let pull = simd::dot(dx, x) / x.len() as f32 * scale * scale * scale;
    for i in 0..x.len() {
        dx[i] = dx[i] * scale - x[i] * pull;
    }
}

impl<B: RmsNormBackward, C: CheckpointStrategy> RmsNorm for Autodiff<B, C> {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Norm;

        impl<B: RmsNormBackward> Backward<B, 2> for Norm {
            type State = (FloatTensor<B>, FloatTensor<B>, f64);

            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (x, weight, eps) = ops.state;
                let grad = grads.consume::<B>(&ops.node);
                let (dx, dw) = B::rms_norm_backward(x, weight, eps, grad);
                let [x_node, weight_node] = ops.parents;
                if let Some(node) = x_node {
                    grads.register::<B>(node.id, dx);
                }
                if let Some(node) = weight_node {
                    grads.register::<B>(node.id, dw);
                }
            }
        }

        let nodes = [x.node(), weight.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match Norm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let out = B::rms_norm(x.clone(), weight.clone(), eps);
                prep.finish((x, weight, eps), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::rms_norm(x, weight, eps)),
        }
    }
}
