//! Named diagnoses: what a run notices about itself, with the mend. Pure: numbers in, sentences
//! out.
//!
//! A [`Diagnoser`] is fed the audit of a data set and the metrics of every optimiser step on it, a
//! [`RoundDiagnoser`] the audit of every online round. Each gives a diagnosis once. Thresholds are constants with their reasons;
//! none of them stops a run.

use std::collections::{BTreeSet, VecDeque};
use std::f64::consts::LN_2;

mod judges;
mod limits;
mod rounds;
#[cfg(test)]
mod tests;

use limits::*;

pub use judges::{HeldOut, ties_everything};
pub use rounds::{RoundAudit, RoundDiagnoser};

/// How much a diagnosis matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The result may be worse than it could be.
    Warning,
    /// The result is not to be trusted.
    Problem,
}

/// Something the run noticed about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Its short name, for example `loss-stuck-at-ln2`.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The fact, with its numbers.
    pub message: String,
    /// What to change.
    pub mend: String,
    /// The optimiser step, or the round, at which it was noticed; 0 for a data set.
    pub step: u64,
}

/// What is being trained, as far as a diagnosis depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watched {
    /// Whether ln 2 is the loss of a coin flip: DPO's sigmoid losses, and Bradley-Terry without
    /// margin and centering.
    pub guess_is_ln2: bool,
    /// Bits of the significand of the weights the optimiser writes to: 24 for f32, 11 for f16, 8
    /// for bf16.
    pub significand_bits: i32,
    /// Root mean square of those of them that are matrices; 0.02 is usual.
    pub weight_rms: f64,
}

/// The metrics of one optimiser step, in TRL's sense. What an objective does not have is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepMetrics {
    /// The optimiser step, from 0.
    pub step: u64,
    /// `loss`.
    pub loss: f64,
    /// `grad_norm`, before clipping.
    pub grad_norm: f64,
    /// `learning_rate` of this step.
    pub learning_rate: f64,
    /// `rewards/accuracies`, or `accuracy` of a reward model.
    pub accuracy: Option<f64>,
    /// `rewards/margins`, or `margin` of a reward model.
    pub margin: Option<f64>,
    /// `logps/chosen`, nats per response.
    pub chosen_logp: Option<f64>,
}

/// What became of the rows of a data set on their way to the loss. Counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DataAudit {
    /// Rows that are trained on.
    pub rows: usize,
    /// Rows of which something was cut to fit the length limit.
    pub truncated: usize,
    /// Pairs whose chosen and rejected tokens are equal.
    pub equal_pairs: usize,
    /// Rows of files with a response that does not end in the end-of-turn marker.
    pub unended: usize,
    /// Rows with a generated response that was cut before it ended.
    pub cut: usize,
}

impl std::ops::AddAssign for DataAudit {
    fn add_assign(&mut self, other: Self) {
        let Self {
            rows,
            truncated,
            equal_pairs,
            unended,
            cut,
        } = other;
        self.rows += rows;
        self.truncated += truncated;
        self.equal_pairs += equal_pairs;
        self.unended += unended;
        self.cut += cut;
    }
}

/// The names of the diagnoses given so far.
#[derive(Debug, Clone, Default)]
struct Given(BTreeSet<&'static str>);

impl Given {
    /// Those of `found` that are new, noticed at `step`.
    fn new_ones<const N: usize>(
        &mut self,
        found: [Option<Diagnosis>; N],
        step: u64,
    ) -> Vec<Diagnosis> {
        let found = found.into_iter().flatten();
        let new = found.filter(|diagnosis| self.0.insert(diagnosis.name));
        new.map(|diagnosis| Diagnosis { step, ..diagnosis })
            .collect()
    }
}

/// Watches one training stage.
#[derive(Debug, Clone)]
pub struct Diagnoser {
    watched: Watched,
    given: Given,
    recent: VecDeque<StepMetrics>,
    /// Losses since the warm-up, at half the peak learning rate or more.
    steady: VecDeque<f64>,
    /// `chosen_logp` of the first steps.
    first_logps: Vec<f64>,
    peak_rate: f64,
    /// The stage's last step, where it is known.
    last_step: Option<u64>,
}

impl Diagnoser {
    /// One that has seen nothing.
    pub fn new(watched: Watched) -> Self {
        Self {
            watched,
            given: Given::default(),
            recent: VecDeque::new(),
            steady: VecDeque::new(),
            first_logps: Vec::new(),
            peak_rate: 0.0,
            last_step: None,
        }
    }

    /// The names of all diagnoses given so far.
    pub fn given(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.given.0.iter().copied()
    }

    /// Takes in a step and gives what is new.
    pub fn step(&mut self, metrics: &StepMetrics) -> Vec<Diagnosis> {
        let rising = self
            .recent
            .back()
            .is_none_or(|last| metrics.learning_rate > last.learning_rate);
        self.remember(metrics);
        let found = [
            self.stuck_at_ln2(),
            self.vanishing(),
            self.exploding(),
            self.equal_rewards_in_training(),
            self.falling_likelihood(),
            self.rate_below_dtype(rising),
        ];
        self.given.new_ones(found, metrics.step)
    }

    /// Takes in the audit of a data set and gives what is new.
    pub fn data(&mut self, audit: &DataAudit) -> Vec<Diagnosis> {
        let found = [
            equal_pairs(audit),
            truncated_rows(audit),
            unended_rows(audit),
            cut_rows(audit),
        ];
        self.given.new_ones(found, 0)
    }

    /// Takes in how many optimiser steps the stage has: one that ends before a full window is judged at its end.
    pub fn planned(&mut self, steps: usize) {
        self.last_step = (steps as u64).checked_sub(1);
    }

    /// Takes in how many optimiser steps there will be, by a recipe's own `max_steps` or by the rows, and gives what is
    /// new.
    pub fn length(&mut self, steps: usize, wanted: bool) -> Vec<Diagnosis> {
        let found = [(steps < FEW_STEPS && !wanted).then(|| {
            let plural = if steps == 1 { "" } else { "s" };
            warning(
                "few-steps",
                format!("{steps} optimiser step{plural} in all: next to nothing is learnt"),
                "lower gradient_accumulation_steps, raise num_train_epochs, or give more rows",
            )
        })];
        self.given.new_ones(found, 0)
    }

    fn remember(&mut self, metrics: &StepMetrics) {
        push(&mut self.recent, *metrics, WINDOW + IN_A_ROW);
        if metrics.learning_rate > self.peak_rate {
            self.peak_rate = metrics.learning_rate;
            self.steady.clear(); // still warming up
        }
        if metrics.learning_rate > 0.0 && metrics.learning_rate >= 0.5 * self.peak_rate {
            push(&mut self.steady, metrics.loss, WINDOW);
        }
        if let Some(logp) = metrics
            .chosen_logp
            .filter(|_| self.first_logps.len() < HALF_WINDOW)
        {
            self.first_logps.push(logp);
        }
    }

    /// The last `count` steps, if there were so many and all of them could move weights.
    fn last(&self, count: usize) -> Option<impl Iterator<Item = &StepMetrics> + Clone> {
        let start = self.recent.len().checked_sub(count)?;
        let last = self.recent.range(start..);
        last.clone().all(|m| m.learning_rate > 0.0).then_some(last)
    }

    fn stuck_at_ln2(&self) -> Option<Diagnosis> {
        let seen = self.steady.len();
        let ends = self.recent.back().map(|m| m.step) == self.last_step;
        let full = seen == WINDOW || (ends && seen >= SHORT_WINDOW);
        let near = self
            .steady
            .iter()
            .all(|loss| (loss - LN_2).abs() < LN2_NOISE);
        let late = self.steady.range(seen - seen.div_ceil(2)..);
        let late = mean(late.copied());
        let guesses = self.watched.guess_is_ln2 && full && near;
        (guesses && (late - LN_2).abs() < LN2_STUCK).then(|| {
            warning(
                "loss-stuck-at-ln2",
                format!("the loss is still {late:.4} after {seen} steps: ln 2 = 0.6931 is a coin flip"),
                "raise learning_rate (10 times is a fair trial); if that changes nothing, look at the pairs with \
                 `duel data show`: chosen and rejected must differ within max_length",
            )
        })
    }

    fn vanishing(&self) -> Option<Diagnosis> {
        let largest = self
            .last(REPEATS)?
            .fold(0.0f64, |most, m| most.max(m.grad_norm));
        let settled = |m: &StepMetrics| m.loss.abs() < SETTLED_LOSS && m.accuracy == Some(1.0);
        if largest < VANISHED && self.last(REPEATS)?.all(settled) {
            let fact = format!(
                "all pairs are told apart at a loss below {SETTLED_LOSS:.0e}: nothing is left to learn"
            );
            return Some(warning(
                "gradient-vanishing",
                format!(
                    "{fact} (gradient norm at most {largest:.1e}, learning_rate {:.0e})",
                    self.peak_rate
                ),
                "if that came within a few steps, learning_rate is far too high: 1e-6 to 1e-4 is usual; a beta far too \
                 large has the same effect",
            ));
        }
        (largest < VANISHED).then(|| {
            warning(
                "gradient-vanishing",
                format!("the gradient's norm was at most {largest:.1e} for {REPEATS} steps: nothing is learnt"),
                "look for pairs of equal tokens and for responses without loss tokens with `duel data show`; a \
                 learning_rate or a beta far too large has the same effect",
            )
        })
    }

    fn exploding(&self) -> Option<Diagnosis> {
        let last = self.recent.back()?;
        if !(last.grad_norm.is_finite() && last.loss.is_finite()) {
            return Some(problem(
                "gradient-exploding",
                format!(
                    "loss {} and gradient norm {} at step {}",
                    last.loss, last.grad_norm, last.step
                ),
                "lower learning_rate or beta; the rows of that step are in the error that refused it",
            ));
        }
        let (before, tail) = split_tail(&self.recent, IN_A_ROW)?;
        let usual = median(before.iter().map(|m| m.grad_norm))?;
        let limit = EXPLODED_LEAST.max(EXPLODED_TIMES * usual);
        tail.iter().all(|m| m.grad_norm > limit).then(|| {
            problem(
                "gradient-exploding",
                format!("the gradient's norm was {:.3} and is {:.3}, {IN_A_ROW} steps in a row", usual, last.grad_norm),
                "lower learning_rate, lengthen the warm-up (warmup_ratio), and keep max_grad_norm at 1.0",
            )
        })
    }

    fn equal_rewards_in_training(&self) -> Option<Diagnosis> {
        let equal = |m: &StepMetrics| {
            m.accuracy == Some(0.0) && m.margin.is_some_and(|margin| margin.abs() < EQUAL_REWARDS)
        };
        self.last(REPEATS)?.all(equal).then(|| {
            problem(
                "rewards-all-equal",
                format!("chosen and rejected had the same reward for {REPEATS} steps"),
                "of a reward model: the pooled token must lie in the response (a pad token that is also the end \
                 marker makes it the prompt's end); of a policy: its weights do not move, raise learning_rate",
            )
        })
    }

    fn falling_likelihood(&self) -> Option<Diagnosis> {
        let late: Option<Vec<f64>> = self.last(HALF_WINDOW)?.map(|m| m.chosen_logp).collect();
        if self.recent.len() < WINDOW || self.first_logps.len() < HALF_WINDOW {
            return None;
        }
        let (first, late) = (
            mean(self.first_logps.iter().copied()),
            mean(late?.into_iter()),
        );
        let fall = first - late;
        (fall > FALL_NATS && fall > FALL_SHARE * first.abs()).then(|| {
            warning(
                "kl-running-away",
                format!("the log-prob of the chosen responses fell from {first:.0} to {late:.0} nats"),
                "raise beta, lower learning_rate, or add rpo_alpha = 1.0 (the likelihood of the chosen response)",
            )
        })
    }

    fn rate_below_dtype(&self, rising: bool) -> Option<Diagnosis> {
        // Half the gap to the next number is at least 2^-(bits + 1) of a number.
        let smallest = self.watched.weight_rms * 0.5f64.powi(self.watched.significand_bits + 1);
        let seen = self.recent.len() >= HALF_WINDOW && !rising;
        (seen && self.peak_rate < smallest).then(|| {
            problem(
                "learning-rate-below-dtype",
                format!(
                    "AdamW moves a weight by about learning_rate = {:.1e} a step; weights of size {:.2e} with {} \
                     significant bits round steps below {smallest:.1e} away",
                    self.peak_rate, self.watched.weight_rms, self.watched.significand_bits
                ),
                "raise learning_rate above that: 1e-6 and more is usual",
            )
        })
    }
}

fn equal_pairs(audit: &DataAudit) -> Option<Diagnosis> {
    let share = share(audit.equal_pairs, audit.rows)?;
    let severity = if share > EQUAL_PAIRS_MANY {
        Severity::Problem
    } else {
        Severity::Warning
    };
    (audit.equal_pairs > 0).then(|| {
        of(
            severity,
            "pairs-equal",
            format!("{} of {} pairs are equal token by token ({})", audit.equal_pairs, audit.rows, percent(share)),
            "raise max_length so that the responses keep where they differ, or drop rows that are too long",
        )
    })
}

fn truncated_rows(audit: &DataAudit) -> Option<Diagnosis> {
    let share = share(audit.truncated, audit.rows)?;
    let severity = if share > TRUNCATED_MANY {
        Severity::Problem
    } else {
        Severity::Warning
    };
    (share > TRUNCATED_ROWS).then(|| {
        of(
            severity,
            "share-truncated",
            format!(
                "{} of {} rows were cut to max_length ({})",
                audit.truncated,
                audit.rows,
                percent(share)
            ),
            "raise max_length if memory allows, or drop rows that are too long",
        )
    })
}

fn unended_rows(audit: &DataAudit) -> Option<Diagnosis> {
    let share = share(audit.unended, audit.rows)?;
    let severity = if share > UNENDED_MOST {
        Severity::Problem
    } else {
        Severity::Warning
    };
    (share > UNENDED_ROWS).then(|| {
        of(
            severity,
            "end-marker-missing",
            format!("{} of the rows have a response without an end-of-turn marker", percent(share)),
            "look at the last tokens with `duel data show`: the chat template must close the assistant's turn, and \
             rows of token ids must end in the marker, or the model never learns to stop",
        )
    })
}

fn cut_rows(audit: &DataAudit) -> Option<Diagnosis> {
    let share = share(audit.cut, audit.rows)?;
    let severity = if share > UNENDED_MOST {
        Severity::Problem
    } else {
        Severity::Warning
    };
    (share > UNENDED_ROWS).then(|| {
        of(
            severity,
            "responses-cut",
            format!("{} of the pairs have a generated response that was cut before it ended", percent(share)),
            "raise max_new_tokens, or keep cut responses from being chosen with missing_eos_penalty; a cut response \
             teaches no ending",
        )
    })
}

fn of(severity: Severity, name: &'static str, message: String, mend: &str) -> Diagnosis {
    Diagnosis {
        name,
        severity,
        message,
        mend: mend.to_owned(),
        step: 0,
    }
}

fn warning(name: &'static str, message: String, mend: &str) -> Diagnosis {
    of(Severity::Warning, name, message, mend)
}

fn problem(name: &'static str, message: String, mend: &str) -> Diagnosis {
    of(Severity::Problem, name, message, mend)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// `part / whole`, none of nothing.
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn push<T>(window: &mut VecDeque<T>, value: T, most: usize) {
    if window.len() == most {
        window.pop_front();
    }
    window.push_back(value);
}

/// The steps before the last `tail`, and those, once there are enough before to know what is usual.
fn split_tail(
    steps: &VecDeque<StepMetrics>,
    tail: usize,
) -> Option<(Vec<StepMetrics>, Vec<StepMetrics>)> {
    let before = steps
        .len()
        .checked_sub(tail)
        .filter(|count| *count >= HALF_WINDOW)?;
    let copy = |range: std::ops::Range<usize>| steps.range(range).copied().collect();
    Some((copy(0..before), copy(before..steps.len())))
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
