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

/// What a kernel is made for: rows that top-k or top-p cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Cuts {
    top_k: bool,
    top_p: bool,
}

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

/// The part of a row that one unit reads.
#[derive(CubeType, Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
}

/// What a logit weighs: `e^((logit - max) / temperature)`.
#[derive(CubeType, Clone, Copy)]
struct Softmax {
    max: f32,
    temperature: f32,
}

#[cube]
fn weight(logit: f32, of: &Softmax) -> f32 {
    ((logit - of.max) / of.temperature).exp()
}

/// Where a cut ends: the largest logit such that so many of the row, itself included, are as large; or, `weighed`, such that
/// those together weigh `wanted`. Logits below `floor` do not count. It is found bit by bit, as no row is sorted; if all do
/// not suffice, `floor`.
#[cube]
fn cut_at(
    logits: &[f32],
    piece: &Piece,
    floor: f32,
    of: &Softmax,
    wanted: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] weighed: bool,
    #[comptime] planes: bool,
) -> f32 {
    let mut found = 0u32;
    for bit in 0..32u32 {
        let tried = found + (1u32 << (31u32 - bit));
        let mut sum = 0.0f32;
        for i in piece.start..piece.end {
            let logit = logits[i];
            if logit >= floor && key(logit) >= tried {
                if comptime!(weighed) {
                    sum += weight(logit, of);
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
    let mut end = floor;
    if found > 0 {
        end = unkeyed(found);
    }
    end
}

/// What all units of a cube weigh together above `floor`.
#[cube]
fn weight_from(logits: &[f32], piece: &Piece, floor: f32, of: &Softmax) -> f32 {
    let mut sum = 0.0f32;
    for i in piece.start..piece.end {
        if logits[i] >= floor {
            sum += weight(logits[i], of);
        }
    }
    sum
}

/// The token at which the weights reach the share `uniform`, or `best` if rounding leaves a last crumb. `sums` are those of
/// the units' pieces.
#[cube]
fn reached(
    logits: &[f32],
    row: usize,
    vocab: usize,
    floor: f32,
    of: &Softmax,
    uniform: f32,
    best: u32,
    sums: &Shared<[f32]>,
    #[comptime] units: usize,
) -> u32 {
    let mut total = sums[0];
    for unit in 1..units {
        total += sums[unit];
    }
    let mut left = uniform * total;
    let mut at = 0usize;
    while at + 1 < units && left > sums[at] {
        left -= sums[at];
        at += 1;
    }
    let piece = vocab.div_ceil(units);
    let mut i = (at * piece).min(vocab);
    let end = (i + piece).min(vocab);
    let mut token = best;
    let mut open = true;
    while open && i < end {
        let logit = logits[row + i];
        if logit >= floor {
            left -= weight(logit, of);
            if left <= 0.0 {
                token = i as u32;
                open = false;
            }
        }
        i += 1;
    }
    token
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
    #[comptime] cuts: Cuts,
) {
    if CUBE_POS < drawn.len() {
        let mut shared = Shared::<[f32]>::new_slice(units);
        let mut bests = Shared::<[u32]>::new_slice(units);
        let unit = UNIT_POS as usize;
        let row = rows[CUBE_POS] as usize * vocab;
        let how_row = CUBE_POS * NUMBERS;
        let own = vocab.div_ceil(units);
        let first = (unit * own).min(vocab);
        let piece = Piece {
            start: row + first,
            end: row + (first + own).min(vocab),
        };
        // The first largest of the piece. Compilers may take for granted that numbers are finite: the exponent's bits tell.
        let mut largest = logits[row];
        let mut best = 0u32;
        let mut broken = 0.0f32;
        for i in piece.start..piece.end {
            let logit = logits[i];
            if (u32::reinterpret(logit) >> 23) & 0xff == 0xff {
                broken = 1.0;
            }
            if logit > largest {
                largest = logit;
                best = (i - row) as u32;
            }
        }
        bests[unit] = best;
        let broken = cube::cube_sum(broken, &mut shared, planes);
        let of = Softmax {
            max: cube::cube_max(largest, &mut shared, planes),
            temperature: how[how_row],
        };
        let mut floor = of.max - how[how_row + 2];
        if comptime!(cuts.top_k) {
            let count = how[how_row + 3];
            let kth = cut_at(
                logits,
                &piece,
                f32::MIN,
                &of,
                count,
                &mut shared,
                false,
                planes,
            );
            if count < f32::cast_from(vocab) {
                floor = floor.max(kth);
            }
        }
        if comptime!(cuts.top_p) {
            let share = how[how_row + 4];
            let all = weight_from(logits, &piece, floor, &of);
            let wanted = share * cube::cube_sum(all, &mut shared, planes);
            let end = cut_at(
                logits,
                &piece,
                floor,
                &of,
                wanted,
                &mut shared,
                true,
                planes,
            );
            if share < 1.0 {
                floor = floor.max(end);
            }
        }
        let mut sum = 0.0f32;
        if of.temperature > 0.0 {
            sum = weight_from(logits, &piece, floor, &of);
        }
        sync_cube();
        if largest < of.max {
            bests[unit] = NONE;
        }
        shared[unit] = sum;
        sync_cube();
        if unit == 0 {
            let mut best = bests[0];
            for i in 1..units {
                best = best.min(bests[i]);
            }
            let mut token = best;
            if of.temperature > 0.0 {
                let uniform = how[how_row + 1];
                token = reached(
                    logits, row, vocab, floor, &of, uniform, best, &shared, units,
                );
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
                // So little is the largest alone; less would be nothing in f32.
                (draw.top_p as f32).max(1e-20),
            ]
        };
        let of_any = |cut: fn(&Draw) -> bool| {
            let mut drawn = draws.iter().filter(|draw| draw.temperature > 0.0);
            drawn.any(cut)
        };
        let cuts = Cuts {
            top_k: of_any(|draw| draw.top_k > 0),
            top_p: of_any(|draw| draw.top_p < 1.0),
        };
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
