//! Judging by one token: a causal model that answers with one of two tokens is a classifier.

use super::example::{Example, Metric, Objective, Outcome};
use super::stable::log_sigmoid;
use crate::model::Decoder;
use crate::trie::Trie;
use burn::tensor::{Tensor, TensorData};

/// Binary cross entropy of the logit `logit(yes) - logit(no)` wherever a sequence marks a token: for pairwise preference
/// models (`A` and `B`) and for process reward models (`+` and `-`).
///
/// Published recipes take the next-token loss over the whole answer, of which the letter is one of three or four tokens;
/// here all of the loss is on what decides. Among two tokens it is the same as their cross entropy after a softmax over
/// the two, which is how such models are read.
pub struct Verdict {
    /// The token whose label is 1.
    pub yes: u32,
    /// The token whose label is 0.
    pub no: u32,
}

impl Verdict {
    /// What each target of the trie should be, from 0 to 1, `[targets]`: what the examples say, else what stands there.
    fn labels(&self, examples: &[&Example], trie: &Trie) -> Vec<f32> {
        let of = |e: &&Example| -> Vec<Option<f32>> {
            let of = |i: usize| e.labels.get(i).copied();
            (0..e.targets()).map(of).collect()
        };
        let said = examples.iter().flat_map(of);
        let by_token = |token: u32| f32::from(u8::from(token == self.yes));
        let both = trie.targets.iter().zip(said);
        both.map(|(target, said)| said.unwrap_or(by_token(target.token)))
            .collect()
    }
}

/// `-(y log sigmoid(x) + (1 - y) log sigmoid(-x))`, `[n]` of logits and labels `[n]`.
pub fn binary_cross_entropy(logits: Tensor<1>, labels: Tensor<1>) -> Tensor<1> {
    let yes = log_sigmoid(logits.clone()).mul(labels.clone());
    let no = log_sigmoid(logits.neg()).mul(labels.neg().add_scalar(1.0));
    yes.add(no).neg()
}

impl Objective for Verdict {
    fn weight(&self, example: &Example) -> f64 {
        example.targets() as f64
    }

    fn loss(&mut self, decoder: &Decoder, examples: &[&Example], trie: &Trie) -> Outcome {
        let logits = decoder.verdicts(trie, [self.yes, self.no]);
        let labels = self.labels(examples, trie);
        let decided: Vec<i32> = (0..labels.len())
            .filter(|&i| labels[i] != 0.5)
            .map(|i| i as i32)
            .collect();
        let device = logits.device();
        let count = labels.len();
        let labels = Tensor::<1>::from_data(TensorData::new(labels, [count]), &device);
        // How far the logit lies on the side that it should; of a tie there is none.
        let signs = labels.clone().mul_scalar(2.0).sub_scalar(1.0);
        let count = decided.len();
        let decided = Tensor::from_data(TensorData::new(decided, [count]), &device);
        let margin = logits.clone().without_autodiff().mul(signs);
        let margin = margin.select(0, decided);
        Outcome {
            loss: binary_cross_entropy(logits, labels).sum(),
            metrics: vec![
                Metric::mean("accuracy", margin.clone().greater_elem(0.0).float()),
                Metric::mean("margin", margin),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_loss_and_its_gradient_are_the_textbooks() {
        let device = Device::flex().autodiff();
        let (x, y) = ([0.0f32, 2.0, -3.0, 0.5, 90.0], [1.0f32, 1.0, 0.0, 0.5, 0.0]);
        let logits = Tensor::<1>::from_floats(x, &device).require_grad();
        let losses = binary_cross_entropy(logits.clone(), Tensor::from_floats(y, &device));
        let gradients = losses.clone().sum().backward();
        let host = |t: Tensor<1>| t.try_into_vec_as::<f32>().expect("on the host");
        let gradient = host(logits.grad(&gradients).expect("tracked"));
        for (i, loss) in host(losses).into_iter().enumerate() {
            let (x, y) = (f64::from(x[i]), f64::from(y[i]));
            let p = 1.0 / (1.0 + (-x).exp());
            // log(1 + e^x) - y x, which is finite where log(1 - p) is not.
            let wanted = x.max(0.0) + (-x.abs()).exp().ln_1p() - y * x;
            assert!((f64::from(loss) - wanted).abs() < 1e-5, "{loss} {wanted}");
            assert!((f64::from(gradient[i]) - (p - y)).abs() < 1e-6);
        }
    }
}
