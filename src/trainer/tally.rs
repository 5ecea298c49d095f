//! The metrics of one optimiser step, gathered over its micro-batches with one host read each.

use super::optimizer::to_host;
use crate::objective::{Metric, reward::Reduce};
use burn::tensor::Tensor;

/// Running sums of a step.
#[derive(Default)]
pub struct Tally {
    loss: f64,
    tokens: usize,
    metrics: Vec<(&'static str, Reduce, f64, usize)>,
    extra: Vec<(String, f64)>,
}

impl Tally {
    /// Adds a micro-batch: its share of the loss `[1]`, its metrics, its trie's tokens.
    pub fn add(&mut self, loss: Tensor<1>, metrics: Vec<Metric>, tokens: usize) {
        let metrics: Vec<Metric> = metrics
            .into_iter()
            .filter(|m| m.values.dims()[0] > 0)
            .collect();
        let mut numbers = vec![plain(loss)];
        for metric in &metrics {
            let values = plain(metric.values.clone());
            numbers.push(match metric.reduce {
                Reduce::Mean => values.sum(),
                Reduce::Min => values.min(),
                Reduce::Max => values.max(),
            });
        }
        let numbers = to_host(Tensor::cat(numbers, 0));
        self.loss += f64::from(numbers[0]);
        self.tokens += tokens;
        for (metric, &number) in metrics.iter().zip(&numbers[1..]) {
            self.merge(
                metric.name,
                metric.reduce,
                f64::from(number),
                metric.values.dims()[0],
            );
        }
    }

    fn merge(&mut self, name: &'static str, reduce: Reduce, number: f64, count: usize) {
        match self.metrics.iter_mut().find(|(own, ..)| *own == name) {
            Some((_, _, sum, counted)) => {
                *sum = match reduce {
                    Reduce::Mean => *sum + number,
                    Reduce::Min => sum.min(number),
                    Reduce::Max => sum.max(number),
                };
                *counted += count;
            }
            None => self.metrics.push((name, reduce, number, count)),
        }
    }

    /// The mean loss so far.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Tokens computed so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Adds a number by hand.
    pub fn push(&mut self, name: &str, value: f64) {
        self.extra.push((name.to_owned(), value));
    }

    /// Adds numbers under a prefix.
    pub fn extend(&mut self, prefix: &str, values: Vec<(String, f64)>) {
        let named = values
            .into_iter()
            .map(|(name, value)| (format!("{prefix}{name}"), value));
        self.extra.extend(named);
    }

    /// `loss` first, then the metrics, then what was added by hand.
    pub fn into_values(self) -> Vec<(String, f64)> {
        let mut values = vec![("loss".to_owned(), self.loss)];
        for (name, reduce, number, count) in self.metrics {
            let value = match reduce {
                Reduce::Mean => number / count as f64,
                Reduce::Min | Reduce::Max => number,
            };
            values.push((name.to_owned(), value));
        }
        values.extend(self.extra);
        values
    }
}

/// The values outside autodiff.
fn plain(values: Tensor<1>) -> Tensor<1> {
    if values.device().is_autodiff() {
        values.inner()
    } else {
        values
    }
}
