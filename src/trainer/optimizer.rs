//! AdamW over named parameters. The state is flat: two vectors for each trained parameter.

use crate::error::Result;
use crate::model::Decoder;
use crate::model::files::{NamedTensor, Safetensors, StoreDtype, write_safetensors};
use crate::model::params::Remap;
use crate::recipe::Train;
use burn::tensor::{Device, Tensor, TensorData};
use duel_backends::ops;
use std::collections::BTreeMap;
use std::path::Path;

/// Gradients by parameter name, flat.
pub type Gradients = BTreeMap<String, Tensor<1>>;

/// AdamW's moments and settings.
pub struct Optimizer {
    moments: BTreeMap<String, (Tensor<1>, Tensor<1>)>,
    steps: usize,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
}

impl Optimizer {
    /// A fresh optimiser with the settings of `train`.
    pub fn new(train: &Train) -> Self {
        Self {
            moments: BTreeMap::new(),
            steps: 0,
            beta1: train.adam_beta1,
            beta2: train.adam_beta2,
            eps: train.adam_epsilon,
            weight_decay: train.weight_decay,
        }
    }

    /// One update of every parameter that has a gradient, which is multiplied with `grad_scale` first.
    /// Matrices decay, norms and biases do not, as in transformers.
    pub fn step(
        &mut self,
        decoder: Decoder,
        gradients: Gradients,
        lr: f64,
        grad_scale: f64,
    ) -> Decoder {
        self.steps += 1;
        let mut update = Update {
            optimizer: self,
            gradients,
            lr,
            grad_scale,
        };
        decoder.remap(&mut update)
    }

    /// Writes the moments to a safetensors file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors: Vec<NamedTensor> = Vec::with_capacity(2 * self.moments.len());
        for (name, (first, second)) in &self.moments {
            for (moment, values) in [("exp_avg", first), ("exp_avg_sq", second)] {
                let values = to_host(values.clone());
                tensors.push((format!("{name}.{moment}"), vec![values.len()], values));
            }
        }
        write_safetensors(path, &tensors, StoreDtype::F32)
    }

    /// Reads what [`Optimizer::save`] wrote after `steps` updates.
    ///
    /// # Errors
    /// When the file is missing, damaged, or of other parameters.
    pub fn load(&mut self, path: &Path, steps: usize, decoder: &Decoder) -> Result<()> {
        let file = Safetensors::open_file(path)?;
        let device = decoder.device().inner();
        self.steps = steps;
        self.moments.clear();
        for parameter in decoder.parameters().into_iter().filter(|p| p.trained) {
            let count = parameter.shape.iter().product();
            let read = |moment: &str| -> Result<Tensor<1>> {
                let name = format!("{}.{moment}", parameter.name);
                Ok(from_host(file.read(&name, &[count])?, &device))
            };
            let moments = (read("exp_avg")?, read("exp_avg_sq")?);
            self.moments.insert(parameter.name, moments);
        }
        Ok(())
    }
}

/// The elements on the host.
pub(super) fn to_host(values: Tensor<1>) -> Vec<f32> {
    values
        .into_data()
        .try_into_vec()
        .expect("parameters are f32")
}

fn from_host(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

struct Update<'a> {
    optimizer: &'a mut Optimizer,
    gradients: Gradients,
    lr: f64,
    grad_scale: f64,
}

impl Remap for Update<'_> {
    fn remap<const D: usize>(&mut self, name: &str, value: Tensor<D>) -> Tensor<D> {
        let Some(gradient) = self.gradients.remove(name) else {
            return value;
        };
        let shape = value.dims();
        let count: usize = shape.iter().product();
        let value = value.inner().reshape([count]);
        let device = value.device();
        let fresh = || {
            (
                Tensor::zeros([count], &device),
                Tensor::zeros([count], &device),
            )
        };
        let optimizer = &mut self.optimizer;
        let (first, second) = optimizer.moments.remove(name).unwrap_or_else(fresh);
        let how = ops::AdamW {
            lr: self.lr,
            beta1: optimizer.beta1,
            beta2: optimizer.beta2,
            eps: optimizer.eps,
            weight_decay: if D >= 2 { optimizer.weight_decay } else { 0.0 },
            step: optimizer.steps,
            grad_scale: self.grad_scale,
        };
        let (value, first, second) = ops::adamw(value, gradient, first, second, how);
        optimizer.moments.insert(name.to_owned(), (first, second));
        value.reshape(shape).autodiff().require_grad()
    }
}
