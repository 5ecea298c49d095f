//! How long rows are in tokens, and the micro-batches that they will make.

use crate::error::{Error, Result};
use crate::model::memory::Batch;
use crate::pipeline::examples::Prepared;
use crate::recipe::{Optim, Train};
use crate::trainer::Plan;
use crate::trie::{Trie, pack};

/// Rows as a stage will compute them.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    /// How many there are.
    pub rows: usize,
    /// Trie tokens of some of the rows, which stand for all.
    pub tokens: Vec<usize>,
    /// Scored tokens among them, 0 to 1.
    pub scored: f64,
}

/// Rows that are tokenised; larger files are judged by as many of their rows, evenly spread.
const SAMPLE: usize = 512;

/// Steps whose micro-batches are looked at for the largest.
const STEPS: usize = 64;

/// At most [`SAMPLE`] rows, evenly spread.
pub(super) fn sample<T: Clone>(rows: &[T]) -> Vec<T> {
    let every = rows.len().div_ceil(SAMPLE).max(1);
    rows.iter().step_by(every).cloned().collect()
}

impl Sizes {
    /// The sizes of the `sampled` of `rows` rows that were prepared.
    ///
    /// # Errors
    /// When none is left.
    pub fn of(prepared: &Prepared, rows: usize, sampled: usize) -> Result<Self> {
        let tokens: Vec<usize> = prepared
            .examples
            .iter()
            .map(|e| Trie::new(&e.sequences).len())
            .collect();
        let all: usize = tokens.iter().sum();
        if all == 0 {
            return Err(Error::data("none fits max_length"));
        }
        let targets: usize = prepared.examples.iter().map(|e| e.targets()).sum();
        Ok(Self {
            // Rows that are too long go; running text makes several examples of one.
            rows: (rows as f64 * tokens.len() as f64 / sampled as f64).round() as usize,
            tokens,
            scored: targets as f64 / all as f64,
        })
    }

    /// Mean tokens of a row.
    pub fn mean(&self) -> f64 {
        self.tokens.iter().sum::<usize>() as f64 / self.tokens.len() as f64
    }

    /// The largest micro-batch of the first steps, cut as the trainer cuts them.
    pub fn largest(&self, plan: &Plan, train: &Train) -> Batch {
        let mut largest = Batch {
            saved: plan.steps > train.save_steps,
            recomputed: train.gradient_checkpointing,
            packed: train.optim == Optim::Adamw8bit,
            ..Batch::default()
        };
        for step in 0..plan.steps.min(STEPS) {
            let rows = plan.rows_of(step);
            let sizes: Vec<usize> = rows
                .iter()
                .map(|row| self.tokens[row % self.tokens.len()])
                .collect();
            let runs = pack(&sizes, train.max_tokens_per_batch);
            largest.accumulated |= runs.len() > 1;
            for run in runs {
                largest.tokens = largest.tokens.max(sizes[run].iter().sum::<usize>() as u64);
            }
        }
        largest.targets = (largest.tokens as f64 * self.scored) as u64;
        largest
    }
}
