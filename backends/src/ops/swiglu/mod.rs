//! SwiGLU's elementwise half: `silu(gate) * up` (Shazeer 2020, equation 6).

#[cfg(feature = "cube")]
mod cube;

use super::fused;
use crate::clock::{self, Work};
use crate::{cpu, simd};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, activation};
use rayon::prelude::*;

/// `silu(gate) * up`, all `[n, width]`.
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    if !fused(&gate) {
        return reference(gate, up);
    }
    Tensor::from_dispatch(<Dispatch as SwiGlu>::swiglu(
        gate.into_dispatch(),
        up.into_dispatch(),
    ))
}

/// The same in plain tensor ops.
pub fn reference(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    activation::silu(gate) * up
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub trait SwiGlu: Backend {
    /// See [`swiglu`].
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The op's gradients, for a backend that has the op.
pub trait SwiGluBackward: SwiGlu {
    /// `(d gate, d up)` for the gradient of the output.
    fn swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Elements a task takes.
const TASK: usize = 32_768;

impl SwiGlu for Flex {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        clock::measure(Work::Elementwise, || {
            let (gate, up) = (cpu::dense(gate), cpu::dense(up));
            let shape = cpu::dims2(&gate);
            let mut out = vec![0.0f32; shape[0] * shape[1]];
            out.par_chunks_mut(TASK)
                .zip(cpu::slice(&gate).par_chunks(TASK))
                .zip(cpu::slice(&up).par_chunks(TASK))
                .for_each(|((out, gate), up)| {
                    simd::vectorize(|| {
                        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                            *out = gate * simd::sigmoid(*gate) * up;
                        }
                    });
                });
            cpu::tensor(out, &shape)
        })
    }
}

impl SwiGluBackward for Flex {
    /// With `s = sigmoid(gate)`: `d up = grad gate s`, `d gate = grad up s (1 + gate (1 - s))`.
    fn swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        clock::measure(Work::Elementwise, || {
            let (gate, up, grad) = (cpu::dense(gate), cpu::dense(up), cpu::dense(grad));
            let shape = cpu::dims2(&gate);
            let mut d_gate = vec![0.0f32; shape[0] * shape[1]];
            let mut d_up = vec![0.0f32; shape[0] * shape[1]];
            d_gate
                .par_chunks_mut(TASK)
                .zip(d_up.par_chunks_mut(TASK))
                .zip(cpu::slice(&gate).par_chunks(TASK))
                .zip(cpu::slice(&up).par_chunks(TASK))
                .zip(cpu::slice(&grad).par_chunks(TASK))
                .for_each(|((((d_gate, d_up), gate), up), grad)| {
                    simd::vectorize(|| {
                        for i in 0..gate.len() {
                            let s = simd::sigmoid(gate[i]);
                            d_up[i] = grad[i] * gate[i] * s;
                            d_gate[i] = grad[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
                        }
                    });
                });
            (cpu::tensor(d_gate, &shape), cpu::tensor(d_up, &shape))
        })
    }
}

impl<B: SwiGluBackward, C: CheckpointStrategy> SwiGlu for Autodiff<B, C> {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Gate;

        impl<B: SwiGluBackward> Backward<B, 2> for Gate {
            type State = (FloatTensor<B>, FloatTensor<B>);

            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (gate, up) = ops.state;
                let grad = grads.consume::<B>(&ops.node);
                let (d_gate, d_up) = B::swiglu_backward(gate, up, grad);
                let [gate_node, up_node] = ops.parents;
                if let Some(node) = gate_node {
                    grads.register::<B>(node.id, d_gate);
                }
                if let Some(node) = up_node {
                    grads.register::<B>(node.id, d_up);
                }
            }
        }

        let nodes = [gate.node(), up.node()];
        let (gate, up) = (gate.into_primitive(), up.into_primitive());
        match Gate.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let out = B::swiglu(gate.clone(), up.clone());
                prep.finish((gate, up), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::swiglu(gate, up)),
        }
    }
}
