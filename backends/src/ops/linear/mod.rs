//! `y = x W^T`, with the weight as Hugging Face stores it, `[out, in]`.
//!
//! Its own backward pass makes the weight gradient in the weight's own layout (so that the optimiser reads
//! it without a copy) and only where the weight is trained: a frozen weight costs no gradient product.

#[cfg(feature = "cube")]
#[allow(clippy::needless_range_loop)] // kernels count places
mod cube;
mod dots;
mod product;

pub(super) use dots::{dots, tile};
#[cfg(feature = "cube")]
pub(super) use product::Operand;
pub use product::Operands;
pub(super) use product::Product;

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

/// `x W^T` for `x [n, in]` and `weight [out, in]`, read as `operands` says: `[n, out]`, in f32. A weight that is not trained
/// may be kept in the operands' format.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, operands: Operands) -> Tensor<2> {
    if !super::fused(&x) {
        return reference(x, weight);
    }
    Tensor::from_dispatch(<Dispatch as Linear>::linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        operands,
    ))
}

/// The same in plain tensor ops, for operands as they are.
pub fn reference(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    x.matmul(weight.transpose())
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub trait Linear: Backend {
    /// See [`linear`].
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        operands: Operands,
    ) -> FloatTensor<Self>;
}

impl Linear for Flex {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        operands: Operands,
    ) -> FloatTensor<Self> {
        forward::<Self>(x, weight, operands)
    }
}

/// `x W^T`.
pub(super) fn forward<B: Product>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    operands: Operands,
) -> FloatTensor<B> {
    B::product_of_rows(B::operand(x, operands), B::weight(weight, operands))
}

/// What the backward pass needs: the layer's input where the weight is trained, the weight where the input's gradient is
/// wanted. They are kept as they came, not as they were read: layers share them, and the optimiser holds the weight.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    x: Option<FloatTensor<B>>,
    weight: Option<FloatTensor<B>>,
    operands: Operands,
}

impl<B: Linear + Product, C: CheckpointStrategy> Linear for Autodiff<B, C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        operands: Operands,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LinearBackward;

        impl<B: Product> Backward<B, 2> for LinearBackward {
            type State = Saved<B>;

            /// `dx = g W`, `dW = g^T x`.
            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let Saved {
                    x,
                    weight,
                    operands,
                } = ops.state;
                binary::<B, _, _>(
                    ops.parents,
                    ops.node,
                    grads,
                    |grad| {
                        let weight = weight.expect("kept, as x is tracked");
                        B::product(B::operand(grad, operands), B::weight(weight, operands))
                    },
                    |grad| {
                        let x = x.expect("kept, as the weight is tracked");
                        let grad = B::operand(grad, operands).transposed();
                        B::product(grad, B::operand(x, operands))
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
                let saved = Saved {
                    x: weight_tracked.then(|| x.clone()),
                    weight: x_tracked.then(|| weight.clone()),
                    operands,
                };
                prep.finish(saved, forward::<B>(x, weight, operands))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward::<B>(x, weight, operands)),
        }
    }
}
