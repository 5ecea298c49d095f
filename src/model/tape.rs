//! What a training forward pass leaves for its backward pass beside Burn's graph.
//!
//! The table of vectors is read row by row, so its gradient is made row by row: the graph ends at the rows that were
//! read, and no matrix of the vocabulary's size is made for them.
//!
//! With activation checkpointing (Chen et al. 2016, section 3, one segment a block) the forward pass runs without a
//! graph and keeps what went into each block; the backward pass computes one block at a time again. For a loss of one
//! forward pass, as all of duel's are, the same operations run in the same order: the gradients are equal to the last
//! bit.

use super::decoder::{Decoder, Place, embedded, index};
use super::params::without_graph;
use crate::trie::Trie;
use burn::tensor::{Gradients, Int, Tensor};
use duel_backends::ops::Spans;
use std::sync::{Arc, Mutex, PoisonError};

/// The passes of a decoder since its last backward pass.
#[derive(Debug, Clone)]
pub struct Tape {
    recompute: bool,
    passes: Arc<Mutex<Vec<Pass>>>,
}

#[derive(Debug)]
struct Pass {
    /// Rows of the table that were read.
    tokens: Arc<Vec<u32>>,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// The embedded tokens, where the graph begins.
    Start(Tensor<2>),
    /// The inputs of the blocks, first to last, without a graph, and their final output, where the graph begins.
    Blocks {
        inputs: Vec<Tensor<2>>,
        end: Tensor<2>,
        positions: Vec<u32>,
        spans: Arc<Spans>,
        rows: Vec<u32>,
    },
}

/// The gradient of some rows of the table of vectors.
pub struct EmbeddedGradient {
    /// The rows; some may come more than once.
    pub tokens: Arc<Vec<u32>>,
    /// Their gradients, `[tokens, hidden]`.
    pub gradient: Tensor<2>,
}

impl Tape {
    fn push(&self, pass: Pass) {
        self.lock().push(pass);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Pass>> {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decoder {
    /// This decoder with a tape: every loss is then followed by [`Decoder::backward`], as Burn's own `backward` would
    /// miss what the tape holds. With `recompute` the backward pass computes every block again instead of keeping its
    /// activations.
    pub fn taped(mut self, recompute: bool) -> Self {
        self.tape = Some(Tape {
            recompute,
            passes: Arc::default(),
        });
        self
    }

    /// This decoder without its tape.
    pub fn untaped(mut self) -> Self {
        self.tape = None;
        self
    }

    /// The blocks' output at `rows` of a trie, recorded on `tape`: `[rows, hidden]`, before the final norm.
    pub(super) fn taped_blocks(&self, tape: &Tape, trie: &Trie, rows: &[u32]) -> Tensor<2> {
        let spans = Arc::new(trie.spans(self.spec.sliding_window));
        let tokens = Arc::new(trie.tokens.clone());
        let table = without_graph(self.model.embed_tokens.weight.val());
        let embedded = self.spec.scaled(embedded(table, &tokens));
        if !tape.recompute {
            let place = Place::new(self, &trie.positions, spans);
            let start = match self.embedding_is_trained() {
                true => embedded.autodiff().require_grad(),
                false => embedded.autodiff(),
            };
            let kept = Kept::Start(start.clone());
            tape.push(Pass { tokens, kept });
            return self.blocks(start, &place, &index(rows, &self.device()));
        }
        let plain = self.untracked();
        let place = Place::new(&plain, &trie.positions, spans.clone());
        let chosen = index(rows, &plain.device());
        let mut inputs = Vec::with_capacity(self.model.layers.len());
        let mut x = embedded;
        for layer in 0..self.model.layers.len() {
            inputs.push(x.clone());
            x = plain.block(layer, x, &place, &chosen);
        }
        let end = match self.lowest_trained() {
            Some(_) => x.autodiff().require_grad(),
            None => x.autodiff(),
        };
        let kept = Kept::Blocks {
            inputs,
            end: end.clone(),
            positions: trie.positions.clone(),
            spans,
            rows: rows.to_vec(),
        };
        tape.push(Pass { tokens, kept });
        end
    }

    /// The gradients of `loss`, which was computed from this decoder alone: `take` is handed one set after another, each
    /// with the gradients of a block or of what stands outside the blocks; the rows of the table of vectors are
    /// returned.
    ///
    /// # Panics
    /// If the decoder has no tape.
    pub fn backward(
        &self,
        loss: &Tensor<1>,
        take: &mut dyn FnMut(Gradients),
    ) -> Vec<EmbeddedGradient> {
        let tape = self.tape.as_ref().expect("a decoder in training is taped");
        let passes = std::mem::take(&mut *tape.lock());
        let mut gradients = loss.backward();
        let mut embedded = Vec::new();
        for Pass { tokens, kept } in passes {
            let gradient = match kept {
                Kept::Start(start) => start.grad_remove(&mut gradients),
                Kept::Blocks {
                    inputs,
                    end,
                    positions,
                    spans,
                    rows,
                } => end.grad_remove(&mut gradients).map(|gradient| {
                    let place = Place::new(self, &positions, spans);
                    let rows = index(&rows, &self.device());
                    self.blocks_again(inputs, gradient, &place, &rows, take)
                }),
            };
            if let Some(gradient) = gradient
                && self.embedding_is_trained()
            {
                // The graph begins behind the scale.
                let gradient = self.spec.scaled(gradient);
                embedded.push(EmbeddedGradient { tokens, gradient });
            }
        }
        take(gradients);
        embedded
    }

    /// The lowest block below which nothing is trained, as far as gradients have to go: 0 with a trained table of
    /// vectors, none where neither it nor a block is trained.
    fn lowest_trained(&self) -> Option<usize> {
        if self.embedding_is_trained() {
            return Some(0);
        }
        let parameters = self.parameters();
        let trained = parameters.iter().filter(|parameter| parameter.trained);
        let layer = |name: &str| {
            name.strip_prefix("model.layers.")?
                .split('.')
                .next()?
                .parse()
                .ok()
        };
        trained.filter_map(|parameter| layer(&parameter.name)).min()
    }

    /// From the gradient of the blocks' output to that of their input, last block first, as far down as something is
    /// trained.
    fn blocks_again(
        &self,
        inputs: Vec<Tensor<2>>,
        mut gradient: Tensor<2>,
        place: &Place,
        rows: &Tensor<1, Int>,
        take: &mut dyn FnMut(Gradients),
    ) -> Tensor<2> {
        let lowest = self.lowest_trained().unwrap_or(inputs.len());
        for (layer, input) in inputs.into_iter().enumerate().skip(lowest).rev() {
            // The input of the lowest one is no further than its gradient has to go.
            let x = match layer > lowest || self.embedding_is_trained() {
                true => input.autodiff().require_grad(),
                false => input.autodiff(),
            };
            let y = self.block(layer, x.clone(), place, rows);
            let mut gradients = (y * gradient.clone().autodiff()).sum().backward();
            if let Some(of_input) = x.grad_remove(&mut gradients) {
                gradient = of_input;
            }
            take(gradients);
        }
        gradient
    }

    fn embedding_is_trained(&self) -> bool {
        self.model.embed_tokens.weight.val().is_require_grad()
    }
}
