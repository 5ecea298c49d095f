//! AdamW with 8-bit moments on graphics cards: one cube a block, four elements a unit.

use super::{AdamW8bit, BLOCK, PER_WORD};
use crate::cube;
use crate::ops::AdamW;
use crate::ops::adamw::cube::{Numbers, numbers};
use burn::backend::Cube;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

/// Elements of one unit.
const OWN: usize = 4;
/// Units of a cube.
const UNITS: u32 = (BLOCK / OWN) as u32;

#[cube]
fn draw(element: u32, step: u32) -> u32 {
    let x = element ^ (step * 0x9e37_79b9u32);
    let x = (x ^ (x >> 16u32)) * 0x7feb_352du32;
    let x = (x ^ (x >> 15u32)) * 0x846c_a68bu32;
    x ^ (x >> 16u32)
}

/// One over a scale, or 0 where all of the block is 0.
#[cube]
fn inverse(scale: f32) -> f32 {
    let mut inverse = 0.0f32;
    if scale > 0.0 {
        inverse = 1.0 / scale;
    }
    inverse
}

/// Both codes of one element, in 16 bits.
#[cube]
fn encoded(first: f32, second: f32, inverse_first: f32, inverse_second: f32, draw: u32) -> u32 {
    let up_first = f32::cast_from(draw & 0xffffu32) / 65_536.0;
    let up_second = f32::cast_from(draw >> 16u32) / 65_536.0;
    let m = (127.0 * (first.abs() * inverse_first).sqrt())
        .floor()
        .min(127.0);
    let v = (255.0 * (second * inverse_second).sqrt().sqrt())
        .floor()
        .min(255.0);
    // What is left above the code below, as a share of the way to the code above; 127 squared, 255 to the fourth.
    let left_m = first.abs() * inverse_first * 16_129.0f32 - m * m;
    let left_v = second * inverse_second * 4_228_250_625.0f32 - v * v * v * v;
    let next = v + 1.0;
    let mut m = m;
    let mut v = v;
    if left_m > up_first * (2.0 * m + 1.0) {
        m += 1.0;
    }
    if left_v > up_second * (next * next * next * next - v * v * v * v) {
        v += 1.0;
    }
    let m = m.min(127.0);
    let v = v.min(255.0);
    let mut m = u32::cast_from(m);
    let mut v = u32::cast_from(v);
    if first < 0.0 {
        // Two's complement of a byte.
        m = (256u32 - m) & 255u32;
    }
    if v == 0 && second > 0.0 {
        v = 1u32.runtime();
    }
    m | (v << 8u32)
}

#[cube(launch_unchecked)]
fn update(
    param: &mut [f32],
    grad: &[f32],
    words: &mut [u32],
    scales: &mut [f32],
    how: Numbers,
    step: u32,
    #[comptime] planes: bool,
) {
    if CUBE_POS * 2 < scales.len() {
        let mut shared = Shared::<[f32]>::new_slice(BLOCK / OWN);
        let mut first = Array::<f32>::new(OWN);
        let mut second = Array::<f32>::new(OWN);
        let first_scale = scales[CUBE_POS * 2];
        let second_scale = scales[CUBE_POS * 2 + 1];
        let start = CUBE_POS * BLOCK + UNIT_POS as usize * OWN;
        let mut largest_first = 0.0f32;
        let mut largest_second = 0.0f32;
        #[unroll]
        for i in 0..OWN {
            first[i] = 0.0;
            second[i] = 0.0;
            let at = start + i;
            if at < param.len() {
                let codes = words[at / PER_WORD] >> ((at % PER_WORD) as u32 * 16u32);
                let mut m = f32::cast_from(codes & 255u32);
                if m > 127.0 {
                    m -= 256.0;
                }
                let m = m / 127.0;
                let v = f32::cast_from((codes >> 8u32) & 255u32) / 255.0;
                let g = grad[at] * how.grad_scale;
                let m = first_scale * m * m.abs() * how.beta1 + g * how.rest1;
                let v = second_scale * v * v * v * v * how.beta2 + g * g * how.rest2;
                let moved = m / (v.sqrt() * how.inverse_root + how.eps) * how.rate;
                param[at] = param[at] * how.keep - moved;
                first[i] = m;
                second[i] = v;
                largest_first = largest_first.max(m.abs());
                largest_second = largest_second.max(v);
            }
        }
        let largest_first = cube::cube_max(largest_first, &mut shared, planes);
        let largest_second = cube::cube_max(largest_second, &mut shared, planes);
        let inverse_first = inverse(largest_first);
        let inverse_second = inverse(largest_second);
        #[unroll]
        for w in 0..OWN / PER_WORD {
            let at = (start + w * PER_WORD) as u32;
            let low = encoded(
                first[w * PER_WORD],
                second[w * PER_WORD],
                inverse_first,
                inverse_second,
                draw(at, step),
            );
            let high = encoded(
                first[w * PER_WORD + 1],
                second[w * PER_WORD + 1],
                inverse_first,
                inverse_second,
                draw(at + 1, step),
            );
            words[start / PER_WORD + w] = low | (high << 16u32);
        }
        if UNIT_POS == 0 {
            scales[CUBE_POS * 2] = largest_first;
            scales[CUBE_POS * 2 + 1] = largest_second;
        }
    }
}

impl AdamW8bit for Cube {
    fn adamw_8bit(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        how: AdamW,
    ) -> (FloatTensor<Self>, IntTensor<Self>, FloatTensor<Self>) {
        let grad = cube::dense(grad);
        let [param, words, scales] = [param, words, scales].map(cube::owned);
        let (count, _) = cube::by_row(&param, cube::count(&scales) / 2, BLOCK);
        let client = param.client.clone();
        // SAFETY: a cube past the last block touches nothing, nor does a unit past the end of the parameter; words and
        // scales are those of whole blocks.
        unsafe {
            update::launch_unchecked(
                &client,
                count,
                CubeDim::new_1d(UNITS),
                param.clone().into_buffer_arg(),
                grad.into_buffer_arg(),
                words.clone().into_buffer_arg(),
                scales.clone().into_buffer_arg(),
                numbers(how),
                how.step as u32,
                cube::adds_in_planes(&param, UNITS),
            );
        }
        (param, words, scales)
    }
}
