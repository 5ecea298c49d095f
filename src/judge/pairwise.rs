//! A pairwise preference model: a chat model that is shown two responses and answers with the letter of the better one
//! (RLHFlow's pair-preference models; Dong et al. 2024, section 3.2).

use super::judge::Group;
use super::one_token::probabilities;
use super::tournament::{Compare, Match, tell_unread};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::run::interrupt;
use crate::text::{Answer, Comparison, Letters, Limits};
use crate::trie::{Sequence, Trie, pack};

/// Compares two responses, each pair in both orders.
pub struct PairwiseModel<'a> {
    model: &'a Model,
    letters: Letters,
    limits: Limits,
    max_tokens_per_batch: usize,
    /// What both orders of every comparison so far said.
    pub places: Places,
    /// Matches that were too long to be read.
    unread: usize,
}

/// The probability of the letter `A` in both orders of a comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BothOrders {
    /// As the responses were given.
    pub given: f64,
    /// With the responses in each other's place.
    pub turned: f64,
}

impl BothOrders {
    /// The probability that the first response is the better one, whatever the place: `(P(A) + 1 - P'(A)) / 2`, rounded so
    /// that the probability of the other response, computed in its turn, is 1 less this one exactly.
    pub fn first(self) -> f32 {
        /// Steps of f32 below 1: multiples of one have exact sums and complements.
        const STEP: f64 = 1.0 / (1 << 24) as f64;
        let lead = (self.given - self.turned) / 2.0;
        (0.5 + (lead / STEP).round() * STEP) as f32
    }
}

/// How much a judge looks at the place instead of the response.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Places {
    comparisons: usize,
    of_first: f64,
    turned_over: usize,
}

impl Places {
    /// Takes in what both orders of one more comparison said.
    pub fn count(&mut self, both: BothOrders) {
        self.comparisons += 1;
        self.of_first += (both.given + both.turned) / 2.0;
        // The same letter in both orders is another response.
        let same_letter = (both.given > 0.5) == (both.turned > 0.5);
        self.turned_over += usize::from(same_letter);
    }

    /// The mean probability of the first place over both orders: 0.5 of a judge that does not care.
    pub fn first_place(&self) -> Option<f64> {
        (self.comparisons > 0).then(|| self.of_first / self.comparisons as f64)
    }

    /// The share of comparisons whose better response is another one in the other order.
    pub fn turned_over(&self) -> Option<f64> {
        (self.comparisons > 0).then(|| self.turned_over as f64 / self.comparisons as f64)
    }
}

impl<'a> PairwiseModel<'a> {
    /// A judge from a chat model. `limits` hold for the question with its letter.
    ///
    /// # Errors
    /// A model without a chat template or a head that writes, or without tokens for the letters.
    pub fn new(model: &'a Model, limits: Limits, max_tokens_per_batch: usize) -> Result<Self> {
        if model.is_reward_model() {
            return Err(Error::user(format!(
                "{} is a reward model with a score head, not a pairwise one",
                model.path.display()
            ))
            .hint("name it as the reward model instead; a pairwise model is a chat model that `duel pairwise` trained, or a multi-objective one with a decision tree"));
        }
        Ok(Self {
            model,
            letters: Letters::of(&model.chat)?,
            limits,
            max_tokens_per_batch,
            places: Places::default(),
            unread: 0,
        })
    }

    /// Both orders of each comparison; none where one is too long. The two orders of a comparison lie in one trie, with
    /// the context that they share computed once.
    ///
    /// # Errors
    /// A comparison that cannot be rendered, a logit that is not finite, or ^C.
    pub fn ask(&mut self, comparisons: &[Comparison]) -> Result<Vec<Option<BothOrders>>> {
        let mut asked = Vec::with_capacity(comparisons.len());
        for comparison in comparisons {
            let sequence = |comparison: &Comparison| -> Result<Option<Sequence>> {
                let asked = comparison.encode(&self.model.chat, &self.limits)?;
                Ok(asked.map(|asked| Sequence::response(&asked.ids, &[self.letters.a])))
            };
            let both = (sequence(comparison)?, sequence(&comparison.turned())?);
            asked.push(match both {
                (Some(given), Some(turned)) => vec![given, turned],
                _ => Vec::new(),
            });
        }
        let sizes: Vec<usize> = asked.iter().map(|both| Trie::new(both).len()).collect();
        let mut answers = Vec::with_capacity(asked.len());
        for run in pack(&sizes, self.max_tokens_per_batch) {
            let batch: Vec<Sequence> = asked[run.clone()].iter().flatten().cloned().collect();
            let mut first = self.probabilities(&batch)?.into_iter();
            for both in &asked[run.clone()] {
                let mut next = || first.next().unwrap_or(f64::NAN);
                answers.push((!both.is_empty()).then(|| BothOrders {
                    given: next(),
                    turned: next(),
                }));
            }
            if interrupt::requested() && run.end < asked.len() {
                return Err(interrupt::error("stopped while judging"));
            }
        }
        for both in answers.iter().flatten() {
            self.places.count(*both);
        }
        Ok(answers)
    }

    /// The probability of the letter `A` against `B` after each sequence.
    fn probabilities(&self, sequences: &[Sequence]) -> Result<Vec<f64>> {
        let letters = [self.letters.a, self.letters.b];
        probabilities(
            self.model,
            letters,
            sequences,
            ["a letter", "pairwise model"],
        )
    }

    fn comparison(&self, group: &Group, [first, second]: [usize; 2]) -> Result<Comparison> {
        let [first, second] = [first, second].map(|at| Answer::Text(group.responses[at].clone()));
        Comparison::of(&self.model.chat, &group.prompt, &first, &second)
            .map_err(|e| e.at(format!("row {}", group.id)))
    }
}

impl Compare for PairwiseModel<'_> {
    fn prefer(&mut self, matches: &[Match]) -> Result<Vec<f32>> {
        let comparisons: Vec<Comparison> = matches
            .iter()
            .map(|m| self.comparison(m.group, [m.first, m.second]))
            .collect::<Result<_>>()?;
        let answers = self.ask(&comparisons)?;
        self.unread += answers.iter().filter(|both| both.is_none()).count();
        // Neither is the better one as far as this judge can see.
        let preferred = |both: Option<BothOrders>| both.map_or(0.5, BothOrders::first);
        Ok(answers.into_iter().map(preferred).collect())
    }
}

impl Drop for PairwiseModel<'_> {
    /// A judge that goes by the place is worth knowing of wherever it judges.
    fn drop(&mut self) {
        let why = "the responses do not fit side by side";
        tell_unread(self.unread, why, self.limits.max_length);
        if let (Some(first), Some(turned)) = (self.places.first_place(), self.places.turned_over())
        {
            tracing::info!(
                "judge: the first place has probability {first:.2} in the mean, and the other order turns {:.0} % of the \
                 comparisons over",
                100.0 * turned
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_probabilities_of_a_pair_sum_to_one_exactly() {
        for i in 0..=1000 {
            for j in 0..=100 {
                let (given, turned) = (f64::from(i) / 1000.0, (f64::from(j) / 100.0).powi(3));
                let of_first = BothOrders { given, turned }.first();
                // The question asked the other way round reads the same two forward passes.
                let of_second = BothOrders {
                    given: turned,
                    turned: given,
                }
                .first();
                assert_eq!(of_first + of_second, 1.0, "{given} {turned}");
                let exact = (given + 1.0 - turned) / 2.0;
                assert!((f64::from(of_first) - exact).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn a_judge_that_always_names_one_letter_has_no_opinion_and_is_found_out() {
        let mut places = Places::default();
        assert_eq!(places.first_place(), None);
        let always_a = BothOrders {
            given: 0.9,
            turned: 0.9,
        };
        assert_eq!(always_a.first(), 0.5);
        places.count(always_a);
        assert_eq!(places.turned_over(), Some(1.0));
        places.count(BothOrders {
            given: 0.9,
            turned: 0.1,
        });
        assert_eq!(places.turned_over(), Some(0.5));
        assert!((places.first_place().unwrap() - 0.7).abs() < 1e-12);
    }
}
