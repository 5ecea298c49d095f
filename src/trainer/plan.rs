//! Which rows make which optimiser step: a pure function of the counts and the key.

use crate::data::key::Key;
use crate::recipe::Train;
use rand::seq::SliceRandom;

/// The order of a training.
#[derive(Debug, Clone)]
pub struct Plan {
    rows: usize,
    per_step: usize,
    steps_per_epoch: usize,
    /// Optimiser steps in all.
    pub steps: usize,
    key: Key,
}

impl Plan {
    /// A plan over `rows` examples. Every epoch has an order of its own, drawn from `key`.
    pub fn new(rows: usize, train: &Train, key: Key) -> Self {
        let per_step = train.rows_per_step().max(1);
        let steps_per_epoch = rows.div_ceil(per_step);
        let wanted = (train.num_train_epochs * steps_per_epoch as f64).ceil() as usize;
        let steps = match rows {
            0 => 0,
            _ => train.max_steps.unwrap_or(wanted.max(1)),
        };
        Self {
            rows,
            per_step,
            steps_per_epoch,
            steps,
            key: key.fold("order"),
        }
    }

    /// Indices of the rows of optimiser step `step` (from 0).
    pub fn rows_of(&self, step: usize) -> Vec<usize> {
        let epoch = step / self.steps_per_epoch;
        let mut order: Vec<usize> = (0..self.rows).collect();
        order.shuffle(&mut self.key.fold_index(epoch as u64).rng());
        let start = step % self.steps_per_epoch * self.per_step;
        order[start..(start + self.per_step).min(self.rows)].to_vec()
    }

    /// How often the rows have been seen after `steps` steps.
    pub fn epoch(&self, steps: usize) -> f64 {
        steps as f64 / self.steps_per_epoch.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rows: usize, epochs: f64) -> Plan {
        let train = Train {
            num_train_epochs: epochs,
            per_device_train_batch_size: 4,
            gradient_accumulation_steps: 1,
            ..Train::default()
        };
        Plan::new(rows, &train, Key::new(1))
    }

    #[test]
    fn every_epoch_sees_every_row_once_in_an_order_of_its_own() {
        let plan = plan(10, 2.0);
        assert_eq!(plan.steps, 6);
        let epoch = |steps: std::ops::Range<usize>| -> Vec<usize> {
            steps.flat_map(|step| plan.rows_of(step)).collect()
        };
        let (first, second) = (epoch(0..3), epoch(3..6));
        assert_ne!(first, second);
        for mut order in [first, second] {
            order.sort_unstable();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_rows_are_no_steps() {
        assert_eq!(plan(0, 3.0).steps, 0);
    }
}
