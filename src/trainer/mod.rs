//! The loop: one optimiser step, checkpoints, diagnoses.

mod checkpoint;
pub mod diagnose;
mod feed;
mod fit;
mod gradients;
pub mod multi_objective;
mod optimizer;
mod plan;
pub mod schedule;
mod tally;

pub use checkpoint::Checkpoints;
pub use fit::{Fit, StepRecord, evaluate};
pub use gradients::{accumulate, global_norm};
pub use optimizer::{Gradients, Optimizer};
pub use plan::Plan;
