//! The parameters by name: to files, to the optimiser, between training and inference.
//!
//! A parameter's name is its path through the module, which is Hugging Face's tensor name; an adapter's
//! matrices are `….lora_A` and `….lora_B`.

use super::decoder::Decoder;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use duel_backends::ops::adamw::squared_norm;

/// One parameter, flattened.
pub struct Parameter {
    /// Hugging Face's name.
    pub name: String,
    /// Its real shape.
    pub shape: Vec<usize>,
    /// Its elements in row-major order, `[product of shape]`, in the format they are kept in.
    pub values: Tensor<1>,
    /// Whether gradients are taken for it.
    pub trained: bool,
}

/// The path of module fields that a visitor stands in.
#[derive(Default)]
pub struct Path(Vec<String>);

impl Path {
    /// Steps into a field of `container`; the variants of an enum are no part of a name.
    pub fn enter(&mut self, name: &str, container: &str) {
        if !is_enum(container) {
            self.0.push(name.to_owned());
        }
    }

    /// Steps out again.
    pub fn exit(&mut self, container: &str) {
        if !is_enum(container) {
            self.0.pop();
        }
    }

    /// Hugging Face's (or PEFT's) name of the parameter here.
    pub fn name(&self) -> String {
        let path = self.0.join(".");
        match path.strip_suffix(".lora.a") {
            Some(layer) => format!("{layer}.lora_A"),
            None => match path.strip_suffix(".lora.b") {
                Some(layer) => format!("{layer}.lora_B"),
                None => path,
            },
        }
    }
}

/// How Burn marks the containers that are enums.
fn is_enum(container: &str) -> bool {
    container.starts_with("Enum:")
}

/// Whether a name is an adapter's.
pub fn is_adapter(name: &str) -> bool {
    name.ends_with(".lora_A") || name.ends_with(".lora_B")
}

/// A mapping of every parameter that does not care how many dimensions it has.
pub trait Remap {
    /// The new value of the parameter `name`.
    fn remap<const D: usize>(&mut self, name: &str, value: Tensor<D>) -> Tensor<D>;
}

struct Mapper<'a, R> {
    path: Path,
    remap: &'a mut R,
}

impl<R: Remap> ModuleMapper for Mapper<'_, R> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, _) = param.consume();
        Param::initialized(id, self.remap.remap(&self.path.name(), value))
    }
}

/// A module with every parameter replaced.
pub fn remapped<M: Module>(module: M, remap: &mut impl Remap) -> M {
    module.map(&mut Mapper {
        path: Path::default(),
        remap,
    })
}

/// A module on autodiff, with gradients for the parameters that `trained` names.
pub fn tracked<M: Module>(module: M, trained: impl Fn(&str) -> bool) -> M {
    remapped(module, &mut Track(trained))
}

/// A module without autodiff.
pub fn untracked<M: Module>(module: M) -> M {
    remapped(module, &mut Untrack)
}

struct Collect {
    path: Path,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let shape = value.dims().to_vec();
        let trained = value.is_require_grad();
        let values = without_graph(value).reshape([shape.iter().product::<usize>()]);
        self.found.push(Parameter {
            name: self.path.name(),
            shape,
            values,
            trained,
        });
    }
}

/// The value on the device without autodiff.
pub(super) fn without_graph<const D: usize>(value: Tensor<D>) -> Tensor<D> {
    if value.device().is_autodiff() {
        value.inner()
    } else {
        value
    }
}

struct Track<F>(F);

impl<F: Fn(&str) -> bool> Remap for Track<F> {
    fn remap<const D: usize>(&mut self, name: &str, value: Tensor<D>) -> Tensor<D> {
        let value = without_graph(value).autodiff();
        if (self.0)(name) {
            value.require_grad()
        } else {
            value
        }
    }
}

struct Untrack;

impl Remap for Untrack {
    fn remap<const D: usize>(&mut self, _name: &str, value: Tensor<D>) -> Tensor<D> {
        without_graph(value)
    }
}

impl Decoder {
    /// Every parameter, in the module's order.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut collect = Collect {
            path: Path::default(),
            found: Vec::new(),
        };
        self.visit(&mut collect);
        collect.found
    }

    /// Whether some layer carries an adapter.
    pub fn has_adapters(&self) -> bool {
        self.parameters().iter().any(|p| is_adapter(&p.name))
    }

    /// The decoder with every parameter replaced.
    pub fn remap(self, remap: &mut impl Remap) -> Self {
        remapped(self, remap)
    }

    /// On autodiff, with gradients for the parameters that `trained` names.
    pub fn tracked(self, trained: impl Fn(&str) -> bool) -> Self {
        tracked(self, trained)
    }

    /// Without autodiff: for scoring and generation. Shares the weights.
    pub fn untracked(&self) -> Self {
        untracked(self.clone().untaped())
    }

    /// Root mean square of the elements of all trained matrices; 0 when none is trained. Vectors are left out:
    /// norms' scales lie around 1 and would hide how small the matrices are.
    pub fn trained_rms(&self) -> f64 {
        let (mut squares, mut count) = (0.0, 0);
        for matrix in self.parameters() {
            if matrix.trained && matrix.shape.len() > 1 {
                count += matrix.shape.iter().product::<usize>();
                squares += squared_norm(matrix.values).into_scalar::<f64>();
            }
        }
        (squares / count.max(1) as f64).sqrt()
    }

    /// `(all, trained)` parameters.
    pub fn parameter_counts(&self) -> (usize, usize) {
        let parameters = self.parameters();
        let count = |p: &Parameter| p.shape.iter().product::<usize>();
        let trained = parameters.iter().filter(|p| p.trained).map(count).sum();
        let all: usize = parameters.iter().map(count).sum();
        (all + self.packed_count(), trained)
    }
}
