//! Trains a gate on pairs: a Bradley-Terry loss on the difference of the two scores, everything below the gate frozen.

use super::super::gradients::accumulate;
use super::super::optimizer::{Gradients, Optimizer};
use super::super::schedule::Schedule;
use crate::data::Key;
use crate::error::{Error, Result};
use crate::model::Gate;
use crate::model::params::{tracked, untracked};
use crate::recipe::{Gating, LrSchedulerType, Train};
use crate::run::interrupt;
use burn::nn::DropoutConfig;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;

/// Pairs as a gate sees them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contests {
    /// Hidden state where each question ends, `[pairs, hidden]`, row-major.
    pub questions: Vec<f32>,
    /// The debiased rewards of the chosen response less those of the rejected one, `[pairs, attributes]`, row-major.
    pub leads: Vec<f32>,
    /// How many there are.
    pub pairs: usize,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateStep {
    /// From 1.
    pub step: usize,
    /// Mean of `-log sigmoid(score of the chosen - score of the rejected)`.
    pub loss: f64,
    /// Share of the batch whose chosen response scores higher; a tie counts half.
    pub accuracy: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// Trains `gate`: AdamW without weight decay, the rate falling to 0 along half a cosine, batches drawn with replacement from the
/// key and the step. `sink` hears of every step. Returns the gate without autodiff.
///
/// # Errors
/// A loss that is not finite, ^C, or whatever `sink` reports.
pub fn train(
    gate: Gate,
    contests: &Contests,
    how: &Gating,
    key: Key,
    device: &Device,
    sink: &mut dyn FnMut(GateStep) -> Result<()>,
) -> Result<Gate> {
    let tracking = device.clone().autodiff();
    let questions = table(&contests.questions, contests.pairs, &tracking);
    let leads = table(&contests.leads, contests.pairs, &tracking);
    let dropout = DropoutConfig { prob: how.dropout }.init();
    device.seed(key.fold("dropout").seed());
    let mut optimizer = Optimizer::new(&Train::default());
    let schedule = Schedule::new(LrSchedulerType::Cosine, how.learning_rate, 0, how.steps);
    let mut gate = tracked(gate, |_| true);
    for step in 0..how.steps {
        let drawn = draw(contests.pairs, how.batch_size, key.fold_index(step as u64));
        let drawn: Tensor<1, Int> =
            Tensor::from_data(TensorData::new(drawn, [how.batch_size]), &tracking);
        let weights = gate.forward(questions.clone().select(0, drawn.clone()), Some(&dropout));
        let margins = (weights * leads.clone().select(0, drawn)).sum_dim(1);
        let loss = -log_sigmoid(margins.clone()).mean();
        let value = loss.clone().into_scalar::<f64>();
        if !value.is_finite() {
            return Err(Error::data(format!(
                "step {} of the gate was refused: its loss is {value}",
                step + 1
            ))
            .hint(
                "lower multi_objective.gate.learning_rate, or look at the scale of the ratings",
            ));
        }
        let mut gradients = Gradients::new();
        accumulate(&gate, loss.backward(), &mut gradients);
        let learning_rate = schedule.at(step);
        gate = optimizer.step(gate, gradients, learning_rate, 1.0);
        sink(GateStep {
            step: step + 1,
            loss: value,
            accuracy: right(margins),
            learning_rate,
        })?;
        if interrupt::requested() && step + 1 < how.steps {
            return Err(Error::interrupted(
                "stopped while training the gate; what was embedded and probed is saved",
            )
            .hint("run the same command again: the gate, whose steps are short, begins anew"));
        }
    }
    Ok(untracked(gate))
}

/// Rows of a batch, with replacement.
fn draw(pairs: usize, count: usize, key: Key) -> Vec<i32> {
    let mut rng = key.rng();
    let one = || rng.random_range(0..pairs) as i32;
    std::iter::repeat_with(one).take(count).collect()
}

fn right(margins: Tensor<2>) -> f64 {
    let margins: Vec<f32> = margins.into_data().iter::<f32>().collect();
    let credit = |margin: &f32| match margin {
        m if *m > 0.0 => 1.0,
        m if *m < 0.0 => 0.0,
        _ => 0.5,
    };
    margins.iter().map(credit).sum::<f64>() / margins.len() as f64
}

fn table(values: &[f32], rows: usize, device: &Device) -> Tensor<2> {
    let width = values.len() / rows.max(1);
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, width]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GateShape;

    /// Two kinds of questions: in the first the chosen response leads in attribute 0 and trails in 1, in the second the other
    /// way round. No fixed weights are right on more than half.
    fn contests(pairs: usize) -> Contests {
        let mut made = Contests {
            pairs,
            ..Contests::default()
        };
        let mut rng = Key::new(9).fold("contests").rng();
        for i in 0..pairs {
            let kind = if i % 2 == 0 { 1.0f32 } else { -1.0 };
            let noise = || rng.random::<f32>() - 0.5;
            let noise: Vec<f32> = std::iter::repeat_with(noise).take(4).collect();
            made.questions.extend([kind + noise[0], noise[1], noise[2]]);
            made.leads.extend([kind, -kind, noise[3]]);
        }
        made
    }

    fn how() -> Gating {
        Gating {
            hidden_size: 16,
            n_hidden: 2,
            dropout: 0.2,
            temperature: 2.0,
            logit_scale: 1.0,
            steps: 150,
            batch_size: 64,
            learning_rate: 1e-2,
        }
    }

    fn trained(contests: &Contests) -> (Gate, Vec<GateStep>) {
        let device = Device::flex();
        let shape = GateShape {
            hidden_size: 3,
            inner: 16,
            layers: 2,
            attributes: 3,
            temperature: 2.0,
        };
        let gate = Gate::fresh(&shape, Key::new(2), &device).expect("drawn");
        let mut steps = Vec::new();
        let mut sink = |step: GateStep| {
            steps.push(step);
            Ok(())
        };
        let gate = train(gate, contests, &how(), Key::new(3), &device, &mut sink);
        (gate.expect("trained"), steps)
    }

    #[test]
    fn a_gate_learns_which_attribute_counts_for_which_question() {
        let (gate, steps) = trained(&contests(400));
        assert_eq!(steps.len(), 150);
        assert!(
            (steps[0].loss - std::f64::consts::LN_2).abs() < 0.1,
            "{:?}",
            steps[0]
        );
        let last = steps[149];
        assert!(last.accuracy > 0.95 && last.loss < 0.5, "{last:?}");
        assert!(last.learning_rate < 1e-5);
        let device = Device::flex();
        let of = |kind: f32| -> Vec<f32> {
            let question = table(&[kind, 0.0, 0.0], 1, &device);
            gate.forward(question, None)
                .into_data()
                .iter::<f32>()
                .collect()
        };
        assert!(of(1.0)[0] > of(1.0)[1] && of(-1.0)[1] > of(-1.0)[0]);
        // The scale was learned, too.
        let sum: f32 = of(1.0).iter().sum();
        assert!((sum - 1.0).abs() > 1e-3, "{sum}");
    }

    #[test]
    fn a_loss_that_is_not_finite_is_refused() {
        let mut contests = contests(10);
        contests.leads[0] = f32::NAN;
        let device = Device::flex();
        let shape = GateShape {
            hidden_size: 3,
            inner: 4,
            layers: 1,
            attributes: 3,
            temperature: 1.0,
        };
        let gate = Gate::fresh(&shape, Key::new(2), &device).expect("drawn");
        let refused = train(gate, &contests, &how(), Key::new(3), &device, &mut |_| {
            Ok(())
        });
        let error = refused.expect_err("refused");
        assert!(
            error.message.contains("step 1 of the gate was refused"),
            "{error}"
        );
    }
}
