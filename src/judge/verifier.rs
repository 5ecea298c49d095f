//! Process and outcome reward models that answer `+` or `-`: the probability that a step, or a whole solution, is right.

use super::judge::{Group, Judge, Scores};
use super::one_token::probabilities;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::recipe::Aggregate;
use crate::run::interrupt;
use crate::text::{Marks, Prompt, steps};
use crate::trie::{Sequence, Trie, pack, siblings};
use rayon::prelude::*;
use std::ops::Range;

/// Scores solutions by the probability of `+` against `-` after each of their steps.
///
/// A step is read with `+` after every step before it, as the released evaluation does. So all steps of a solution are
/// scored in one forward pass, and what the solutions of a problem share is computed once.
pub struct Verifier<'a> {
    model: &'a Model,
    marks: Marks,
    /// What stands between steps; none where the whole solution has one mark (an outcome model).
    separator: Option<String>,
    aggregate: Aggregate,
    /// Longest problem with its solution and its marks, in tokens.
    max_length: usize,
    max_tokens_per_batch: usize,
}

impl Aggregate {
    /// One score of the probabilities of a solution's steps; there is at least one.
    pub fn of(self, steps: &[f64]) -> f64 {
        match self {
            Self::Mean => steps.iter().sum::<f64>() / steps.len() as f64,
            Self::Min => steps.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Product => steps.iter().product(),
            Self::Last => steps.last().copied().unwrap_or(f64::NAN),
        }
    }
}

impl<'a> Verifier<'a> {
    /// A verifier of a chat model. `separator` stands between the steps of a solution; none takes it as a whole.
    ///
    /// # Errors
    /// A model without a chat template or a head that writes, or without tokens for the marks.
    pub fn new(
        model: &'a Model,
        separator: Option<String>,
        aggregate: Aggregate,
        max_length: usize,
        max_tokens_per_batch: usize,
    ) -> Result<Self> {
        if model.is_reward_model() {
            return Err(Error::user(format!(
                "{} has a score head, so it is no verifier that answers + or -",
                model.path.display()
            ))
            .hint(
                "a scalar outcome model is a reward model: name it with `--model` (in a recipe, in the table `reward`); `--process` \
                 and `--outcome` take chat models that `duel verifier` trained to answer",
            ));
        }
        Ok(Self {
            model,
            marks: Marks::of(&model.chat)?,
            separator,
            aggregate,
            max_length: max_length.min(model.decoder.spec.max_position_embeddings),
            max_tokens_per_batch,
        })
    }

    /// The steps that a solution is scored in: one for an outcome model, and for a text that is all white space.
    pub fn split(&self, solution: &str) -> Vec<String> {
        let whole = || vec![solution.trim().to_owned()];
        let found = self.separator.as_deref().map(|at| steps(solution, at));
        found
            .filter(|found| !found.is_empty())
            .unwrap_or_else(whole)
    }

    /// Whether all of some responses can be read.
    ///
    /// # Errors
    /// A response that cannot be rendered.
    pub fn fits(&self, prompt: &Prompt, responses: &[String]) -> Result<bool> {
        for response in responses {
            if self.sequence(prompt, &self.split(response))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The probability of `+` after each step of each solution, a list of solutions for each problem, handed to `done`
    /// problem by problem; none for a solution that is too long. Problems before `from` are known.
    ///
    /// # Errors
    /// A solution that cannot be rendered, a logit that is not finite, ^C, or whatever `done` reports.
    pub fn probabilities(
        &self,
        problems: &[(&Prompt, Vec<Vec<String>>)],
        from: usize,
        done: &mut dyn FnMut(usize, Vec<Option<Vec<f64>>>) -> Result<()>,
    ) -> Result<()> {
        let encode = |(prompt, solutions): &(&Prompt, Vec<Vec<String>>)| {
            let one = |steps: &Vec<String>| self.sequence(prompt, steps);
            solutions.iter().map(one).collect::<Result<Vec<_>>>()
        };
        let encoded: Vec<Vec<Option<Sequence>>> =
            problems.par_iter().map(encode).collect::<Result<_>>()?;
        let fitting: Vec<Vec<Sequence>> = encoded
            .iter()
            .map(|row| row.iter().flatten().cloned().collect())
            .collect();
        // A problem with a thousand solutions is more than one batch.
        let budget = self.max_tokens_per_batch;
        let parts: Vec<(usize, Range<usize>)> = (0..problems.len())
            .flat_map(|at| {
                siblings(&fitting[at], budget)
                    .into_iter()
                    .map(move |run| (at, run))
            })
            .collect();
        let part = |(at, run): &(usize, Range<usize>)| &fitting[*at][run.clone()];
        let sizes: Vec<usize> = parts.iter().map(|of| Trie::new(part(of)).len()).collect();
        let mut known: Vec<Vec<f64>> = vec![Vec::new(); problems.len()];
        let mut next = from;
        let mut deliver = |known: &mut [Vec<f64>], through: usize| -> Result<()> {
            for at in next..through {
                let mut rest = std::mem::take(&mut known[at]).into_iter();
                let one = |sequence: &Option<Sequence>| {
                    let steps = sequence.as_ref()?.scored_count();
                    Some(rest.by_ref().take(steps).collect())
                };
                done(at, encoded[at].iter().map(one).collect())?;
            }
            next = next.max(through);
            Ok(())
        };
        for run in pack(&sizes, budget) {
            let batch = &parts[run.clone()];
            if batch.last().is_some_and(|(problem, _)| *problem >= from) {
                let sequences: Vec<Sequence> = batch.iter().flat_map(part).cloned().collect();
                let mut found = self.verdicts(&sequences)?.into_iter();
                for of in batch {
                    let steps: usize = part(of).iter().map(Sequence::scored_count).sum();
                    known[of.0].extend(found.by_ref().take(steps));
                }
            }
            // Those whose last part is computed.
            let through = parts
                .get(run.end)
                .map_or(problems.len(), |(problem, _)| *problem);
            deliver(&mut known, through)?;
            if interrupt::requested() && run.end < parts.len() {
                return Err(interrupt::error("stopped while judging"));
            }
        }
        deliver(&mut known, problems.len())
    }

    /// A solution with a `+` after each step, those marks scored; none where it is too long.
    fn sequence(&self, prompt: &Prompt, steps: &[String]) -> Result<Option<Sequence>> {
        let good = vec![true; steps.len()];
        let marked = self.marks.put(&self.model.chat, prompt, steps, &good)?;
        if marked.ids.len() > self.max_length {
            return Ok(None);
        }
        let mut sequence = Sequence::unscored(marked.ids);
        for at in marked.at {
            sequence.scored[at] = true;
        }
        Ok(Some(sequence))
    }

    /// The probability of `+` at every mark.
    fn verdicts(&self, sequences: &[Sequence]) -> Result<Vec<f64>> {
        let marks = [self.marks.good, self.marks.bad];
        probabilities(self.model, marks, sequences, ["a mark", "verifier"])
    }

    /// One score of a solution's steps.
    pub fn score(&self, steps: &[f64]) -> f64 {
        self.aggregate.of(steps)
    }
}

impl Judge for Verifier<'_> {
    fn scores(&mut self, groups: &[Group], from: usize, done: &mut Scores) -> Result<()> {
        let split = |group: &Group| -> Vec<Vec<String>> {
            group
                .responses
                .iter()
                .map(|text| self.split(text))
                .collect()
        };
        let problems: Vec<(&Prompt, Vec<Vec<String>>)> = groups
            .iter()
            .map(|group| (&group.prompt, split(group)))
            .collect();
        self.probabilities(&problems, from, &mut |at, found| {
            let group = &groups[at];
            let score = |(i, steps): (usize, Option<Vec<f64>>)| {
                let steps = steps.ok_or_else(|| {
                    Error::data(format!(
                        "row {}: response {} does not fit into {} tokens with its problem",
                        group.id,
                        i + 1,
                        self.max_length
                    ))
                    .hint("raise max_length, or draw shorter responses (max_new_tokens)")
                });
                steps.map(|steps| self.score(&steps) as f32)
            };
            let scores: Result<Vec<f32>> = found.into_iter().enumerate().map(score).collect();
            done(group, scores?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_one_score_in_four_ways() {
        let steps = [0.9, 0.5, 0.8];
        let close = |aggregate: Aggregate, wanted: f64| {
            assert!(
                (aggregate.of(&steps) - wanted).abs() < 1e-12,
                "{aggregate:?}"
            );
        };
        close(Aggregate::Mean, 2.2 / 3.0);
        close(Aggregate::Min, 0.5);
        close(Aggregate::Product, 0.36);
        close(Aggregate::Last, 0.8);
    }
}
