//! Functions that stay finite where their textbook form overflows.

use burn::tensor::Tensor;
/// log(1 / (1 + e^-x)). Burn's own: its value and gradient are finite and right for |x| up to 1e4
/// (tested below), on every backend through max(-x, 0) + log1p(e^-|x|) or its like.
pub use burn::tensor::activation::log_sigmoid;

/// The largest exponent taken: e^80 = 5.5e34 leaves f32 room for the factors around it. TRL caps
/// its alpha divergence at the same place. Beyond it the value is constant and its gradient 0.
const MAX_EXPONENT: f64 = 80.0;

/// The nearest to 0 that a log-prob may come in [`log_one_minus_exp`]: f32's step at 1.
const NEAREST_TO_CERTAIN: f64 = -1.2e-7;

/// e^min(x, 80), any shape.
pub fn capped_exp<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clamp_max(MAX_EXPONENT).exp()
}

/// log(1 - e^x) for x <= 0: the log of the probability of everything else, any shape.
///
/// 1 - e^x is computed as -2t / (1 - t) with t = tanh(x / 2), which keeps its bits where x is
/// nearly 0 and 1 - e^x would be a difference of equals. x is held below -1.2e-7, where the result
/// is -15.9.
pub fn log_one_minus_exp<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let t = x.clamp_max(NEAREST_TO_CERTAIN).mul_scalar(0.5).tanh();
    let others = t.clone().mul_scalar(-2.0).div(t.neg().add_scalar(1.0));
    others.log()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// Value and gradient of a function at some points.
    fn at(points: &[f32], f: impl Fn(Tensor<1>) -> Tensor<1>) -> (Vec<f32>, Vec<f32>) {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_floats(points, &device).require_grad();
        let y = f(x.clone());
        let gradients = y.clone().sum().backward();
        let gradient = x.grad(&gradients).expect("x requires a gradient");
        let host = |t: Tensor<1>| t.try_into_vec_as::<f32>().expect("f32 on the host");
        (host(y), host(gradient))
    }

    fn assert_close(found: &[f32], wanted: &[f64], tolerance: f64) {
        assert_eq!(found.len(), wanted.len());
        for (f, w) in found.iter().zip(wanted) {
            let error = (f64::from(*f) - w).abs() / w.abs().max(1e-3);
            assert!(error <= tolerance, "found {f}, wanted {w}");
        }
    }

    #[test]
    fn log_sigmoid_is_right_far_from_zero() {
        let points = [-1e4, -100.0, -20.0, -1.0, 0.0, 1.0, 20.0, 100.0, 1e4];
        let (value, gradient) = at(&points, log_sigmoid);
        let f64s = points.map(f64::from);
        let wanted = f64s.map(|x: f64| x.min(0.0) - (-x.abs()).exp().ln_1p());
        assert_close(&value, &wanted, 1e-6);
        let slope = f64s.map(|x: f64| {
            if x > 0.0 {
                (-x).exp() / (1.0 + (-x).exp())
            } else {
                1.0 / (1.0 + x.exp())
            }
        });
        assert_close(&gradient, &slope, 1e-6);
    }

    #[test]
    fn an_exponential_is_capped_and_flat_beyond() {
        let (value, gradient) = at(&[-1e4, 0.0, 2.0, 1e4], capped_exp);
        assert_close(&value, &[0.0, 1.0, 2f64.exp(), 80f64.exp()], 1e-5);
        assert_close(&gradient, &[0.0, 1.0, 2f64.exp(), 0.0], 1e-5);
    }

    #[test]
    fn the_log_of_the_rest_keeps_its_bits_near_certainty() {
        let points = [-1e4, -30.0, -1.0, -1e-2, -1e-5];
        let (value, gradient) = at(&points, log_one_minus_exp);
        let wanted = points.map(|x| (-f64::from(x).exp_m1()).ln());
        assert_close(&value, &wanted, 1e-5);
        let slope = points.map(|x| 1.0 / -(-f64::from(x)).exp_m1());
        assert_close(&gradient, &slope, 1e-4);
        let (certain, slope) = at(&[0.0], log_one_minus_exp);
        assert!(certain[0].is_finite() && slope[0].is_finite());
    }
}
