//! A multi-objective head: a linear reward for each attribute, a matrix that takes one of them (usually verbosity) out of the
//! others, and a network that weighs them by the prompt. Names and arithmetic are those of ArmoRM's published checkpoint
//! (`LlamaForRewardModelWithGating`; Wang et al. 2024), so that it and what duel trains are read the same way.

use super::decoder::Decoder;
use super::files::config::for_gating;
use super::files::{Checkpoint, NamedTensor};
use super::linear::{Linear, Weight};
use super::spec::Head;
use super::tree::Tree;
use crate::data::Key;
use crate::error::{Error, Result};
use crate::trie::Trie;
use burn::module::{Module, Param};
use burn::nn::Dropout;
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;
use serde::Deserialize;
use serde_json::Value;

/// The network that weighs attributes by the prompt: linear layers with ReLU between them, and
/// `softmax(logits / temperature) * logit_scale` over the attributes.
#[derive(Module, Debug)]
pub struct Gate {
    /// `layers.0` to `layers.n`, each `[out, in]` with a bias.
    pub layers: Vec<Linear>,
    /// `[1]`; what the weights of the attributes sum to.
    pub logit_scale: Param<Tensor<1>>,
    /// What the logits are divided by.
    #[module(skip)]
    pub temperature: f64,
}

/// Sizes of a gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateShape {
    /// Width of the prompt's hidden state.
    pub hidden_size: usize,
    /// Width of the hidden layers.
    pub inner: usize,
    /// How many there are.
    pub layers: usize,
    /// Attributes.
    pub attributes: usize,
    /// What the logits are divided by.
    pub temperature: f64,
}

impl GateShape {
    /// `(out, in)` of each layer.
    fn sizes(&self) -> Vec<(usize, usize)> {
        let mut input = self.hidden_size;
        let mut sizes = Vec::with_capacity(self.layers + 1);
        for _ in 0..self.layers {
            sizes.push((self.inner, input));
            input = self.inner;
        }
        sizes.push((self.attributes, input));
        sizes
    }
}

impl Gate {
    /// A gate whose values `read` gives by name and shape.
    fn build(
        shape: &GateShape,
        device: &Device,
        mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let mut layers = Vec::new();
        for (i, (out, input)) in shape.sizes().into_iter().enumerate() {
            let weight = read(&format!("layers.{i}.weight"), &[out, input])?;
            let bias = read(&format!("layers.{i}.bias"), &[out])?;
            let weight = Param::from_tensor(matrix(weight, [out, input], device));
            layers.push(Linear {
                bias: Some(vector(bias, device)),
                ..Linear::new(Weight::Whole(weight.set_require_grad(false)))
            });
        }
        Ok(Self {
            layers,
            logit_scale: vector(read("logit_scale", &[1])?, device),
            temperature: shape.temperature,
        })
    }

    /// A new gate, drawn as PyTorch draws linear layers: uniformly within `1 / sqrt(in)`. Its scale is 1.
    ///
    /// # Errors
    /// None: the values are drawn, not read.
    pub fn fresh(shape: &GateShape, key: Key, device: &Device) -> Result<Self> {
        let mut inputs = shape.sizes().into_iter().flat_map(|(_, i)| [i, i]);
        Self::build(shape, device, |name, dims| {
            let Some(input) = inputs.next() else {
                return Ok(vec![1.0]);
            };
            let bound = 1.0 / (input as f32).sqrt();
            let mut rng = key.fold(name).rng();
            let count = dims.iter().product();
            let mut draw = || bound * (2.0 * rng.random::<f32>() - 1.0);
            Ok(std::iter::repeat_with(&mut draw).take(count).collect())
        })
    }

    /// The same with weights that sum to `scale`.
    pub fn with_scale(mut self, scale: f32, device: &Device) -> Self {
        self.logit_scale = vector(vec![scale], device);
        self
    }

    /// The weights of the attributes for prompts whose hidden states are `[prompts, hidden]`: `[prompts, attributes]`, each row
    /// summing to the learned scale. `dropout` lies behind every ReLU while the gate is trained.
    pub fn forward(&self, prompts: Tensor<2>, dropout: Option<&Dropout>) -> Tensor<2> {
        let last = self.layers.len() - 1;
        let layers = self.layers.iter().enumerate();
        let logits = layers.fold(prompts, |x, (i, layer)| {
            let y = layer.forward(x);
            match (i == last, dropout) {
                (true, _) => y,
                (false, None) => relu(y),
                (false, Some(dropout)) => dropout.forward(relu(y)),
            }
        });
        // Over the attributes, never over the two responses of a pair (D3).
        let weights = softmax(logits / self.temperature, 1);
        weights * self.logit_scale.val().unsqueeze()
    }

    fn shape(&self) -> GateShape {
        let dims = |i: usize| self.layers[i].weight.dims();
        let last = self.layers.len() - 1;
        GateShape {
            hidden_size: dims(0)[1],
            inner: if last == 0 { 0 } else { dims(0)[0] },
            layers: last,
            attributes: dims(last)[0],
            temperature: self.temperature,
        }
    }
}

/// The whole head.
#[derive(Debug, Clone)]
pub struct Gated {
    /// Names of the attributes.
    pub attributes: Vec<String>,
    /// `regression_layer.weight [attributes, hidden]`.
    pub regression: Tensor<2>,
    /// `reward_transform_matrix [attributes, attributes]`: debiased rewards are `rewards M`.
    pub transform: Tensor<2>,
    /// The network.
    pub gate: Gate,
    /// Which of two responses is the better one, by the differences of their rewards.
    pub tree: Option<Tree>,
}

/// What the head says of some responses; every list has one entry a response.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Opinions {
    /// The reward of each attribute.
    pub rewards: Vec<Vec<f32>>,
    /// The same times the matrix.
    pub debiased: Vec<Vec<f32>>,
    /// The weight of each debiased reward.
    pub gate: Vec<Vec<f32>>,
    /// The weight of each reward before the matrix: `gate M'`. So `sum gate * debiased = sum coefficient * reward`.
    pub coefficients: Vec<Vec<f32>>,
    /// That sum.
    pub scores: Vec<f32>,
}

/// The head's part of `config.json`, with the defaults of ArmoRM's class.
#[derive(Debug, Deserialize)]
struct GatingConfig {
    #[serde(default = "nineteen")]
    num_objectives: usize,
    #[serde(default = "ten")]
    gating_temperature: f64,
    #[serde(default = "wide")]
    gating_hidden_dim: usize,
    #[serde(default = "three")]
    gating_n_hidden: usize,
    attributes: Option<Vec<String>>,
}

fn nineteen() -> usize {
    ARMORM.len()
}

fn ten() -> f64 {
    10.0
}

fn wide() -> usize {
    1024
}

fn three() -> usize {
    3
}

/// The attributes of the published checkpoint, whose config names none, in the order of its card.
const ARMORM: [&str; 19] = [
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
    "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness",
    "ultrafeedback-honesty",
    "ultrafeedback-helpfulness",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "argilla-judge_lm",
    "code-complexity",
    "code-style",
    "code-explanation",
    "code-instruction-following",
    "code-readability",
];

impl GatingConfig {
    /// The attributes' names: the config's own, those of the published checkpoint, or numbers.
    fn names(&self) -> Result<Vec<String>> {
        let count = self.num_objectives;
        match &self.attributes {
            Some(names) if names.len() == count => Ok(names.clone()),
            Some(names) => Err(Error::data(format!(
                "config.json names {} attributes, but num_objectives is {count}",
                names.len()
            ))
            .hint("take config.json and the weights from the same model")),
            None if count == ARMORM.len() => Ok(ARMORM.map(str::to_owned).to_vec()),
            None => Ok((1..=count).map(|i| format!("objective-{i}")).collect()),
        }
    }
}

impl Gated {
    /// The head of a checkpoint; none where it has another one.
    ///
    /// # Errors
    /// A tensor that is missing or of another shape than `config.json` says.
    pub fn open(checkpoint: &Checkpoint, device: &Device) -> Result<Option<Self>> {
        if checkpoint.spec.head != Head::Gated {
            return Ok(None);
        }
        let at = |error: Error| error.at(checkpoint.path().display());
        let config: GatingConfig = serde_json::from_value(checkpoint.config.clone())
            .map_err(|error| at(Error::data(format!("config.json: {error}"))))?;
        let count = config.num_objectives;
        let hidden = checkpoint.spec.hidden_size;
        let shape = GateShape {
            hidden_size: hidden,
            inner: config.gating_hidden_dim,
            layers: config.gating_n_hidden,
            attributes: count,
            temperature: config.gating_temperature,
        };
        if count == 0 || !(shape.temperature > 0.0 && shape.temperature.is_finite()) {
            return Err(at(Error::data(format!(
                "config.json: num_objectives is {count} and gating_temperature {}",
                shape.temperature
            ))
            .hint(
                "both must be above 0: take config.json from the original model",
            )));
        }
        let regression = checkpoint.read("regression_layer.weight", &[count, hidden])?;
        let transform = checkpoint.read("reward_transform_matrix", &[count, count])?;
        let attributes = config.names().map_err(at)?;
        Ok(Some(Self {
            tree: Tree::open(checkpoint.path(), &attributes)?,
            attributes,
            regression: matrix(regression, [count, hidden], device),
            transform: matrix(transform, [count, count], device),
            gate: Gate::build(&shape, device, |name, dims| {
                checkpoint.read(&format!("gating.{name}"), dims)
            })?,
        }))
    }

    /// The head's tensors by their published names.
    pub fn tensors(&self) -> Vec<NamedTensor> {
        let matrix = |name: &str, value: &Tensor<2>| {
            let shape = value.dims().to_vec();
            (name.to_owned(), shape, host(value.clone()))
        };
        let mut tensors = vec![
            matrix("regression_layer.weight", &self.regression),
            matrix("reward_transform_matrix", &self.transform),
        ];
        for (i, layer) in self.gate.layers.iter().enumerate() {
            let name = format!("gating.layers.{i}");
            tensors.push(matrix(&format!("{name}.weight"), &layer.weight.whole()));
            if let Some(bias) = &layer.bias {
                let shape = bias.val().dims().to_vec();
                tensors.push((format!("{name}.bias"), shape, host(bias.val())));
            }
        }
        let scale = self.gate.logit_scale.val();
        tensors.push(("gating.logit_scale".to_owned(), vec![1], host(scale)));
        tensors
    }

    /// The config of a model with this head, made of its base's.
    ///
    /// # Errors
    /// An architecture that duel does not know.
    pub fn config(&self, base: &Value, pad_token_id: u32) -> Result<Value> {
        let mut config = for_gating(base, pad_token_id)?;
        let shape = self.gate.shape();
        if let Some(fields) = config.as_object_mut() {
            fields.insert("num_objectives".into(), shape.attributes.into());
            fields.insert("attributes".into(), self.attributes.clone().into());
            fields.insert("gating_temperature".into(), shape.temperature.into());
            fields.insert("gating_hidden_dim".into(), shape.inner.into());
            fields.insert("gating_n_hidden".into(), shape.layers.into());
        }
        Ok(config)
    }

    /// What it says of responses with these hidden states, `[responses, hidden]` each: at the last token, and where the
    /// question ends.
    pub fn opinions(&self, [last, question]: [Tensor<2>; 2]) -> Opinions {
        let rewards = last.matmul(self.regression.clone().transpose());
        let debiased = rewards.clone().matmul(self.transform.clone());
        let gate = self.gate.forward(question, None);
        let coefficients = gate.clone().matmul(self.transform.clone().transpose());
        let scores = (gate.clone() * debiased.clone()).sum_dim(1);
        let rows = |values: Tensor<2>| -> Vec<Vec<f32>> {
            let width = values.dims()[1];
            let flat = host(values);
            flat.chunks_exact(width).map(<[f32]>::to_vec).collect()
        };
        Opinions {
            rewards: rows(rewards),
            debiased: rows(debiased),
            gate: rows(gate),
            coefficients: rows(coefficients),
            scores: host(scores),
        }
    }
}

impl Decoder {
    /// Final hidden states, `[sequences, hidden]` each: at the last token of each sequence, and before its one target, which marks
    /// where the question ends ([`Sequence::asked`](crate::trie::Sequence::asked)).
    ///
    /// # Panics
    /// If a sequence has another number of targets.
    pub fn embeddings(&self, trie: &Trie) -> [Tensor<2>; 2] {
        let count = trie.sequences();
        assert_eq!(trie.targets.len(), count, "each sequence has one mark");
        let mut rows = trie.last.clone();
        rows.extend(trie.targets.iter().map(|target| target.row));
        let hidden = self.hidden(trie, &self.rounded_up(rows)).cast(DType::F32);
        [0, count].map(|from| hidden.clone().narrow(0, from, count))
    }
}

fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn vector(values: Vec<f32>, device: &Device) -> Param<Tensor<1>> {
    let count = values.len();
    let tensor = Tensor::from_data(TensorData::new(values, [count]), device);
    Param::from_tensor(tensor).set_require_grad(false)
}

fn host<const D: usize>(values: Tensor<D>) -> Vec<f32> {
    values.into_data().iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(attributes: usize) -> Gate {
        let shape = GateShape {
            hidden_size: 6,
            inner: 8,
            layers: 2,
            attributes,
            temperature: 2.0,
        };
        Gate::fresh(&shape, Key::new(1), &Device::flex()).expect("drawn")
    }

    /// D3: over the two responses of a pair every weight would be one half, whatever the prompt.
    #[test]
    fn d3_the_weights_of_the_attributes_sum_to_the_scale_for_each_prompt() {
        let device = Device::flex();
        let gate = gate(5).with_scale(1.7, &device);
        let prompts: Vec<f32> = (0..12).map(|i| (i as f32 * 1.3).sin() * 9.0).collect();
        // Twice the same prompt, as in a pair, and another one.
        let rows = [&prompts[..6], &prompts[..6], &prompts[6..]].concat();
        let weights = gate.forward(matrix(rows, [3, 6], &device), None);
        let weights = host(weights);
        for row in weights.chunks(5) {
            assert!((row.iter().sum::<f32>() - 1.7).abs() < 1e-5, "{row:?}");
        }
        assert_eq!(weights[..5], weights[5..10]);
        let halves = weights.iter().all(|w| (w - 0.85).abs() < 1e-3);
        assert!(!halves && weights[..5] != weights[10..]);
    }

    #[test]
    fn a_fresh_gate_lies_within_pytorchs_bounds() {
        let gate = gate(4);
        let bounds = [6.0f32, 8.0, 8.0].map(|input| 1.0 / input.sqrt());
        for (layer, bound) in gate.layers.iter().zip(bounds) {
            let weights = host(layer.weight.whole());
            let most = weights.iter().fold(0.0f32, |most, w| most.max(w.abs()));
            assert!(most <= bound && most > bound / 2.0, "{most} {bound}");
        }
        assert_eq!(host(gate.logit_scale.val()), [1.0]);
        assert_eq!(gate.shape().sizes(), [(8, 6), (8, 8), (4, 8)]);
    }
}
