//! The training loop: steps from a plan, each a few micro-batches, one update, one record.

use super::checkpoint::Checkpoints;
use super::feed::{Feed, Step, micro_batches};
use super::gradients::{accumulate, add_embedded, global_norm};
use super::optimizer::{Gradients, Optimizer};
use super::plan::Plan;
use super::schedule::Schedule;
use super::tally::Tally;
use crate::data::key::Key;
use crate::error::{Error, Result};
use crate::model::Decoder;
use crate::objective::{Example, Objective};
use crate::recipe::Train;
use crate::run::interrupt;
use crate::trie::Trie;
use duel_backends::clock::{self, Work};
use std::ops::Range;
use std::thread::Scope;
use std::time::Instant;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// What one optimiser step measured.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// Number of the step, from 1.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// TRL's names and values: `loss`, `grad_norm`, `learning_rate`, `epoch`, `num_tokens`, the objective's own.
    pub values: Vec<(String, f64)>,
}

impl StepRecord {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<f64> {
        let found = self.values.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| *value)
    }
}

/// Everything a training is made of, beside the weights.
pub struct Fit<'a> {
    /// Name for messages and progress.
    pub stage: &'a str,
    /// What is minimised.
    pub objective: &'a mut dyn Objective,
    /// The rows.
    pub examples: &'a [Example],
    /// Rows that are only evaluated; may be empty.
    pub held_out: &'a [Example],
    /// The optimiser's settings.
    pub train: &'a Train,
    /// Where the order comes from.
    pub key: Key,
    /// Where to save and to resume from; none trains without a net.
    pub checkpoints: Option<Checkpoints>,
    /// Called after every step; cannot change it.
    pub sink: &'a mut dyn FnMut(&StepRecord) -> Result<()>,
    /// Called with the step that a resumed training continues after.
    pub resumed: &'a mut dyn FnMut(usize) -> Result<()>,
}

impl<'a> Fit<'a> {
    /// Trains `decoder` (tracked, on autodiff) and returns it trained.
    ///
    /// # Errors
    /// A non-finite loss or gradient, a failed write, or ^C (after the step is saved).
    pub fn run(self, decoder: Decoder) -> Result<Decoder> {
        std::thread::scope(|scope| self.run_beside(scope, decoder))
    }

    fn run_beside<'scope>(
        mut self,
        scope: &'scope Scope<'scope, 'a>,
        mut decoder: Decoder,
    ) -> Result<Decoder> {
        let plan = Plan::new(self.examples.len(), self.train, self.key);
        let schedule = Schedule::of(self.train, plan.steps);
        let mut optimizer = Optimizer::new(self.train);
        let mut tokens = 0u64;
        let mut first = 0;
        if let Some(checkpoints) = &self.checkpoints
            && let Some(saved) = checkpoints.latest()?
        {
            decoder = saved.restore(decoder, &mut optimizer, self.objective)?;
            (first, tokens) = (saved.step, saved.tokens);
            (self.resumed)(first)?;
        }
        decoder = decoder.taped(self.train.gradient_checkpointing);
        let budget = self.train.max_tokens_per_batch;
        let mut feed = Feed::start(scope, self.examples, plan.clone(), first, budget);
        let span = info_span!("train", stage = self.stage);
        span.pb_set_length(plan.steps as u64);
        span.pb_set_message(self.stage);
        span.pb_set_position(first as u64);
        let _entered = span.enter();
        for step in first..plan.steps {
            let began = Instant::now();
            let Step { rows, batches } = clock::measure(Work::Data, || feed.next());

            // ---- one optimiser step ----
            let lr = schedule.at(step);
            let (gradients, mut tally) = self.gradients(&decoder, &rows, batches, step)?;
            let norm = global_norm(&gradients);
            refuse_non_finite(step + 1, tally.loss(), norm, &rows)?;
            let clip = match self.train.max_grad_norm {
                limit if limit > 0.0 && norm > limit => limit / (norm + 1e-6),
                _ => 1.0,
            };
            decoder = optimizer.step(decoder, gradients, lr, clip);
            // ----------------------------

            tokens += tally.tokens() as u64;
            tally.push("grad_norm", norm);
            tally.push("learning_rate", lr);
            tally.push("epoch", plan.epoch(step + 1));
            tally.push("num_tokens", tokens as f64);
            tally.push("seconds", began.elapsed().as_secs_f64());
            let last = step + 1 == plan.steps;
            if self
                .train
                .eval_steps
                .is_some_and(|every| (step + 1) % every == 0)
                || last
            {
                tally.extend("eval_", self.evaluate(&decoder)?);
            }
            (self.sink)(&StepRecord {
                step: step + 1,
                steps: plan.steps,
                values: tally.into_values(),
            })?;
            span.pb_inc(1);
            let stop = interrupt::requested();
            if let Some(checkpoints) = &self.checkpoints
                && (stop || (!last && (step + 1) % self.train.save_steps == 0))
            {
                checkpoints.save(step + 1, tokens, &decoder, &optimizer, self.objective)?;
            }
            if stop && !last {
                return Err(interrupt::error(&format!(
                    "stopped after step {} of {} of {}",
                    step + 1,
                    plan.steps,
                    self.stage
                )));
            }
        }
        Ok(decoder.untaped())
    }

    /// Gradients of the mean loss over `rows`, in their micro-batches.
    fn gradients(
        &mut self,
        decoder: &Decoder,
        rows: &[&Example],
        batches: Vec<(Range<usize>, Trie)>,
        step: usize,
    ) -> Result<(Gradients, Tally)> {
        let total: f64 = rows.iter().map(|row| self.objective.weight(row)).sum();
        if total <= 0.0 {
            return Err(Error::data(format!(
                "step {} of {} has nothing to learn from: none of its rows has a scored token",
                step + 1,
                self.stage
            )));
        }
        self.objective.begin_step(rows);
        self.objective.survey(decoder, rows, &batches);
        let mut sum = Gradients::new();
        let mut tally = Tally::default();
        for (run, trie) in batches {
            let outcome = self.objective.loss(decoder, &rows[run], &trie);
            let loss = outcome.loss / total;
            let embedded = decoder.backward(&loss, &mut |graph| {
                accumulate(decoder, graph, &mut sum);
            });
            for rows in embedded {
                add_embedded(decoder, rows, &mut sum);
            }
            tally.add(loss, outcome.metrics, trie.len());
        }
        Ok((sum, tally))
    }

    /// Loss and metrics over the held-out rows, without gradients.
    fn evaluate(&mut self, decoder: &Decoder) -> Result<Vec<(String, f64)>> {
        if self.held_out.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<&Example> = self.held_out.iter().collect();
        evaluate(
            self.objective,
            &decoder.untracked(),
            &rows,
            self.train.max_tokens_per_batch,
        )
    }
}

/// Mean loss and metrics of `rows`, without gradients and without moving the objective's state.
///
/// # Errors
/// When the objective's state cannot be put back.
pub fn evaluate(
    objective: &mut dyn Objective,
    decoder: &Decoder,
    rows: &[&Example],
    budget: usize,
) -> Result<Vec<(String, f64)>> {
    let state = objective.state();
    let total: f64 = rows.iter().map(|row| objective.weight(row)).sum();
    objective.begin_step(rows);
    let batches = micro_batches(rows, budget);
    objective.survey(decoder, rows, &batches);
    let mut tally = Tally::default();
    for (run, trie) in batches {
        let outcome = objective.loss(decoder, &rows[run], &trie);
        tally.add(outcome.loss / total, outcome.metrics, trie.len());
    }
    objective.restore(&state)?;
    Ok(tally.into_values())
}

/// A step with a non-finite loss or gradient must not touch the weights.
fn refuse_non_finite(step: usize, loss: f64, norm: f64, rows: &[&Example]) -> Result<()> {
    if loss.is_finite() && norm.is_finite() {
        return Ok(());
    }
    let ids: Vec<&str> = rows.iter().take(8).map(|row| row.id.as_str()).collect();
    Err(Error::data(format!(
        "step {step} was refused: its loss is {loss} and its gradient norm {norm} (rows {}); the weights are as they were",
        ids.join(", ")
    ))
    .hint("lower the learning rate, or look at these rows with `duel data show`"))
}
