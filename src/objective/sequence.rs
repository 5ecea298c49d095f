//! Log-probs of tokens to log-probs of sequences.

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

/// Sums `values` \[T\] by sequence: entry s of the result \[`sequences`\] is the sum of the values
/// whose `owner` \[T\] is s. Weights (a loss mask) are multiplied in before; ones give the token
/// counts.
///
/// Gradients flow back to every value. All owners are below `sequences`.
pub fn sequence_sums(values: Tensor<1>, owner: Tensor<1, Int>, sequences: usize) -> Tensor<1> {
    Tensor::zeros([sequences], &values.device()).select_assign(
        0,
        owner,
        values,
        IndexingUpdateOp::Add,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn tokens_are_summed_where_they_belong_and_get_their_gradient_back() {
        let device = Device::flex().autodiff();
        let values = Tensor::<1>::from_floats([1.0, 2.0, 4.0, 8.0], &device).require_grad();
        let owner = Tensor::<1, Int>::from_ints([2, 0, 2, 0], &device);
        let sums = sequence_sums(values.clone(), owner, 3);
        let weights = Tensor::<1>::from_floats([10.0, 100.0, 1000.0], &device);
        let gradients = sums.clone().mul(weights).sum().backward();
        let gradient = values.grad(&gradients).expect("a tracked leaf");
        let host = |t: Tensor<1>| t.try_into_vec_as::<f32>().expect("f32 on the host");
        assert_eq!(host(sums), [10.0, 0.0, 5.0]);
        assert_eq!(host(gradient), [1000.0, 10.0, 1000.0, 10.0]);
    }
}
