//! Gradients of a backward pass, by name; summed over micro-batches; their norm.

use super::optimizer::Gradients;
use crate::model::params::Path;
use crate::model::{Decoder, EmbeddedGradient};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients as Graph, Tensor};
use duel_backends::ops;
use duel_backends::ops::adamw::squared_norm;

struct Take<'a> {
    path: Path,
    graph: &'a mut Graph,
    sum: &'a mut Gradients,
}

impl ModuleVisitor for Take<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
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
pub fn accumulate<M: Module>(module: &M, mut graph: Graph, sum: &mut Gradients) {
    module.visit(&mut Take {
        path: Path::default(),
        graph: &mut graph,
        sum,
    });
}

/// Adds the gradients of some rows of the table of vectors to `sum`, in place.
pub fn add_embedded(decoder: &Decoder, rows: EmbeddedGradient, sum: &mut Gradients) {
    const TABLE: &str = "model.embed_tokens.weight";
    let [vocab, hidden] = decoder.model.embed_tokens.weight.val().dims();
    let table = match sum.remove(TABLE) {
        Some(sum) => sum.reshape([vocab, hidden]),
        None => Tensor::zeros([vocab, hidden], &rows.gradient.device()),
    };
    let table = ops::add_rows(table, rows.gradient, rows.tokens);
    sum.insert(TABLE.to_owned(), table.reshape([vocab * hidden]));
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
