//! The CPU body: every output is one dot product of two rows that lie in memory as they are read. A packed matrix
//! product first copies the weight into panels, which for the few rows of decoding costs more than the product itself,
//! and for many rows gains nothing: both sides are contiguous already.

use crate::cpu::Shared;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// `out[r][o] = x[r] . weight[o]` for `x [rows, width]`, `weight [outs, width]`, `out [rows, outs]`.
///
/// Each dot product is summed in the same order whatever the other rows are and however many threads work: a response
/// does not depend on who is decoded beside it.
pub fn dots(x: &[f32], weight: &[f32], width: usize, out: &mut [f32]) {
    if width == 0 {
        return out.fill(0.0);
    }
    let outs = weight.len() / width;
    assert!(
        x.len().is_multiple_of(width) && weight.len() == outs * width,
        "rows of {width} values are needed"
    );
    assert_eq!(
        out.len(),
        x.len() / width * outs,
        "a value a row and output"
    );
    let shared = Shared(out.as_mut_ptr());
    let share = outs.div_ceil(2 * rayon::current_num_threads()).max(32);
    weight
        .par_chunks(share * width)
        .enumerate()
        .for_each(|(task, weight)| {
            pulp::Arch::new().dispatch(Share {
                x,
                weight,
                width,
                out: shared,
                first: task * share,
                outs,
            });
        });
}

/// Rows of x that are worked on together: they stay in the cache next to the core while the weight streams by.
const BLOCK: usize = 64;

/// One task's part: some rows of the weight against all rows of x.
struct Share<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    width: usize,
    out: Shared,
    first: usize,
    outs: usize,
}

impl WithSimd for Share<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (block, x) in self.x.chunks(BLOCK * self.width).enumerate() {
            let first_row = block * BLOCK;
            // AVX2 has 16 registers, AVX-512 and NEON have 32: the sums of a tile must stay in them.
            match S::F32_LANES {
                8 => self.columns::<S, 2>(simd, x, first_row),
                _ => self.columns::<S, 4>(simd, x, first_row),
            }
        }
    }
}

impl Share<'_> {
    #[inline(always)]
    fn columns<S: Simd, const N: usize>(&self, simd: S, x: &[f32], first_row: usize) {
        let mut at = self.first;
        let mut groups = self.weight.chunks_exact(N * self.width);
        for group in &mut groups {
            let weights: [&[f32]; N] =
                std::array::from_fn(|n| &group[n * self.width..(n + 1) * self.width]);
            self.rows(simd, x, first_row, weights, at);
            at += N;
        }
        for weight in groups.remainder().chunks_exact(self.width) {
            self.rows(simd, x, first_row, [weight], at);
            at += 1;
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const N: usize>(
        &self,
        simd: S,
        x: &[f32],
        mut row: usize,
        weights: [&[f32]; N],
        at: usize,
    ) {
        let mut groups = x.chunks_exact(4 * self.width);
        for group in &mut groups {
            let rows: [&[f32]; 4] =
                std::array::from_fn(|m| &group[m * self.width..(m + 1) * self.width]);
            self.put(row, at, tile(simd, rows, weights));
            row += 4;
        }
        for x in groups.remainder().chunks_exact(self.width) {
            self.put(row, at, tile(simd, [x], weights));
            row += 1;
        }
    }

    #[inline(always)]
    fn put<const M: usize, const N: usize>(&self, row: usize, at: usize, sums: [[f32; N]; M]) {
        for (m, sums) in sums.iter().enumerate() {
            // SAFETY: columns `at..at + N` belong to this task alone, and `dots` has checked that there is a row of
            // outputs for each row of x.
            let out = unsafe { self.out.at((row + m) * self.outs + at, N) };
            out.copy_from_slice(sums);
        }
    }
}

/// `M` rows against `N` weights, all of one length.
#[inline(always)]
pub fn tile<S: Simd, const M: usize, const N: usize>(
    simd: S,
    rows: [&[f32]; M],
    weights: [&[f32]; N],
) -> [[f32; N]; M] {
    let (width, lanes) = (rows[0].len(), S::F32_LANES);
    assert!(rows.iter().chain(&weights).all(|row| row.len() == width));
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    let mut at = 0;
    while at + lanes <= width {
        // SAFETY: the assertion above and the loop's condition keep `lanes` values from `at` inside every row; the
        // copy out of the slice asks for no alignment.
        let load = |row: &[f32]| unsafe {
            std::ptr::read_unaligned(row.as_ptr().add(at).cast::<S::f32s>())
        };
        let mut loaded = [simd.splat_f32s(0.0); N];
        for n in 0..N {
            loaded[n] = load(weights[n]);
        }
        for m in 0..M {
            let x = load(rows[m]);
            for n in 0..N {
                sums[m][n] = simd.mul_add_e_f32s(x, loaded[n], sums[m][n]);
            }
        }
        at += lanes;
    }
    if at < width {
        for m in 0..M {
            let x = simd.partial_load_f32s(&rows[m][at..]);
            for n in 0..N {
                let weight = simd.partial_load_f32s(&weights[n][at..]);
                sums[m][n] = simd.mul_add_e_f32s(x, weight, sums[m][n]);
            }
        }
    }
    let mut out = [[0.0; N]; M];
    for m in 0..M {
        for n in 0..N {
            out[m][n] = simd.reduce_sum_f32s(sums[m][n]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.37 + seed).sin()).collect()
    }

    #[test]
    fn every_output_is_the_dot_product_of_its_rows() {
        for (rows, outs, width) in [
            (1, 1, 1),
            (1, 7, 5),
            (3, 70, 64),
            (5, 33, 100),
            (9, 130, 48),
        ] {
            let (x, weight) = (values(rows * width, 0.1), values(outs * width, 0.7));
            let mut out = vec![f32::NAN; rows * outs];
            dots(&x, &weight, width, &mut out);
            for r in 0..rows {
                for o in 0..outs {
                    let sides = x[r * width..].iter().zip(&weight[o * width..]);
                    let exact: f64 = sides
                        .take(width)
                        .map(|(&a, &b)| f64::from(a) * f64::from(b))
                        .sum();
                    assert!((f64::from(out[r * outs + o]) - exact).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn a_row_comes_out_the_same_whoever_stands_beside_it() {
        let (width, outs) = (100, 77);
        let (x, weight) = (values(11 * width, 0.3), values(outs * width, 0.9));
        let mut all = vec![0.0; 11 * outs];
        dots(&x, &weight, width, &mut all);
        for r in 0..11 {
            let mut alone = vec![0.0; outs];
            dots(&x[r * width..(r + 1) * width], &weight, width, &mut alone);
            assert_eq!(alone, all[r * outs..(r + 1) * outs]);
        }
    }
}
