//! Gradients of a backward pass, by name; summed over micro-batches; their norm.

use super::optimizer::Gradients;
use crate::model::Decoder;
use crate::model::params::Path;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients as Graph, Tensor};
use duel_backends::ops::adamw::squared_norm;

struct Take<'a> {
    path: Path,
    graph: &'a mut Graph,
    sum: &'a mut Gradients,
}

impl ModuleVisitor for Take<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if !value.is_require_grad() {
            return;
        }
        let Some(gradient) = value.grad_remove(self.graph) else {
            return;
        };
        let count = gradient.dims().iter().product::<usize>();
        let gradient = gradient.reshape([count]);
        let name = self.path.name();
        let sum = match self.sum.remove(&name) {
            Some(sum) => sum + gradient,
            None => gradient,
        };
        self.sum.insert(name, sum);
    }
}

/// Adds the gradients of one backward pass to `sum`.
pub fn accumulate(decoder: &Decoder, mut graph: Graph, sum: &mut Gradients) {
    decoder.visit(&mut Take {
        path: Path::default(),
        graph: &mut graph,
        sum,
    });
}

/// The norm over all parameters, read to the host once.
pub fn global_norm(gradients: &Gradients) -> f64 {
    let squares: Vec<Tensor<1>> = gradients.values().cloned().map(squared_norm).collect();
    if squares.is_empty() {
        return 0.0;
    }
    let squares = super::optimizer::to_host(Tensor::cat(squares, 0));
    squares.iter().map(|&s| f64::from(s)).sum::<f64>().sqrt()
}
