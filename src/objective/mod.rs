//! One file per loss: log-probs or rewards in, loss and metrics out. No files, no loops.
//!
//! Every loss comes back per pair or per target, never averaged: the caller sums over all
//! micro-batches of an optimiser step and divides once, so that accumulation does not change it.
//!
//! - [`Objective`]: what the trainer minimises; [`Sft`], [`BradleyTerry`], [`Odin`], [`Verdict`], [`OutcomeReward`] and [`Preference`] are those there are
//! - [`pair`]: the losses over preference pairs, chosen by a recipe's `PairLoss`
//! - [`dpo`]: those losses, one file each
//! - [`reward`]: Bradley-Terry, for reward models
//! - [`stable`]: functions that stay finite where their textbook form overflows

mod bradley_terry;
mod causal;
pub mod dpo;
mod example;
mod odin;
mod outcome;
pub mod pair;
mod preference;
pub mod reward;
pub mod stable;
mod verdict;

pub use bradley_terry::BradleyTerry;
pub use causal::Sft;
pub use example::{Example, Metric, Objective, Outcome};
pub use odin::Odin;
pub use outcome::OutcomeReward;
pub use preference::{Preference, sequence_sums};
pub use verdict::{Verdict, binary_cross_entropy};
