//! Whoever ranks responses: one trait, a reward model or a rule behind it.

use super::rules::Rule;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::run::interrupt;
use crate::text::{Limits, Prompt};
use crate::trie::{Sequence, Trie, pack};

/// A prompt with responses to rank.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The prompt's name.
    pub id: String,
    /// The prompt.
    pub prompt: Prompt,
    /// The responses, without end markers.
    pub responses: Vec<String>,
}

/// Scores responses; higher is better.
pub trait Judge {
    /// One score a response, group by group. `done` is told how many groups are through.
    ///
    /// # Errors
    /// When a group cannot be scored.
    fn scores(&mut self, groups: &[Group], done: &mut dyn FnMut(usize)) -> Result<Vec<Vec<f32>>>;
}

/// A Bradley-Terry model: the score head at the last token of prompt and response.
pub struct RewardJudge<'a> {
    model: &'a Model,
    /// Longest prompt with response; longer prompts lose their beginning.
    max_length: usize,
    /// Tokens computed at once.
    max_tokens_per_batch: usize,
}

impl<'a> RewardJudge<'a> {
    /// A judge from a model with a score head.
    ///
    /// # Errors
    /// A model without one.
    pub fn new(model: &'a Model, max_length: usize, max_tokens_per_batch: usize) -> Result<Self> {
        if model.decoder.score.is_none() {
            return Err(Error::user(format!(
                "{} is no reward model: it has no score head",
                model.path.display()
            ))
            .hint("train one with `duel reward`, or give a `*ForSequenceClassification` model with one label"));
        }
        let longest = model.decoder.spec.max_position_embeddings;
        Ok(Self {
            model,
            max_length: max_length.min(longest),
            max_tokens_per_batch,
        })
    }

    /// One score a sequence, row by row, of sequences that are already encoded. Each row has a name, for errors;
    /// `done` is told how many rows are through.
    ///
    /// # Errors
    /// A reward that is not finite, or ^C.
    pub fn rewards(
        &self,
        rows: &[(&str, &[Sequence])],
        done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Vec<f32>>> {
        let sizes: Vec<usize> = rows.iter().map(|(_, row)| Trie::new(row).len()).collect();
        let mut scores = Vec::with_capacity(rows.len());
        for run in pack(&sizes, self.max_tokens_per_batch) {
            let batch = &rows[run.clone()];
            let flat: Vec<Sequence> = batch.iter().flat_map(|(_, row)| *row).cloned().collect();
            let mut rewards = Vec::new();
            if !flat.is_empty() {
                let data = self.model.decoder.rewards(&Trie::new(&flat)).into_data();
                rewards = data
                    .try_into_vec::<f32>()
                    .map_err(|e| Error::internal(format!("{e:?}")))?;
            }
            let mut rest = rewards.into_iter();
            for (id, row) in batch {
                let rewards: Vec<f32> = rest.by_ref().take(row.len()).collect();
                if let Some(at) = rewards.iter().position(|reward| !reward.is_finite()) {
                    return Err(Error::data(format!(
                        "the reward of response {} of row {id} is {}",
                        at + 1,
                        rewards[at]
                    ))
                    .hint("look at the reward model: its training may have diverged"));
                }
                scores.push(rewards);
            }
            if interrupt::requested() && run.end < rows.len() {
                return Err(interrupt::error("stopped while judging"));
            }
            done(run.end);
        }
        Ok(scores)
    }

    /// The responses as whole turns: a reward model has only seen text that ends properly, so a response
    /// that was cut is judged as if it ended where it stops.
    fn sequences(&self, group: &Group) -> Result<Vec<Sequence>> {
        let limits = Limits {
            leading_bos: self.model.chat.leading_bos(),
            ..Limits::new(self.max_length)
        };
        let mut sequences = Vec::with_capacity(group.responses.len());
        for response in &group.responses {
            let mut row = self
                .model
                .chat
                .response(&group.prompt, response, true)
                .map_err(|e| e.at(format!("row {}", group.id)))?;
            if let crate::text::Fit::Dropped(why) = limits.response(&mut row) {
                return Err(Error::data(format!("row {}: {why}", group.id))
                    .hint(format!("raise max_length ({})", self.max_length)));
            }
            let tokens = [row.prompt, row.answer].concat();
            sequences.push(Sequence::unscored(tokens));
        }
        Ok(sequences)
    }
}

impl Judge for RewardJudge<'_> {
    fn scores(&mut self, groups: &[Group], done: &mut dyn FnMut(usize)) -> Result<Vec<Vec<f32>>> {
        let rows: Vec<Vec<Sequence>> = groups
            .iter()
            .map(|group| self.sequences(group))
            .collect::<Result<_>>()?;
        let ids = groups.iter().map(|group| group.id.as_str());
        let named: Vec<(&str, &[Sequence])> = ids.zip(rows.iter().map(Vec::as_slice)).collect();
        self.rewards(&named, done)
    }
}

/// A rule over the text alone.
pub struct RuleJudge(pub Rule);

impl Judge for RuleJudge {
    fn scores(&mut self, groups: &[Group], done: &mut dyn FnMut(usize)) -> Result<Vec<Vec<f32>>> {
        let score = |text: &String| self.0.score(text) as f32;
        let of_group = |group: &Group| group.responses.iter().map(score).collect();
        let scores = groups.iter().map(of_group).collect();
        done(groups.len());
        Ok(scores)
    }
}
