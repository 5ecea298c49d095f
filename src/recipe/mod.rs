//! TOML in, checked recipe out. Knows no tensors.

pub mod loss;

pub use loss::{FDivergence, LossType, PairLoss};
