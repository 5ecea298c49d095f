//! Whatever ranks responses, and the pairs made of it.

mod asked;
pub mod audit;
mod command;
#[allow(clippy::module_inception)]
mod judge;
mod one_token;
pub mod pairs;
mod pairwise;
mod remote;
pub mod rules;
pub mod scored;
mod tournament;
pub mod tree;
mod verifiable;
mod verifier;
mod versus;

pub use asked::{asked, question};
pub use audit::Audit;
pub use command::CommandJudge;
pub use judge::{Group, Judge, RewardJudge, RuleJudge};
pub use pairs::{Chosen, Dropped, PairCounts, PairRule};
pub use pairwise::{BothOrders, PairwiseModel, Places};
pub use remote::{Examiner, RemoteGrades, RemotePairs};
pub use rules::{Opinion, Rule};
pub use scored::Scored;
pub use tournament::{Compare, Match, Tournament};
pub use tree::{TreeModel, comparing_model};
pub use verifier::Verifier;
pub use versus::Versus;
