//! A linear layer with a low-rank adapter: `y = x W^T + s (x A^T) B^T` (Hu et al. 2021, equation 3).
//!
//! One op, because its parts share their buffers: the adapter's product is added onto the output of the frozen
//! weight, and its gradient onto the gradient of `x`, without a pass of its own over either. The effective weight
//! `W + s B A` is never made, and a frozen `W` costs no gradient product.

use super::linear::{Operands, dots, input_gradient, linear, weight_gradient};
use crate::clock::{self, Work};
use crate::cpu::{self, Write};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};

/// `x W^T + scale (x A^T) B^T` for `x [n, in]`, `weight [out, in]`, `a [r, in]` and `b [out, r]`: `[n, out]`.
pub fn low_rank(
    x: Tensor<2>,
    weight: Tensor<2>,
    a: Tensor<2>,
    b: Tensor<2>,
    scale: f64,
    operands: Operands,
) -> Tensor<2> {
    if !cpu::serves(&x) || operands != Operands::F32 || weight.dtype() != DType::F32 {
        let y = linear(x.clone(), weight, operands);
        return y + update(x, a, b, scale, operands);
    }
    let (out, _) = <Dispatch as LowRank>::low_rank(
        x.into_dispatch(),
        weight.into_dispatch(),
        a.into_dispatch(),
        b.into_dispatch(),
        scale,
    );
    Tensor::from_dispatch(out)
}

/// The adapter's part alone, to be added to what another layer gives: `scale (x A^T) B^T`.
pub fn update(
    x: Tensor<2>,
    a: Tensor<2>,
    b: Tensor<2>,
    scale: f64,
    operands: Operands,
) -> Tensor<2> {
    linear(linear(x, a, operands), b, operands) * scale
}

/// The same in plain tensor ops.
pub fn reference(
    x: Tensor<2>,
    weight: Tensor<2>,
    a: Tensor<2>,
    b: Tensor<2>,
    scale: f64,
) -> Tensor<2> {
    let narrow = x.clone().matmul(a.transpose());
    x.matmul(weight.transpose()) + narrow.matmul(b.transpose()) * scale
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Autodiff)]
pub trait LowRank: Backend {
    /// `(y [n, out], x A^T [n, r])`, see [`low_rank`].
    fn low_rank(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The op's gradients, for a backend that has the op.
pub trait LowRankBackward: LowRank {
    /// Gradients of `x`, `weight`, `a` and `b`, each only where it is asked for.
    fn low_rank_backward(
        saved: Saved<Self>,
        grad: FloatTensor<Self>,
        wanted: [bool; 4],
    ) -> [Option<FloatTensor<Self>>; 4];
}

/// What the backward pass needs.
#[derive(Debug)]
pub struct Saved<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    narrow: FloatTensor<B>,
    scale: f64,
}

impl<B: Backend> Clone for Saved<B> {
    fn clone(&self) -> Self {
        Self {
            x: self.x.clone(),
            weight: self.weight.clone(),
            a: self.a.clone(),
            b: self.b.clone(),
            narrow: self.narrow.clone(),
            scale: self.scale,
        }
    }
}

impl LowRank for Flex {
    fn low_rank(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x, weight, a, b] = [x, weight, a, b].map(cpu::dense);
        let ([rows, width], [outs, r]) = (cpu::dims2(&x), cpu::dims2(&b));
        let shapes = (cpu::dims2(&weight), cpu::dims2(&a));
        assert_eq!(shapes, ([outs, width], [r, width]), "weight and adapter");
        let mut narrow = vec![0.0; rows * r];
        let mut out = vec![0.0; rows * outs];
        clock::measure(Work::Matmul, || {
            dots(cpu::slice(&x), cpu::slice(&weight), width, &mut out);
            dots(cpu::slice(&x), cpu::slice(&a), width, &mut narrow);
            cpu::gemm(
                [rows, outs, r],
                (&mut out, outs, 1),
                (&scaled(&narrow, scale), r, 1),
                (cpu::slice(&b), 1, r),
                Write::AddParallel,
            );
        });
        (
            cpu::tensor(out, &[rows, outs]),
            cpu::tensor(narrow, &[rows, r]),
        )
    }
}

/// Small matrices of `r` columns: a copy costs nothing beside the products around it.
fn scaled(values: &[f32], by: f64) -> Vec<f32> {
    values.iter().map(|value| value * by as f32).collect()
}

impl LowRankBackward for Flex {
    /// With `h = s g B [n, r]`: `dA = h^T x`, `dB = s g^T (x A^T)`, `dx = g W + h A`.
    fn low_rank_backward(
        saved: Saved<Self>,
        grad: FloatTensor<Self>,
        [of_x, of_weight, of_a, of_b]: [bool; 4],
    ) -> [Option<FloatTensor<Self>>; 4] {
        let grad = cpu::dense(grad);
        let ([rows, width], [outs, r]) = (cpu::dims2(&saved.x), cpu::dims2(&saved.b));
        let [x, weight, a, b] = [&saved.x, &saved.weight, &saved.a, &saved.b].map(cpu::slice);
        let g = cpu::slice(&grad);
        clock::measure(Work::Matmul, || {
            let mut narrow_grad = vec![0.0; rows * r];
            input_gradient(g, b, &mut narrow_grad, [rows, outs, r]);
            let narrow_grad = scaled(&narrow_grad, saved.scale);
            let d_x = of_x.then(|| {
                let mut d_x = vec![0.0; rows * width];
                input_gradient(g, weight, &mut d_x, [rows, outs, width]);
                cpu::gemm(
                    [rows, width, r],
                    (&mut d_x, width, 1),
                    (&narrow_grad, r, 1),
                    (a, width, 1),
                    Write::AddParallel,
                );
                cpu::tensor(d_x, &[rows, width])
            });
            let gradient = |g: &[f32], x: &[f32], [outs, width]: [usize; 2]| {
                let mut out = vec![0.0; outs * width];
                weight_gradient(g, x, &mut out, [rows, outs, width]);
                cpu::tensor(out, &[outs, width])
            };
            let d_weight = of_weight.then(|| gradient(g, x, [outs, width]));
            let d_a = of_a.then(|| gradient(&narrow_grad, x, [r, width]));
            let d_b = of_b.then(|| {
                let narrow = scaled(cpu::slice(&saved.narrow), saved.scale);
                gradient(g, &narrow, [outs, r])
            });
            [d_x, d_weight, d_a, d_b]
        })
    }
}

impl<C: CheckpointStrategy> LowRank for Autodiff<Flex, C> {
    fn low_rank(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct Adapt;

        impl<B: LowRankBackward> Backward<B, 4> for Adapt {
            type State = Saved<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 4>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let grad = grads.consume::<B>(&ops.node);
                let wanted = ops.parents.each_ref().map(Option::is_some);
                let inputs = B::low_rank_backward(ops.state, grad, wanted);
                for (node, grad) in ops.parents.into_iter().zip(inputs) {
                    if let (Some(node), Some(grad)) = (node, grad) {
                        grads.register::<B>(node.id, grad);
                    }
                }
            }
        }

        let nodes = [x.node(), weight.node(), a.node(), b.node()];
        let [x, weight, a, b] = [x, weight, a, b].map(|t| cpu::dense(t.into_primitive()));
        let kind = Adapt.prepare::<C>(nodes).compute_bound().stateful();
        let (out, narrow) =
            <Flex as LowRank>::low_rank(x.clone(), weight.clone(), a.clone(), b.clone(), scale);
        let beside = Self::from_inner(narrow.clone());
        let out = match kind {
            OpsKind::Tracked(prep) => {
                let saved = Saved {
                    x,
                    weight,
                    a,
                    b,
                    narrow,
                    scale,
                };
                prep.finish(saved, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        (out, beside)
    }
}
