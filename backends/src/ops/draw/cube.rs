//! Draws on graphics cards: one cube a response. Each unit adds up the weights of a piece of the vocabulary; then one of
//! them finds the piece, and in it the token. Where top-k and top-p end is searched for before, by all units together.

use super::{BROKEN, Draw, DrawRows};
use crate::cube;
use burn::backend::Cube;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use std::sync::Arc;

/// Units of a cube.
const UNITS: usize = 256;

/// A token that no vocabulary has.
const NONE: u32 = u32::MAX;

/// Numbers of a draw as the kernel reads them: temperature, uniform, cut, top-k, top-p.
const NUMBERS: usize = 5;

/// A number whose order among others is that of floats.
#[cube]
fn key(x: f32) -> u32 {
    let bits = u32::reinterpret(x);
    let mut key = bits + 0x8000_0000;
    if bits >> 31 == 1 {
        key = 0xffff_ffff - bits;
    }
    key
}

/// The float with that key.
#[cube]
fn unkeyed(key: u32) -> f32 {
    let mut bits = key - 0x8000_0000;
    if key >> 31 == 0 {
        bits = 0xffff_ffff - key;
    }
    f32::reinterpret(bits)
}

/// The largest logit such that those from it on, and from `floor` on, are `wanted` or with `weighed` weigh it: found bit by
/// bit, as a row is not sorted. The cube's units read from `start` to `end`, each its own.
#[cube]
fn cut_at(
    logits: &[f32],
    start: usize,
    end: usize,
    floor: f32,
    max: f32,
    temperature: f32,
    wanted: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] weighed: bool,
    #[comptime] planes: bool,
) -> f32 {
    let mut found = 0u32;
    for bit in 0..32u32 {
        let tried = found + (1u32 << (31u32 - bit));
        let mut sum = 0.0f32;
        for i in start..end {
            let logit = logits[i];
            if logit >= floor && key(logit) >= tried {
                if comptime!(weighed) {
                    sum += ((logit - max) / temperature).exp();
                } else {
                    sum += 1.0f32;
                }
            }
        }
        let sum = cube::cube_sum(sum, shared, planes);
        if sum >= wanted {
            found = tried;
        }
    }
    unkeyed(found)
}

#[cube(launch_unchecked)]
fn draw_row(
    logits: &[f32],
    rows: &[u32],
    how: &[f32],
    drawn: &mut [i32],
    vocab: usize,
    #[comptime] units: usize,
    #[comptime] planes: bool,
    #[comptime] cuts: bool,
) {
    if CUBE_POS < drawn.len() {
        let mut shared = Shared::<[f32]>::new_slice(units);
        let mut bests = Shared::<[u32]>::new_slice(units);
        let unit = UNIT_POS as usize;
        let row = rows[CUBE_POS] as usize * vocab;
        let temperature = how[CUBE_POS * NUMBERS];
        let piece = vocab.div_ceil(units);
        let start = (unit * piece).min(vocab);
        let end = (start + piece).min(vocab);
        // The first largest of the piece. Compilers may take for granted that numbers are finite: the exponent's bits tell.
        let mut max = logits[row];
        let mut best = 0u32;
        let mut broken = 0.0f32;
        for i in start..end {
            let logit = logits[row + i];
            if (u32::reinterpret(logit) >> 23) & 0xff == 0xff {
                broken = 1.0;
            }
            if logit > max {
                max = logit;
                best = i as u32;
            }
        }
        bests[unit] = best;
        let own = max;
        let broken = cube::cube_sum(broken, &mut shared, planes);
        let max = cube::cube_max(max, &mut shared, planes);
        let mut floor = max - how[CUBE_POS * NUMBERS + 2];
        if comptime!(cuts) {
            let (from, to) = (row + start, row + end);
            let count = how[CUBE_POS * NUMBERS + 3];
            let kth = cut_at(
                logits,
                from,
                to,
                f32::MIN,
                max,
                temperature,
                count,
                &mut shared,
                false,
                planes,
            );
            floor = floor.max(kth);
            let mut weight = 0.0f32;
            for i in from..to {
                if logits[i] >= floor {
                    weight += ((logits[i] - max) / temperature).exp();
                }
            }
            let wanted = how[CUBE_POS * NUMBERS + 4] * cube::cube_sum(weight, &mut shared, planes);
            let nucleus = cut_at(
                logits,
                from,
                to,
                floor,
                max,
                temperature,
                wanted,
                &mut shared,
                true,
                planes,
            );
            floor = floor.max(nucleus);
        }
        let mut sum = 0.0f32;
        if temperature > 0.0 {
            for i in start..end {
                let logit = logits[row + i];
                if logit >= floor {
                    sum += ((logit - max) / temperature).exp();
                }
            }
        }
        sync_cube();
        if own < max {
            bests[unit] = NONE;
        }
        shared[unit] = sum;
        sync_cube();
        if unit == 0 {
            let mut first = bests[0];
            let mut total = shared[0];
            for i in 1..units {
                first = first.min(bests[i]);
                total += shared[i];
            }
            let mut token = first;
            if temperature > 0.0 {
                let mut left = how[CUBE_POS * NUMBERS + 1] * total;
                let mut at = 0usize;
                while at + 1 < units && left > shared[at] {
                    left -= shared[at];
                    at += 1;
                }
                let mut i = (at * piece).min(vocab);
                let end = (i + piece).min(vocab);
                let mut open = true;
                while open && i < end {
                    let logit = logits[row + i];
                    if logit >= floor {
                        left -= ((logit - max) / temperature).exp();
                        if left <= 0.0 {
                            token = i as u32;
                            open = false;
                        }
                    }
                    i += 1;
                }
            }
            drawn[CUBE_POS] = token as i32;
            if broken > 0.0 {
                drawn[CUBE_POS] = BROKEN;
            }
        }
    }
}

impl DrawRows for Cube {
    fn draw_rows(logits: FloatTensor<Self>, draws: Arc<Vec<Draw>>) -> IntTensor<Self> {
        let logits = cube::dense(logits);
        let vocab = cube::dims2(&logits)[1];
        let rows: Vec<u32> = draws.iter().map(|draw| draw.row).collect();
        let numbers = |draw: &Draw| {
            let top_k = match draw.top_k as usize {
                0 => vocab,
                k => k.min(vocab),
            };
            let (temperature, uniform) = (draw.temperature as f32, draw.uniform as f32);
            [
                temperature,
                uniform,
                draw.cut,
                top_k as f32,
                draw.top_p as f32,
            ]
        };
        let cuts = draws.iter().any(|draw| draw.top_k > 0 || draw.top_p < 1.0);
        let how: Vec<f32> = draws.iter().flat_map(numbers).collect();
        let drawn = cube::empty_of(&logits, &[draws.len()], DType::I32);
        let client = logits.client.clone();
        let units = UNITS.min(client.properties().hardware.max_units_per_cube as usize);
        let planes = cube::adds_in_planes(&logits, units as u32);
        let (cubes, _) = cube::by_row(&logits, draws.len(), vocab);
        // SAFETY: a cube past the last draw touches nothing, and units stay in their piece of the vocabulary.
        unsafe {
            draw_row::launch_unchecked(
                &client,
                cubes,
                CubeDim::new_1d(units as u32),
                logits.clone().into_buffer_arg(),
                cube::uploaded(&logits, &rows).into_buffer_arg(),
                cube::uploaded_floats(&logits, &how).into_buffer_arg(),
                drawn.clone().into_buffer_arg(),
                vocab,
                units,
                planes,
                cuts,
            );
        }
        drawn
    }
}
