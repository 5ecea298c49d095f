//! The learning rate of every optimiser step, as transformers' `get_scheduler` computes it.

use std::f64::consts::PI;

use crate::recipe::{LrSchedulerType, Train};

/// A learning rate that depends on nothing but the step, so that a resumed run has the same one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    shape: LrSchedulerType,
    peak: f64,
    warmup: usize,
    total: usize,
}

impl Schedule {
    /// The schedule of a recipe over `total` optimiser steps.
    pub fn of(train: &Train, total: usize) -> Self {
        // The first step of a warm-up has the rate 0. Of a single step that is all of them; a ratio, rounded up to one
        // step, is not to void a share of a short training many times its own.
        let warmup = match warmup_steps(train.warmup_steps, train.warmup_ratio, total) {
            _ if total == 1 => 0,
            1 if train.warmup_steps == 0 && total < SHORT => 0,
            warmup => warmup,
        };
        Self::new(train.lr_scheduler_type, train.learning_rate, warmup, total)
    }

    /// A schedule over `total` optimiser steps that reaches `peak` after `warmup` of them.
    pub fn new(shape: LrSchedulerType, peak: f64, warmup: usize, total: usize) -> Self {
        Self {
            shape,
            peak,
            warmup,
            total,
        }
    }

    /// The learning rate of optimiser step `step`, counted from 0. With a warm-up that of step 0 is
    /// 0: as in transformers, the first step only fills the optimiser's moments.
    pub fn at(&self, step: usize) -> f64 {
        self.peak * self.multiplier(step)
    }

    fn multiplier(&self, step: usize) -> f64 {
        if self.shape != LrSchedulerType::Constant && step < self.warmup {
            return step as f64 / self.warmup as f64;
        }
        let left = self.total.saturating_sub(self.warmup).max(1) as f64;
        match self.shape {
            LrSchedulerType::Constant | LrSchedulerType::ConstantWithWarmup => 1.0,
            LrSchedulerType::Linear => self.total.saturating_sub(step) as f64 / left,
            LrSchedulerType::Cosine => {
                let done = (step - self.warmup) as f64 / left;
                0.5 * (1.0 + (PI * done.min(1.0)).cos())
            }
        }
    }
}

/// Of fewer steps than this one is a large share.
const SHORT: usize = 5;

/// The steps of warm-up: `steps` if above 0, else `ratio` of `total` rounded up, as transformers
/// rounds.
fn warmup_steps(steps: usize, ratio: f64, total: usize) -> usize {
    match steps {
        0 => (total as f64 * ratio).ceil() as usize,
        given => given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_step_has_the_learning_rate_of_transformers() {
        let text = include_str!("../../tests/golden/schedules.json");
        let file: Value = serde_json::from_str(text).expect("the golden file is JSON");
        let cases = file["cases"].as_array().expect("a list of cases");
        assert_eq!(cases.len(), 32);
        for case in cases {
            let number = |key: &str| case[key].as_f64().expect(key);
            let lr_scheduler_type: LrSchedulerType =
                serde_json::from_value(case["name"].clone()).expect("a recipe's name");
            let total = number("total") as usize;
            // transformers 5 keeps ratio and steps in one option: below 1 it is the ratio.
            let given = number("warmup");
            let (warmup_steps, warmup_ratio) = if given >= 1.0 {
                (given as usize, 0.0)
            } else {
                (0, given)
            };
            let train = Train {
                lr_scheduler_type,
                warmup_steps,
                warmup_ratio,
                learning_rate: 5e-7,
                ..Train::default()
            };
            let schedule = Schedule::of(&train, total);
            assert_eq!(schedule.warmup, number("warmup_steps") as usize);
            let wanted: Vec<f64> =
                serde_json::from_value(case["multipliers"].clone()).expect("a list of numbers");
            for (step, wanted) in wanted.iter().enumerate() {
                let found = schedule.at(step) / 5e-7;
                assert!(
                    (found - wanted).abs() < 1e-12,
                    "{case}: step {step}: {found}"
                );
            }
        }
    }

    #[test]
    fn a_ratio_that_rounds_up_to_one_step_voids_none_of_a_short_training() {
        let first = |total, warmup_steps| {
            let train = Train {
                warmup_steps,
                warmup_ratio: 0.03,
                learning_rate: 1.0,
                ..Train::default()
            };
            Schedule::of(&train, total).at(0)
        };
        assert_eq!(
            [1, 2, 4, 5].map(|total| first(total, 0)),
            [1.0, 1.0, 1.0, 0.0]
        );
        assert_eq!(first(2, 1), 0.0, "steps that were asked for are taken");
    }

    #[test]
    fn after_the_last_step_nothing_moves_again() {
        for shape in [LrSchedulerType::Cosine, LrSchedulerType::Linear] {
            let schedule = Schedule::new(shape, 1e-3, 2, 10);
            assert_eq!([10, 11, 1000].map(|step| schedule.at(step)), [0.0; 3]);
        }
    }
}
