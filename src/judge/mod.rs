//! Whatever ranks responses, and the pairs made of it.

pub mod audit;
#[allow(clippy::module_inception)]
mod judge;
pub mod pairs;
pub mod rules;
pub mod scored;

pub use audit::Audit;
pub use judge::{Group, Judge, RewardJudge, RuleJudge};
pub use pairs::{Chosen, Dropped, PairCounts, PairRule};
pub use rules::{Opinion, Rule};
pub use scored::Scored;
