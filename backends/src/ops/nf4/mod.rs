//! Frozen weights in 4 bits (Dettmers et al. 2023, "QLoRA", section 3): each is one of 16 values that cut a normal
//! distribution into equal parts, times the largest of [`GROUP`] weights of one output.
//!
//! A product makes the weight whole for as long as it runs, forward and again backward: nothing between them holds more
//! than the codes.

#[cfg(feature = "cube")]
mod cube;

use super::linear::{Operands, Product};
use crate::clock::{self, Work};
use crate::cpu;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rayon::prelude::*;

/// Inputs of one output that share a scale.
pub const GROUP: usize = 64;

/// Codes in a word, the first in its lowest bits.
const PER_WORD: usize = 8;

/// The 16 values, lowest first (QLoRA, appendix E).
const VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Bytes that a weight takes, its share of a scale included.
pub const BYTES_PER_WEIGHT: f64 = 0.5 + 4.0 / GROUP as f64;

/// A weight `[out, in]` in 4 bits.
#[derive(Debug, Clone)]
pub struct Nf4 {
    /// `[out, in / 8]`, rounded up.
    words: Tensor<2, Int>,
    /// `[out, in / GROUP]`, rounded up.
    scales: Tensor<2>,
    width: usize,
}

impl Nf4 {
    /// Rounds a weight, given row by row, and puts its codes on `device`. The whole weight never gets there.
    ///
    /// # Panics
    /// If there are not `out * in` values, or one is not finite: 16 codes have none for it.
    pub fn new(values: &[f32], [outs, width]: [usize; 2], device: &Device) -> Self {
        assert_eq!(values.len(), outs * width, "a value an input and output");
        assert!(
            values.par_iter().all(|value| value.is_finite()),
            "weights are finite"
        );
        let (words_a_row, scales_a_row) = (width.div_ceil(PER_WORD), width.div_ceil(GROUP));
        let mut words = vec![0i32; outs * words_a_row];
        let mut scales = vec![0.0f32; outs * scales_a_row];
        words
            .par_chunks_mut(words_a_row.max(1))
            .zip(scales.par_chunks_mut(scales_a_row.max(1)))
            .zip(values.par_chunks(width.max(1)))
            .for_each(|((words, scales), row)| encode(row, words, scales));
        Self {
            words: Tensor::from_data(
                TensorData::new(words, [outs, words_a_row]),
                (device, DType::I32),
            ),
            scales: Tensor::from_data(TensorData::new(scales, [outs, scales_a_row]), device),
            width,
        }
    }

    /// `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        [self.words.dims()[0], self.width]
    }

    /// What the codes stand for, `[out, in]` in f32.
    pub fn whole(&self) -> Tensor<2> {
        Tensor::from_dispatch(<Dispatch as Unpack>::unpack(
            self.words.clone().into_dispatch(),
            self.scales.clone().into_dispatch(),
            self.width,
            Operands::F32,
        ))
    }

    /// `x W^T` for `x [n, in]`: `[n, out]`. The weight takes no gradient.
    pub fn linear(&self, x: Tensor<2>, operands: Operands) -> Tensor<2> {
        Tensor::from_dispatch(<Dispatch as Nf4Linear>::nf4_linear(
            x.into_dispatch(),
            self.words.clone().into_dispatch(),
            self.scales.clone().into_dispatch(),
            self.width,
            operands,
        ))
    }
}

/// The nearest of the 16 values to each weight over the largest of its group.
fn encode(row: &[f32], words: &mut [i32], scales: &mut [f32]) {
    for (group, (weights, scale)) in row.chunks(GROUP).zip(scales).enumerate() {
        *scale = weights
            .iter()
            .fold(0.0, |max, weight| max.max(weight.abs()));
        let largest = if *scale > 0.0 { *scale } else { 1.0 };
        for (i, weight) in weights.iter().enumerate() {
            let at = group * GROUP + i;
            words[at / PER_WORD] |= i32::from(nearest(weight / largest)) << (4 * (at % PER_WORD));
        }
    }
}

/// The code whose value is the nearest; of two equally near ones the lower.
fn nearest(value: f32) -> u8 {
    let above = |pair: &[f32]| value > (pair[0] + pair[1]) / 2.0;
    VALUES.windows(2).filter(|pair| above(pair)).count() as u8
}

/// The whole weight from its codes.
#[backend_extension(Flex, Cube: cfg(feature = "cube"))]
pub trait Unpack: Backend {
    /// `[out, width]` in the operands' format, where the backend has products in it.
    fn unpack(
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        width: usize,
        operands: Operands,
    ) -> FloatTensor<Self>;
}

impl Unpack for Flex {
    fn unpack(
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        width: usize,
        _operands: Operands,
    ) -> FloatTensor<Self> {
        clock::measure(Work::Elementwise, || {
            let ([outs, words_a_row], [_, scales_a_row]) =
                (cpu::dims2(&words), cpu::dims2(&scales));
            let (words, scales) = (codes(&words), cpu::slice(&scales));
            let mut out = vec![0.0f32; outs * width];
            out.par_chunks_mut(width.max(1))
                .zip(words.par_chunks(words_a_row.max(1)))
                .zip(scales.par_chunks(scales_a_row.max(1)))
                .for_each(|((row, words), scales)| decode(words, scales, row));
            cpu::tensor(out, &[outs, width])
        })
    }
}

fn codes(words: &FlexTensor) -> &[i32] {
    words.as_slice().expect("words are dense and i32")
}

fn decode(words: &[i32], scales: &[f32], row: &mut [f32]) {
    for ((weights, words), scale) in row
        .chunks_mut(GROUP)
        .zip(words.chunks(GROUP / PER_WORD))
        .zip(scales)
    {
        let values = VALUES.map(|value| value * scale);
        for (weights, word) in weights.chunks_mut(PER_WORD).zip(words) {
            for (i, weight) in weights.iter_mut().enumerate() {
                *weight = values[(word >> (4 * i)) as usize & 0xf];
            }
        }
    }
}

/// The product with a weight in 4 bits.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub trait Nf4Linear: Backend {
    /// See [`Nf4::linear`].
    fn nf4_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        width: usize,
        operands: Operands,
    ) -> FloatTensor<Self>;
}

impl Nf4Linear for Flex {
    fn nf4_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        width: usize,
        operands: Operands,
    ) -> FloatTensor<Self> {
        forward::<Self>(x, words, scales, width, operands)
    }
}

fn forward<B: Unpack + Product>(
    x: FloatTensor<B>,
    words: IntTensor<B>,
    scales: FloatTensor<B>,
    width: usize,
    operands: Operands,
) -> FloatTensor<B> {
    let weight = B::unpack(words, scales, width, operands);
    B::product_of_rows(B::operand(x, operands), B::weight(weight, operands))
}

impl<B: Nf4Linear + Unpack + Product, C: CheckpointStrategy> Nf4Linear for Autodiff<B, C> {
    fn nf4_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        width: usize,
        operands: Operands,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Nf4Backward;

        impl<B: Unpack + Product> Backward<B, 1> for Nf4Backward {
            type State = (IntTensor<B>, FloatTensor<B>, usize, Operands);

            /// `dx = g W`.
            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (words, scales, width, operands) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    let weight = B::unpack(words, scales, width, operands);
                    B::product(B::operand(grad, operands), B::weight(weight, operands))
                });
            }
        }

        let nodes = [x.node()];
        let (x, scales) = (x.into_primitive(), scales.into_primitive());
        match Nf4Backward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = (words.clone(), scales.clone(), width, operands);
                prep.finish(saved, forward::<B>(x, words, scales, width, operands))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(forward::<B>(x, words, scales, width, operands))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value comes back as itself: no code is shifted.
    #[test]
    fn the_sixteen_values_survive() {
        let values: Vec<f32> = VALUES.iter().map(|value| 3.0 * value).collect();
        let packed = Nf4::new(&values, [1, 16], &Device::flex());
        let back: Vec<f32> = packed.whole().into_data().iter::<f32>().collect();
        assert_eq!(back, values);
    }

    #[test]
    fn a_weight_is_never_further_away_than_half_the_widest_step() {
        let values: Vec<f32> = (0..7 * 150)
            .map(|i| (i as f32 * 0.731).sin() * 0.1)
            .collect();
        let packed = Nf4::new(&values, [7, 150], &Device::flex());
        assert_eq!(packed.dims(), [7, 150]);
        let back: Vec<f32> = packed.whole().into_data().iter::<f32>().collect();
        for (row, (own, back)) in values.chunks(150).zip(back.chunks(150)).enumerate() {
            for (own, back) in own.chunks(GROUP).zip(back.chunks(GROUP)) {
                let largest = own.iter().fold(0.0f32, |max, v| max.max(v.abs()));
                for (own, back) in own.iter().zip(back) {
                    assert!(
                        (own - back).abs() <= 0.152 * largest,
                        "row {row}: {own} {back}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_group_of_zeros_stays_zero() {
        let packed = Nf4::new(&[0.0; 128], [2, 64], &Device::flex());
        assert_eq!(packed.whole().abs().sum().into_scalar::<f32>(), 0.0);
    }
}
