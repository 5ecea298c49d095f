//! Supervised fine-tuning: the negative log-likelihood of the target tokens.

use burn::tensor::Tensor;

/// Weighted negative log-likelihood of each target, \[T\] from `logps` \[T\] and `weights` \[T\].
///
/// Sum it over all micro-batches of an optimiser step and divide once by the sum of their weights:
/// transformers' mean over the tokens of the step, independent of how the step is cut.
pub fn sft_loss(logps: Tensor<1>, weights: Tensor<1>) -> Tensor<1> {
    logps.neg().mul(weights)
}

/// Metrics under TRL's names as weighted values per target \[T\], to be summed and divided like the
/// loss.
///
/// `top1` \[T\] is 1 where the model's most probable token is the target, else 0.
pub fn sft_metrics(top1: Tensor<1>, weights: Tensor<1>) -> Vec<(&'static str, Tensor<1>)> {
    let hits = top1.without_autodiff().mul(weights.without_autodiff());
    vec![("mean_token_accuracy", hits)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn host(t: Tensor<1>) -> Vec<f32> {
        t.try_into_vec_as().expect("f32 on the host")
    }

    #[test]
    fn a_masked_target_counts_in_neither_sum() {
        let device = Device::flex();
        let logps = Tensor::from_floats([-1.0, -3.0, -50.0], &device);
        let weights = Tensor::from_floats([1.0, 1.0, 0.0], &device);
        assert_eq!(host(sft_loss(logps, weights.clone())), [1.0, 3.0, 0.0]);
        let top1 = Tensor::from_floats([1.0, 0.0, 1.0], &device);
        let [(name, hits)] = &sft_metrics(top1, weights)[..] else {
            panic!("one metric")
        };
        assert_eq!(*name, "mean_token_accuracy");
        assert_eq!(host(hits.clone()), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn halves_of_a_batch_add_up_to_the_whole() {
        let device = Device::flex();
        let logps = [-0.5f32, -1.25, -2.0, -4.0];
        let sum = |part: &[f32]| {
            let ones = Tensor::ones([part.len()], &device);
            host(sft_loss(Tensor::from_floats(part, &device), ones).sum())[0]
        };
        assert_eq!(sum(&logps[..1]) + sum(&logps[1..]), sum(&logps));
    }
}
