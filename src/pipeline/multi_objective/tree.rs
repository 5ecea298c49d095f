//! How a decision tree ranks pairs, for an evaluation.

use super::super::reward::{fitting, ranked};
use crate::data::Preference;
use crate::error::Result;
use crate::eval::ScoredPair;
use crate::judge::TreeModel;
use crate::model::Model;

/// Every pair that fits with the tree's preference as scores that add up to 1; the others are said.
///
/// # Errors
/// A row that cannot be scored, or no row that fits.
pub fn scored(
    judge: &TreeModel,
    model: &Model,
    rows: &[Preference],
    max_length: usize,
) -> Result<Vec<ScoredPair>> {
    let pairs = fitting(model, rows, max_length)?;
    let mut scores = Vec::with_capacity(pairs.len());
    for pair in &pairs {
        let first = judge.pair(&pair.id, &pair.sequences)?;
        scores.push(vec![first, 1.0 - first]);
    }
    ranked(rows, &pairs, &scores, &model.chat)
}
