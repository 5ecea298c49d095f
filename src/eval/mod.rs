//! Win rates, accuracies, intervals.

pub mod accuracy;
pub mod rewardbench;
pub mod statistics;
pub mod winrate;

pub use accuracy::{Accuracy, AccuracyReport, PositionBias, ScoredPair};
pub use rewardbench::RewardBench;
pub use statistics::{Difference, Interval};
pub use winrate::{Matchup, Verdict, WinRate};
