//! Loops that the compiler turns into SIMD, compiled for AVX2, AVX-512 or NEON and chosen at run time.
//!
//! [`vectorize`] runs a closure under the best instruction set of the machine; the helpers here are
//! always inlined, so they are compiled with it. Sums run in 16 lanes and are folded in one fixed order:
//! the same machine gives the same bits, whatever the thread count.

/// Lanes of every running sum.
const LANES: usize = 16;

/// Runs `f` compiled for the best instruction set of this machine.
#[inline]
pub fn vectorize<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// The instruction set that [`vectorize`] picks.
pub fn name() -> &'static str {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        match pulp::Arch::new() {
            pulp::Arch::V4(_) => return "AVX-512",
            pulp::Arch::V3(_) => return "AVX2",
            _ => {}
        }
    }
    if cfg!(target_arch = "aarch64") {
        "NEON"
    } else {
        "scalar"
    }
}

#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    let mut sum = [0.0; 4];
    for (i, lane) in lanes.iter().enumerate() {
        sum[i % 4] += lane;
    }
    (sum[0] + sum[1]) + (sum[2] + sum[3])
}

/// Sum of products.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a16, a_rest) = a.as_chunks::<LANES>();
    let (b16, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a16.iter().zip(b16) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    fold(lanes) + rest
}

/// Sum.
#[inline(always)]
pub fn sum(a: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a16, rest) = a.as_chunks::<LANES>();
    for a in a16 {
        for i in 0..LANES {
            lanes[i] += a[i];
        }
    }
    fold(lanes) + rest.iter().sum::<f32>()
}

/// Largest value; negative infinity for an empty slice.
#[inline(always)]
pub fn max(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (a16, rest) = a.as_chunks::<LANES>();
    for a in a16 {
        for i in 0..LANES {
            lanes[i] = if a[i] > lanes[i] { a[i] } else { lanes[i] };
        }
    }
    let lanes = lanes
        .iter()
        .fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m });
    rest.iter().fold(lanes, |m, &x| if x > m { x } else { m })
}

/// `y += s * x`.
#[inline(always)]
pub fn axpy(y: &mut [f32], s: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += s * x;
    }
}

/// `x` to `cap tanh(x / cap)`.
#[inline(always)]
pub fn softcap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = cap * tanh(*x / cap);
    }
}

/// `tanh x`: near 0, where `1 - 2 / (1 + e^2x)` loses its bits, by its series.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let far = 1.0 - 2.0 / (1.0 + exp(2.0 * x));
    let y = x * x;
    let near = x - x * y * (1.0 / 3.0 - y * (2.0 / 15.0 - y * (17.0 / 315.0 - y * 62.0 / 2835.0)));
    if x.abs() < 0.25 { near } else { far }
}

/// `e^x` to about 2 units in the last place for x in [-87, 88]; smaller x give a number next to 0.
///
/// Range reduction to `2^n e^r`, |r| <= ln 2 / 2, and a polynomial: branch-free, so that loops of it
/// become SIMD.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer without a branch.
    const ROUND: f32 = 12_582_912.0;
    // Clamped, NaN passes through to the polynomial and comes out as NaN.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two pieces, so that the difference keeps its bits.
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5e-1;
    let p = p * r * r + r + 1.0;
    // The integer n sits in the low bits of the shifted number; a cast would test for NaN and overflow.
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127);
    p * f32::from_bits(exponent << 23)
}

/// Replaces each x by `e^(x - shift)` and returns their sum.
#[inline(always)]
pub fn exp_sum(a: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a16, rest) = a.as_chunks_mut::<LANES>();
    for a in a16 {
        for i in 0..LANES {
            a[i] = exp(a[i] - shift);
            lanes[i] += a[i];
        }
    }
    let mut tail = 0.0;
    for x in rest {
        *x = exp(*x - shift);
        tail += *x;
    }
    fold(lanes) + tail
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_the_standard_librarys() {
        for i in -4000..=4000 {
            let x = i as f32 / 200.0;
            let wanted = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - wanted).abs();
            let near = if x.abs() < 0.25 { wanted.abs() } else { 1.0 };
            assert!(error <= 2.5e-7 * near.max(1e-3), "{x}: {error}");
        }
        let mut capped = [0.0, 1.0, -1e9, 1e9];
        softcap(&mut capped, 50.0);
        assert_eq!((capped[0], capped[2], capped[3]), (0.0, -50.0, 50.0));
    }

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for i in -8_700..=8_800 {
            let x = i as f32 / 100.0;
            let relative = (exp(x) as f64 / (x as f64).exp() - 1.0).abs();
            assert!(relative < 4e-7, "exp({x}) is off by {relative}");
        }
        assert!(exp(-1000.0) < 1e-37);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn reductions_agree_with_plain_loops() {
        let a: Vec<f32> = (0..77).map(|i| (i as f32 * 0.7).sin()).collect();
        let b: Vec<f32> = (0..77).map(|i| (i as f32 * 0.3).cos()).collect();
        let plain: f64 = a.iter().zip(&b).map(|(a, b)| *a as f64 * *b as f64).sum();
        assert!((dot(&a, &b) as f64 - plain).abs() < 1e-5);
        assert_eq!(max(&a), a.iter().copied().fold(f32::MIN, f32::max));
        assert_eq!(max(&[]), f32::NEG_INFINITY);
    }
}
