//! AdamW with its two moments in 8 bits each (Dettmers et al. 2022, "8-bit optimizers via block-wise quantization"): a
//! quarter of the memory.
//!
//! Every [`BLOCK`] elements share the largest moment as their scale. A code stands for `scale (c / 127)^2` of the first
//! moment and `scale (c / 255)^4` of the second, so that small moments keep their relative precision, and values are
//! rounded to the code above or below at random, in proportion, so that they stay what they are in the mean: a second moment changes by a thousandth a step, which rounding to the
//! nearest would swallow. A second moment above zero never becomes zero, as it divides.

#[cfg(feature = "cube")]
mod cube;

use super::AdamW;
use super::adamw::Numbers;
use crate::clock::{self, Work};
use crate::cpu;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rayon::prelude::*;

/// Elements that share a scale.
pub const BLOCK: usize = 256;

/// Two elements lie in one word: first moment in the low byte of each half, second moment in the high byte.
const PER_WORD: usize = 2;

/// The moments of one parameter.
#[derive(Debug, Clone)]
pub struct Moments8bit {
    /// Codes, `[blocks * BLOCK / 2]`.
    words: Tensor<1, Int>,
    /// Scales of the first and the second moments of each block, `[blocks * 2]`.
    scales: Tensor<1>,
}

impl Moments8bit {
    /// Of a parameter of `count` elements that was never updated.
    pub fn zeros(count: usize, device: &Device) -> Self {
        let blocks = count.div_ceil(BLOCK);
        Self::new(&vec![[0; 2]; blocks * BLOCK], vec![0.0; 2 * blocks], device)
    }

    /// From the codes of both moments of each element, whole blocks, and the scales.
    ///
    /// # Panics
    /// If there are not two scales to each block of codes.
    pub fn new(codes: &[[u8; 2]], scales: Vec<f32>, device: &Device) -> Self {
        assert_eq!(codes.len() / BLOCK * 2, scales.len(), "two scales a block");
        let word =
            |pair: &[[u8; 2]]| i32::from_le_bytes([pair[0][0], pair[0][1], pair[1][0], pair[1][1]]);
        let words: Vec<i32> = codes.chunks_exact(PER_WORD).map(word).collect();
        let (words_len, scales_len) = (words.len(), scales.len());
        Self {
            words: Tensor::from_data(TensorData::new(words, [words_len]), (device, DType::I32)),
            scales: Tensor::from_data(TensorData::new(scales, [scales_len]), device),
        }
    }

    /// The codes of both moments of each element, whole blocks, and the scales, on the host.
    pub fn to_host(&self) -> (Vec<[u8; 2]>, Vec<f32>) {
        let words: Vec<i32> = self.words.clone().into_data().iter::<i32>().collect();
        let codes = words.iter().flat_map(|word| {
            let [a, b, c, d] = word.to_le_bytes();
            [[a, b], [c, d]]
        });
        let scales = self.scales.clone().into_data().iter::<f32>().collect();
        (codes.collect(), scales)
    }

    /// What the codes of the first `count` elements stand for: first and second moments.
    pub fn values(&self, count: usize) -> (Vec<f32>, Vec<f32>) {
        let (codes, scales) = self.to_host();
        let value = |(i, &codes): (usize, &[u8; 2])| {
            let block = i / BLOCK * 2;
            decoded(codes, scales[block], scales[block + 1])
        };
        codes[..count].iter().enumerate().map(value).unzip()
    }
}

/// `(parameter, moments)` after the update; see [`super::adamw()`].
///
/// # Panics
/// If no fused body serves the parameter: f32 on any device.
pub fn adamw_8bit(
    param: Tensor<1>,
    grad: Tensor<1>,
    moments: Moments8bit,
    how: AdamW,
) -> (Tensor<1>, Moments8bit) {
    let (param, words, scales) = <Dispatch as AdamW8bit>::adamw_8bit(
        param.into_dispatch(),
        grad.into_dispatch(),
        moments.words.into_dispatch(),
        moments.scales.into_dispatch(),
        how,
    );
    let moments = Moments8bit {
        words: Tensor::from_dispatch(words),
        scales: Tensor::from_dispatch(scales),
    };
    (Tensor::from_dispatch(param), moments)
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"))]
pub trait AdamW8bit: Backend {
    /// See [`adamw_8bit`].
    fn adamw_8bit(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        how: AdamW,
    ) -> (FloatTensor<Self>, IntTensor<Self>, FloatTensor<Self>);
}

fn decoded([first, second]: [u8; 2], first_scale: f32, second_scale: f32) -> (f32, f32) {
    let m = f32::from(first.cast_signed()) / 127.0;
    let v = f32::from(second) / 255.0;
    (first_scale * m * m.abs(), second_scale * v * v * v * v)
}

/// Both codes of one element, in 16 bits; `inverse` is one over each scale, or 0 where all of the block is 0.
#[inline(always)]
fn encoded(first: f32, second: f32, inverse: [f32; 2], draw: u32) -> u32 {
    let up = [draw & 0xffff, draw >> 16].map(|bits| bits as f32 / 65_536.0);
    let shares = [first.abs() * inverse[0], second * inverse[1]];
    let m = (127.0 * shares[0].sqrt()).floor().min(127.0);
    let v = (255.0 * shares[1].sqrt().sqrt()).floor().min(255.0);
    let fourth = |x: f32| x * x * x * x;
    // What is left above the code below, as a share of the way to the code above.
    let up_m = shares[0] * (127.0 * 127.0) - m * m > up[0] * (2.0 * m + 1.0);
    let up_v = shares[1] * fourth(255.0) - fourth(v) > up[1] * (fourth(v + 1.0) - fourth(v));
    let m = ((m + f32::from(u8::from(up_m))).min(127.0)) as i32;
    let v = ((v + f32::from(u8::from(up_v))).min(255.0)) as i32;
    let m = if first < 0.0 { -m } else { m };
    let v = v.max(i32::from(second > 0.0));
    (m & 255 | v << 8).cast_unsigned()
}

/// Thirty-two bits for an element at a step, the same on every device ("lowbias32", Wellons 2018).
#[inline(always)]
fn draw(element: u32, step: u32) -> u32 {
    let mut x = element ^ step.wrapping_mul(0x9e37_79b9);
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

impl AdamW8bit for Flex {
    fn adamw_8bit(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        how: AdamW,
    ) -> (FloatTensor<Self>, IntTensor<Self>, FloatTensor<Self>) {
        clock::measure(Work::Optimiser, || {
            let (step, how) = (how.step as u32, Numbers::from(how));
            let grad = cpu::dense(grad);
            let [mut param, mut words, mut scales] = [param, words, scales].map(cpu::owned);
            cpu::slice_mut(&mut param)
                .par_chunks_mut(BLOCK)
                .zip(cpu::slice(&grad).par_chunks(BLOCK))
                .zip(codes_mut(&mut words).par_chunks_mut(BLOCK / PER_WORD))
                .zip(cpu::slice_mut(&mut scales).par_chunks_mut(2))
                .enumerate()
                .with_min_len(64)
                .for_each(|(block, (((param, grad), words), scales))| {
                    crate::simd::vectorize(|| update(block, param, grad, words, scales, step, how));
                });
            (param, words, scales)
        })
    }
}

fn codes_mut(words: &mut FlexTensor) -> &mut [i32] {
    let elements = words.layout().num_elements();
    &mut words.storage_mut::<i32>()[..elements]
}

/// One block: the moments out of their codes, the update, and back.
#[inline(always)]
fn update(
    block: usize,
    param: &mut [f32],
    grad: &[f32],
    words: &mut [i32],
    scales: &mut [f32],
    step: u32,
    how: Numbers,
) {
    let (mut first, mut second) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
    // Loops of their own, so that each runs over whole vectors.
    for (w, word) in words.iter().enumerate() {
        let [a, b, c, d] = word.to_le_bytes();
        let at = w * PER_WORD;
        (first[at], second[at]) = (f32::from(a.cast_signed()), f32::from(b));
        (first[at + 1], second[at + 1]) = (f32::from(c.cast_signed()), f32::from(d));
    }
    let (mut largest_first, mut largest_second) = (0.0f32, 0.0f32);
    let moments = first.iter_mut().zip(second.iter_mut());
    for ((param, grad), (first, second)) in param.iter_mut().zip(grad).zip(moments) {
        let (m, v) = (*first / 127.0, *second / 255.0);
        let g = grad * how.grad_scale;
        *first = scales[0] * m * m.abs() * how.beta1 + g * how.rest1;
        *second = scales[1] * v * v * v * v * how.beta2 + g * g * how.rest2;
        let denominator = second.sqrt() * how.inverse_root + how.eps;
        *param = *param * how.keep - *first / denominator * how.rate;
        largest_first = largest_first.max(first.abs());
        largest_second = largest_second.max(*second);
    }
    let largest = [largest_first, largest_second];
    let inverse = largest.map(|scale| if scale > 0.0 { 1.0 / scale } else { 0.0 });
    let mut codes = [0u32; BLOCK];
    let start = (block * BLOCK) as u32;
    for (i, code) in codes.iter_mut().enumerate() {
        let draw = draw(start + i as u32, step);
        *code = encoded(first[i], second[i], inverse, draw);
    }
    for (word, pair) in words.iter_mut().zip(codes.as_chunks::<PER_WORD>().0) {
        *word = (pair[0] | pair[1] << 16).cast_signed();
    }
    scales.copy_from_slice(&largest);
}
