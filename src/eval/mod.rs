//! Win rates, accuracies, intervals.

pub mod accuracy;
pub mod best_of;
pub mod bias;
pub mod classified;
pub mod rewardbench;
pub mod statistics;
pub mod winrate;

pub use accuracy::{Accuracy, AccuracyReport, ScoredPair};
pub use best_of::{Attempts, BestOf};
pub use bias::{LengthBias, PositionBias};
pub use classified::Classified;
pub use rewardbench::RewardBench;
pub use statistics::{Difference, Interval};
pub use winrate::{Matchup, Verdict, WinRate};
