//! Win rates, accuracies, intervals, exams.

pub mod accuracy;
pub mod bias;
pub mod exam;
pub mod length_controlled;
pub mod rewardbench;
pub mod statistics;
pub mod two_judges;
pub mod winrate;

pub use accuracy::{Accuracy, AccuracyReport, ScoredPair};
pub use bias::{LengthBias, PositionBias};
pub use length_controlled::{Bout, LengthControlled};
pub use rewardbench::RewardBench;
pub use statistics::{Difference, Interval};
pub use two_judges::TwoJudges;
pub use winrate::{Matchup, Verdict, WinRate};
