//! One file per loss: log-probs or rewards in, loss and metrics out. No files, no models, no loops.
//!
//! Every loss comes back per pair or per target, never averaged: the caller sums over all
//! micro-batches of an optimiser step and divides once, so that accumulation does not change it.
//!
//! - [`pair`]: the losses over preference pairs, chosen by a recipe's `PairLoss`
//! - [`dpo`]: those losses, one file each
//! - [`reward`]: Bradley-Terry, for reward models
//! - [`sft`]: next-token loss
//! - [`sequence`]: log-probs of tokens to log-probs of sequences
//! - [`stable`]: functions that stay finite where their textbook form overflows

pub mod dpo;
pub mod pair;
pub mod reward;
pub mod sequence;
pub mod sft;
pub mod stable;
