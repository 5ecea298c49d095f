//! AdamW over named parameters. The state is flat: two vectors for each trained parameter, in f32 or in 8 bits.

use crate::error::Result;
use crate::model::Decoder;
use crate::model::files::{NamedTensor, Safetensors, StoreDtype, write_safetensors};
use crate::model::params::{Remap, remapped};
use crate::recipe::{Optim, Train};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use duel_backends::ops::{self, Moments8bit};
use std::collections::BTreeMap;
use std::path::Path;

/// Gradients by parameter name, flat.
pub type Gradients = BTreeMap<String, Tensor<1>>;

/// The mean and the square of a parameter's gradients, both decaying.
enum Moments {
    Full(Tensor<1>, Tensor<1>),
    Packed(Moments8bit),
}

impl Moments {
    /// Of a parameter of `count` elements that was never updated.
    fn fresh(optim: Optim, count: usize, device: &Device) -> Self {
        match optim {
            Optim::Adamw => {
                let zeros = || Tensor::zeros([count], device);
                Self::Full(zeros(), zeros())
            }
            Optim::Adamw8bit => Self::Packed(Moments8bit::zeros(count, device)),
        }
    }

    /// The parameter after one update, and its moments.
    fn update(self, value: Tensor<1>, gradient: Tensor<1>, how: ops::AdamW) -> (Tensor<1>, Self) {
        match self {
            Self::Full(first, second) => {
                let (value, first, second) = ops::adamw(value, gradient, first, second, how);
                (value, Self::Full(first, second))
            }
            Self::Packed(moments) => {
                let (value, moments) = ops::adamw_8bit(value, gradient, moments, how);
                (value, Self::Packed(moments))
            }
        }
    }

    /// As files hold them: a name behind the parameter's, and numbers. Codes are numbers too, so that they come back as
    /// they were.
    fn to_host(&self) -> Vec<(&'static str, Vec<f32>)> {
        match self {
            Self::Full(first, second) => vec![
                (NAMES[0], to_host(first.clone())),
                (NAMES[1], to_host(second.clone())),
            ],
            Self::Packed(moments) => {
                let (codes, scales) = moments.to_host();
                let codes = codes
                    .into_iter()
                    .map(|codes| f32::from(u16::from_le_bytes(codes)));
                let codes = codes.collect();
                vec![(NAMES_8BIT[0], codes), (NAMES_8BIT[1], scales)]
            }
        }
    }

    /// The moments of a parameter of `count` elements that `read` gives by name and length.
    fn from_host(
        optim: Optim,
        count: usize,
        device: &Device,
        read: impl Fn(&str, usize) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        Ok(match optim {
            Optim::Adamw => {
                let [first, second] = NAMES.map(|name| read(name, count));
                Self::Full(from_host(first?, device), from_host(second?, device))
            }
            Optim::Adamw8bit => {
                let blocks = count.div_ceil(ops::adamw_8bit::BLOCK);
                let codes = read(NAMES_8BIT[0], blocks * ops::adamw_8bit::BLOCK)?;
                let codes = codes.iter().map(|&codes| (codes as u16).to_le_bytes());
                let codes: Vec<[u8; 2]> = codes.collect();
                let scales = read(NAMES_8BIT[1], 2 * blocks)?;
                Self::Packed(Moments8bit::new(&codes, scales, device))
            }
        })
    }
}

/// PyTorch's names of the moments.
const NAMES: [&str; 2] = ["exp_avg", "exp_avg_sq"];
/// The codes of both moments of an element in one number, and the scales of both in turn.
const NAMES_8BIT: [&str; 2] = ["moments_8bit", "scales_8bit"];

/// AdamW's moments and settings.
pub struct Optimizer {
    moments: BTreeMap<String, Moments>,
    optim: Optim,
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
            optim: train.optim,
            steps: 0,
            beta1: train.adam_beta1,
            beta2: train.adam_beta2,
            eps: train.adam_epsilon,
            weight_decay: train.weight_decay,
        }
    }

    /// One update of every parameter that has a gradient, which is multiplied with `grad_scale` first.
    /// Matrices decay, norms and biases do not, as in transformers.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: Gradients,
        lr: f64,
        grad_scale: f64,
    ) -> M {
        self.steps += 1;
        let mut update = Update {
            optimizer: self,
            gradients,
            lr,
            grad_scale,
        };
        remapped(module, &mut update)
    }

    /// Writes the moments to a safetensors file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors: Vec<NamedTensor> = Vec::with_capacity(2 * self.moments.len());
        for (name, moments) in &self.moments {
            for (moment, values) in moments.to_host() {
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
            let read = |moment: &str, numbers: usize| {
                file.read(&format!("{}.{moment}", parameter.name), &[numbers])
            };
            let moments = Moments::from_host(self.optim, count, &device, read)?;
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
        let optimizer = &mut self.optimizer;
        let moments = optimizer.moments.remove(name);
        let moments = moments.unwrap_or_else(|| Moments::fresh(optimizer.optim, count, &device));
        let how = ops::AdamW {
            lr: self.lr,
            beta1: optimizer.beta1,
            beta2: optimizer.beta2,
            eps: optimizer.eps,
            weight_decay: if D >= 2 { optimizer.weight_decay } else { 0.0 },
            step: optimizer.steps,
            grad_scale: self.grad_scale,
        };
        let (value, moments) = moments.update(value, gradient, how);
        optimizer.moments.insert(name.to_owned(), moments);
        value.reshape(shape).autodiff().require_grad()
    }
}
