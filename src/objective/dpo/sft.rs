//! The likelihood of the chosen response.

use burn::tensor::Tensor;

use super::Margins;

/// -log pi(y_w) over the mean number of chosen tokens: its mean over the pairs is the NLL per token.
///
/// The NLL term of MPO (Wang et al. 2024, "Mixed Preference Optimization") and RPO (Pang et al.
/// 2024, "Iterative Reasoning Preference Optimization", eq. 1), averaged over tokens as TRL does.
pub fn loss(margins: &Margins) -> Tensor<1> {
    margins
        .chosen
        .clone()
        .neg()
        .div(margins.tokens_per_pair.clone())
}
