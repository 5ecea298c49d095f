//! Win rates, accuracies, intervals, exams.

pub mod accuracy;
pub mod best_of;
pub mod bias;
pub mod classified;
pub mod exam;
pub mod judged;
pub mod length_controlled;
pub mod rewardbench;
pub mod sandbox;
pub mod statistics;
pub mod two_judges;
pub mod winrate;

pub use accuracy::{Accuracy, AccuracyReport, ScoredPair};
pub use best_of::{Attempts, BestOf};
pub use bias::{LengthBias, PositionBias};
pub use classified::Classified;
pub use length_controlled::{Bout, LengthControlled};
pub use rewardbench::RewardBench;
pub use statistics::{Difference, Interval};
pub use two_judges::TwoJudges;
pub use winrate::{Matchup, Verdict, WinRate};
