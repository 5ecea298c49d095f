//! `y = x W^T`, with the weight as Hugging Face stores it, `[out, in]`.
//!
//! Its own backward pass makes the weight gradient in the weight's own layout (so that the optimiser reads
//! it without a copy) and only where the weight is trained: a frozen weight costs no gradient product.

#[cfg(feature = "cube")]
mod cube;
mod dots;

pub(super) use dots::{dots, tile};

use crate::clock::{self, Work};
use crate::cpu::{self, Write};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, binary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

/// `d x = g W` for `g [rows, outs]` and `weight [outs, width]`, written into `out [rows, width]`.
pub(super) fn input_gradient(
    g: &[f32],
    weight: &[f32],
    out: &mut [f32],
    [rows, outs, width]: [usize; 3],
) {
    cpu::gemm(
        [rows, width, outs],
        (out, width, 1),
        (g, outs, 1),
        (weight, width, 1),
        Write::OverParallel,
    );
}

/// `d W = g^T x` for `g [rows, outs]` and `x [rows, width]`, written into `out [outs, width]`.
pub(super) fn weight_gradient(
    g: &[f32],
    x: &[f32],
    out: &mut [f32],
    [rows, outs, width]: [usize; 3],
) {
    cpu::gemm(
        [outs, width, rows],
        (out, width, 1),
        (g, 1, outs),
        (x, width, 1),
        Write::OverParallel,
    );
}

/// `x W^T` for `x [n, in]` and `weight [out, in]`: `[n, out]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    if !super::fused(&x) {
        return reference(x, weight);
    }
    Tensor::from_dispatch(<Dispatch as Linear>::linear(
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
}

/// The same in plain tensor ops.
pub fn reference(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    x.matmul(weight.transpose())
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub trait Linear: Backend {
    /// See [`linear`].
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(x, Self::float_transpose(weight))
    }
}

impl Linear for Flex {
    /// By dot products for any number of rows: as fast as a packed product (`cargo bench`), and a row's result does not
    /// depend on the rows beside it.
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, weight) = (cpu::dense(x), cpu::dense(weight));
        let ([rows, own], [outs, width]) = (cpu::dims2(&x), cpu::dims2(&weight));
        assert_eq!(own, width, "x [n, in] and weight [out, in] share `in`");
        let mut out = vec![0.0; rows * outs];
        clock::measure(Work::Matmul, || {
            dots(cpu::slice(&x), cpu::slice(&weight), width, &mut out);
        });
        cpu::tensor(out, &[rows, outs])
    }
}

impl<B: Linear, C: CheckpointStrategy> Linear for Autodiff<B, C> {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LinearBackward;

        impl<B: Backend> Backward<B, 2> for LinearBackward {
            type State = (Option<FloatTensor<B>>, Option<FloatTensor<B>>);

            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (x, weight) = ops.state;
                binary::<B, _, _>(
                    ops.parents,
                    ops.node,
                    grads,
                    |grad| {
                        let weight = weight.expect("kept, as x is tracked");
                        clock::measure(Work::Matmul, || B::float_matmul(grad, weight))
                    },
                    |grad| {
                        let x = x.expect("kept, as the weight is tracked");
                        let grad = B::float_transpose(grad);
                        clock::measure(Work::Matmul, || B::float_matmul(grad, x))
                    },
                );
            }
        }

        let (x_tracked, weight_tracked) = (x.is_tracked(), weight.is_tracked());
        let nodes = [x.node(), weight.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match LinearBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let state = (
                    weight_tracked.then(|| x.clone()),
                    x_tracked.then(|| weight.clone()),
                );
                prep.finish(state, <B as Linear>::linear(x, weight))
            }
            OpsKind::UnTracked(prep) => prep.finish(<B as Linear>::linear(x, weight)),
        }
    }
}
