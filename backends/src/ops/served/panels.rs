//! The CPU body: [`PANEL`] outputs lie side by side for each input, so that one run through memory serves a vector of
//! outputs at a time, whatever a value is kept as. No sum runs across lanes.

use super::{GROUP, Precision};
use crate::cpu::Shared;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Outputs of a panel.
const PANEL: usize = 32;

/// A weight in panels: `[panels, in, PANEL]`, the last panel filled up with zeros.
pub struct Panels {
    width: usize,
    outs: usize,
    values: Values,
}

enum Values {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
    /// With scales, `[panels, groups, PANEL]`.
    Int8(Vec<i8>, Vec<f32>),
}

/// What a value is kept as.
trait Stored: Copy + Default + Send + Sync {
    fn value(self) -> f32;
}

impl Stored for f32 {
    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

/// The upper half of an f32 is a bf16.
impl Stored for u16 {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }
}

impl Stored for i8 {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from(self)
    }
}

impl Panels {
    /// Lays out `weight [out, width]`, given row by row.
    pub fn new(weight: &[f32], width: usize, precision: Precision) -> Self {
        let outs = weight.len() / width.max(1);
        let values = match precision {
            Precision::F32 => Values::F32(laid_out(weight, width, |_, _, value| value)),
            Precision::Bf16 => Values::Bf16(laid_out(weight, width, |_, _, value| bf16(value))),
            Precision::Int8 => {
                let scales = scales(weight, width);
                let groups = width.div_ceil(GROUP);
                let steps = laid_out(weight, width, |out, k, value| {
                    let scale = scales[out * groups + k / GROUP];
                    match scale == 0.0 {
                        true => 0,
                        false => (value / scale).round() as i8,
                    }
                });
                Values::Int8(steps, laid_out(&scales, groups, |_, _, scale| scale))
            }
        };
        Self {
            width,
            outs,
            values,
        }
    }

    /// Bytes of values and scales, the filled-up panel included.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::F32(values) => 4 * values.len(),
            Values::Bf16(values) => 2 * values.len(),
            Values::Int8(values, scales) => values.len() + 4 * scales.len(),
        }
    }

    /// `out [rows, outs] = x [rows, width] weight^T`.
    pub fn multiply(&self, x: &[f32], out: &mut [f32]) {
        if self.width == 0 {
            return out.fill(0.0);
        }
        assert!(x.len().is_multiple_of(self.width), "x has whole rows");
        assert_eq!(out.len(), x.len() / self.width * self.outs);
        match &self.values {
            Values::F32(values) => self.run(x, values, None, out),
            Values::Bf16(values) => self.run(x, values, None, out),
            Values::Int8(values, scales) => self.run(x, values, Some(scales), out),
        }
    }

    fn run<E: Stored>(&self, x: &[f32], values: &[E], scales: Option<&[f32]>, out: &mut [f32]) {
        let out = Shared(out.as_mut_ptr());
        let (size, groups) = (self.width * PANEL, self.width.div_ceil(GROUP));
        let share = self
            .outs
            .div_ceil(PANEL)
            .div_ceil(2 * rayon::current_num_threads())
            .max(1);
        values
            .par_chunks(share * size)
            .enumerate()
            .for_each(|(task, values)| {
                for (i, values) in values.chunks_exact(size).enumerate() {
                    let panel = task * share + i;
                    let scales = scales
                        .map(|all| &all[panel * groups * PANEL..(panel + 1) * groups * PANEL]);
                    pulp::Arch::new().dispatch(OnePanel {
                        x,
                        width: self.width,
                        values,
                        scales,
                        out,
                        first: panel * PANEL,
                        outs: self.outs,
                    });
                }
            });
    }
}

/// `[rows, width]` to `[panels, width, PANEL]`, each value by `keep(row, column, value)`.
fn laid_out<E: Stored>(
    matrix: &[f32],
    width: usize,
    keep: impl Fn(usize, usize, f32) -> E + Sync,
) -> Vec<E> {
    let rows = matrix.len() / width.max(1);
    let mut panels = vec![E::default(); rows.div_ceil(PANEL) * width * PANEL];
    panels
        .par_chunks_mut((width * PANEL).max(1))
        .enumerate()
        .for_each(|(panel, values)| {
            for lane in 0..PANEL.min(rows - panel * PANEL) {
                let row = panel * PANEL + lane;
                for (k, &value) in matrix[row * width..(row + 1) * width].iter().enumerate() {
                    values[k * PANEL + lane] = keep(row, k, value);
                }
            }
        });
    panels
}

/// Largest absolute value of each group over 127, `[outs, groups]`; NaN where one value is, so that no output hides it.
fn scales(weight: &[f32], width: usize) -> Vec<f32> {
    let larger = |max: f32, x: &f32| match x.abs() {
        // What is compared with NaN is never larger: it stays.
        x if x > max || x.is_nan() => x,
        _ => max,
    };
    let largest = |group: &[f32]| group.iter().fold(0.0f32, larger) / 127.0;
    weight
        .par_chunks(width.max(1))
        .flat_map_iter(|row| row.chunks(GROUP).map(largest))
        .collect()
}

/// Rounded to the nearest, to the even one between two.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// All rows of x against one panel.
struct OnePanel<'a, E> {
    x: &'a [f32],
    width: usize,
    values: &'a [E],
    scales: Option<&'a [f32]>,
    out: Shared,
    first: usize,
    outs: usize,
}

impl<E: Stored> WithSimd for OnePanel<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Two vectors of outputs at a time; AVX2 has 16 registers for the sums, AVX-512 and NEON have 32.
        for at in (0..PANEL).step_by(2 * S::F32_LANES) {
            match S::F32_LANES {
                8 => self.rows::<S, 4>(simd, at),
                _ => self.rows::<S, 8>(simd, at),
            }
        }
    }
}

impl<E: Stored> OnePanel<'_, E> {
    #[inline(always)]
    fn rows<S: Simd, const M: usize>(&self, simd: S, at: usize) {
        let mut row = 0;
        let mut blocks = self.x.chunks_exact(M * self.width);
        for x in &mut blocks {
            self.block::<S, M>(simd, x, row, at);
            row += M;
        }
        let mut fours = blocks.remainder().chunks_exact(4 * self.width);
        for x in &mut fours {
            self.block::<S, 4>(simd, x, row, at);
            row += 4;
        }
        for x in fours.remainder().chunks_exact(self.width) {
            self.block::<S, 1>(simd, x, row, at);
            row += 1;
        }
    }

    /// `M` rows of x against two vectors of outputs, from lane `at` of the panel. Every sum runs over the inputs in
    /// order, group by group.
    #[inline(always)]
    fn block<S: Simd, const M: usize>(&self, simd: S, x: &[f32], row: usize, at: usize) {
        let lanes = S::F32_LANES;
        assert!(x.len() == M * self.width && self.values.len() == self.width * PANEL);
        assert!(at + 2 * lanes <= PANEL);
        let group = if self.scales.is_some() {
            GROUP
        } else {
            self.width
        };
        let mut total = [[simd.splat_f32s(0.0); 2]; M];
        for (number, first) in (0..self.width).step_by(group).enumerate() {
            let mut sum = [[simd.splat_f32s(0.0); 2]; M];
            for k in first..(first + group).min(self.width) {
                let mut weights = [simd.splat_f32s(0.0); 2];
                for (n, weights) in weights.iter_mut().enumerate() {
                    let from = k * PANEL + at + n * lanes;
                    *weights = load::<S, E>(&self.values[from..from + lanes]);
                }
                for (m, sum) in sum.iter_mut().enumerate() {
                    // SAFETY: k is below the width, and x has M rows of it (asserted above).
                    let x = simd.splat_f32s(unsafe { *x.get_unchecked(m * self.width + k) });
                    sum[0] = simd.mul_add_e_f32s(x, weights[0], sum[0]);
                    sum[1] = simd.mul_add_e_f32s(x, weights[1], sum[1]);
                }
            }
            let Some(scales) = self.scales else {
                total = sum;
                continue;
            };
            for n in 0..2 {
                let from = number * PANEL + at + n * lanes;
                let scale = load::<S, f32>(&scales[from..from + lanes]);
                for m in 0..M {
                    total[m][n] = simd.mul_add_e_f32s(sum[m][n], scale, total[m][n]);
                }
            }
        }
        for (m, total) in total.iter().enumerate() {
            for (n, total) in total.iter().enumerate() {
                self.put::<S>(row + m, at + n * lanes, *total);
            }
        }
    }

    /// Writes outputs from lane `at` of the panel on, as many as there are.
    #[inline(always)]
    fn put<S: Simd>(&self, row: usize, at: usize, sums: S::f32s) {
        let first = self.first + at;
        if first >= self.outs {
            return;
        }
        let mut lanes = [0.0f32; 16];
        // SAFETY: no vector has more than 16 lanes of f32; the copy asks for no alignment.
        unsafe { std::ptr::write_unaligned(lanes.as_mut_ptr().cast::<S::f32s>(), sums) };
        let count = S::F32_LANES.min(self.outs - first);
        // SAFETY: the columns of a panel belong to one task, and `multiply` has checked the size of the output.
        let out = unsafe { self.out.at(row * self.outs + first, count) };
        out.copy_from_slice(&lanes[..count]);
    }
}

/// A vector of stored values as f32.
#[inline(always)]
fn load<S: Simd, E: Stored>(values: &[E]) -> S::f32s {
    let mut lanes = [0.0f32; 16];
    for (lane, value) in lanes[..S::F32_LANES].iter_mut().zip(values) {
        *lane = value.value();
    }
    // SAFETY: no vector has more than 16 lanes of f32; the copy asks for no alignment.
    unsafe { std::ptr::read_unaligned(lanes.as_ptr().cast::<S::f32s>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_the_nearest_and_keeps_what_is_not_a_number() {
        let back = |value: f32| bf16(value).value();
        assert_eq!(back(1.0), 1.0);
        assert_eq!(back(-0.15625), -0.15625);
        // Between 1 and 1 + 2^-7 the middle goes to the even one, a little more goes up.
        assert_eq!(back(1.0 + 0.00390625), 1.0);
        assert_eq!(back(1.0 + 0.003907), 1.0078125);
        assert_eq!(back(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert!(back(f32::NAN).is_nan());
    }

    #[test]
    fn a_weight_that_is_no_number_is_not_rounded_to_one() {
        for broken in [f32::NAN, f32::INFINITY] {
            for at in [0, 5, 99] {
                let mut weight = vec![0.5f32; 100];
                weight[at] = broken;
                for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
                    let mut out = [0.0];
                    Panels::new(&weight, 100, precision).multiply(&[1.0; 100], &mut out);
                    assert!(!out[0].is_finite(), "{broken} at {at}, {precision:?}");
                }
            }
        }
    }

    #[test]
    fn a_row_comes_out_the_same_whoever_stands_beside_it() {
        let (width, outs) = (100, 77);
        let wave = |count: usize, seed: f32| -> Vec<f32> {
            (0..count).map(|i| (i as f32 * 0.37 + seed).sin()).collect()
        };
        let (x, weight) = (wave(13 * width, 0.3), wave(outs * width, 0.9));
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let panels = Panels::new(&weight, width, precision);
            let mut all = vec![f32::NAN; 13 * outs];
            panels.multiply(&x, &mut all);
            for r in 0..13 {
                let mut alone = vec![f32::NAN; outs];
                panels.multiply(&x[r * width..(r + 1) * width], &mut alone);
                assert_eq!(alone, all[r * outs..(r + 1) * outs]);
            }
        }
    }
}
