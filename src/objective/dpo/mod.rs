//! The losses over pairs, one file each: the paper, its equation, the code.
//!
//! Names and values are those of TRL 1.16. Where TRL before 1.0 (and the papers) differ:
//!
//! | loss | TRL 1.16 | here |
//! |---|---|---|
//! | sigmoid | ignores `label_smoothing` | cDPO, as before 1.0; equal at 0 |
//! | `sigmoid_norm` | ignores `label_smoothing` | cDPO likewise; equal at 0 |
//! | `exo_pair` | refuses `label_smoothing` = 0 | takes 1e-3 then, the paper's value, for this loss alone |
//! | `bco_pair` | rewards as they are | the same; `bco_running_mean` shifts them, as the paper does |
//! | `aot_unpaired` | its name since 1.0 | `aot_pair` before; both names are read |
//! | alpha divergence | (t^(a-1) - 1) / (a-1) | the same; the old alpha is 1 - a |
//! | `kto_pair`, `rpo_alpha`, `reference_free` | gone | as before 1.0 |
//!
//! A new loss is one file, its line in [`loss`], and its name in `recipe::loss`.

mod margins;

mod f_divergence;

mod aot;
mod aot_unpaired;
mod apo_down;
mod apo_zero;
mod bco_pair;
mod discopop;
mod exo_pair;
mod hinge;
mod ipo;
mod kto_pair;
mod nca_pair;
mod orpo;
mod robust;
pub(super) mod sft;
mod sigmoid;
mod sigmoid_norm;
mod simpo;
mod sppo_hard;

#[cfg(test)]
mod tests;

pub use bco_pair::RunningMean;
pub use margins::Margins;

use burn::tensor::Tensor;

use super::pair::PairState;
use crate::recipe::loss::{LossType, PairLoss};

/// The value of one loss for each pair, \[B\].
pub fn loss(
    kind: LossType,
    margins: &Margins,
    config: &PairLoss,
    state: &mut PairState,
) -> Tensor<1> {
    match kind {
        LossType::Sigmoid => sigmoid::loss(margins, config),
        LossType::SigmoidNorm => sigmoid_norm::loss(margins, config),
        LossType::Robust => robust::loss(margins, config),
        LossType::ExoPair => exo_pair::loss(margins, config),
        LossType::Hinge => hinge::loss(margins, config),
        LossType::Ipo => ipo::loss(margins, config),
        LossType::BcoPair => bco_pair::loss(margins, config, &mut state.bco),
        LossType::SppoHard => sppo_hard::loss(margins, config),
        LossType::NcaPair => nca_pair::loss(margins, config),
        LossType::Aot => aot::loss(margins, config),
        LossType::AotUnpaired => aot_unpaired::loss(margins, config),
        LossType::ApoZero => apo_zero::loss(margins, config),
        LossType::ApoDown => apo_down::loss(margins, config),
        LossType::Discopop => discopop::loss(margins, config),
        LossType::Sft => sft::loss(margins),
        LossType::Simpo => simpo::loss(margins, config),
        LossType::Orpo => orpo::loss(margins, config),
        LossType::KtoPair => kto_pair::loss(margins, config),
    }
}

/// The square of each entry. (As a product: its gradient is exact at 0 on every backend.)
fn square(x: Tensor<1>) -> Tensor<1> {
    x.clone().mul(x)
}

/// The mean of `x` \[B\] given to every entry, for losses that belong to the batch and not to a
/// pair.
fn spread_mean(x: Tensor<1>) -> Tensor<1> {
    let pairs = x.dims();
    x.mean().expand(pairs)
}
