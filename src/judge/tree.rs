//! A multi-objective model's decision tree as a judge that compares: the tree asks how far the first response leads in each
//! attribute.

use super::judge::{Group, RewardJudge};
use super::pairwise::{BothOrders, PairwiseModel};
use super::tournament::{Compare, Match, tell_unread};
use crate::error::Result;
use crate::model::{Gated, Model, Tree};
use crate::run::interrupt;
use crate::text::Limits;
use crate::trie::Sequence;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The judge that a model which compares two responses is: by its tree where it has one, else by the letter that it writes.
///
/// # Errors
/// A model that scores without a tree, or cannot write a letter.
pub fn comparing_model<'a>(
    model: &'a Model,
    limits: Limits,
    max_tokens_per_batch: usize,
) -> Result<Box<dyn Compare + 'a>> {
    Ok(
        match TreeModel::of(model, limits.max_length, max_tokens_per_batch)? {
            Some(tree) => Box::new(tree),
            None => Box::new(PairwiseModel::new(model, limits, max_tokens_per_batch)?),
        },
    )
}

/// Compares two responses by the rewards of their attributes.
pub struct TreeModel<'a> {
    rewards: RewardJudge<'a>,
    gated: &'a Gated,
    tree: &'a Tree,
    /// Matches with a response that was too long to be read.
    unread: usize,
}

impl<'a> TreeModel<'a> {
    /// A judge from a model; none where it has no tree.
    ///
    /// # Errors
    /// None, as a model with a tree scores.
    pub fn of(model: &'a Model, max_length: usize, budget: usize) -> Result<Option<Self>> {
        let Some((gated, tree)) = model
            .gated
            .as_ref()
            .and_then(|g| Some((g, g.tree.as_ref()?)))
        else {
            return Ok(None);
        };
        let rewards = RewardJudge::new(model, max_length, budget)?;
        Ok(Some(Self {
            rewards,
            gated,
            tree,
            unread: 0,
        }))
    }

    /// The probability that the first of two sequences, already encoded, is better than the second; `id` is their row's name.
    ///
    /// # Errors
    /// A reward that is not finite.
    pub fn pair(&self, id: &str, sequences: &[Sequence]) -> Result<f32> {
        let said = self.rewards.opinions_of(self.gated, id, sequences)?;
        Ok(prefer(self.tree, &said.rewards[0], &said.rewards[1]))
    }
}

/// The probability that the response with the rewards `first` is better than that with `second`, asked in both orders.
pub fn prefer(tree: &Tree, first: &[f32], second: &[f32]) -> f32 {
    let ask = |a: &[f32], b: &[f32]| {
        let differences: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        tree.first(&differences)
    };
    let both = BothOrders {
        given: ask(first, second),
        turned: ask(second, first),
    };
    both.first()
}

impl Compare for TreeModel<'_> {
    fn prefer(&mut self, matches: &[Match]) -> Result<Vec<f32>> {
        // A response that meets several others is read once.
        let mut read: HashMap<*const Group, Vec<Option<Vec<f32>>>> = HashMap::new();
        let mut preferred = Vec::with_capacity(matches.len());
        for m in matches {
            let rewards = match read.entry(std::ptr::from_ref(m.group)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unread) => {
                    if interrupt::requested() {
                        return Err(interrupt::error("stopped while judging"));
                    }
                    unread.insert(self.rewards.attributes(self.gated, m.group)?)
                }
            };
            preferred.push(match (&rewards[m.first], &rewards[m.second]) {
                (Some(first), Some(second)) => prefer(self.tree, first, second),
                // As far as this judge can see neither is the better one.
                _ => {
                    self.unread += 1;
                    0.5
                }
            });
        }
        Ok(preferred)
    }
}

impl Drop for TreeModel<'_> {
    fn drop(&mut self) {
        tell_unread(self.unread, "a response does not fit", self.rewards.limit());
    }
}
