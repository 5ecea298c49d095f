//! Attention on graphics cards, forward and backward (Dao 2023, FlashAttention-2, algorithms 1 and 2): scores live in the
//! memory of a cube, tile by tile, and only tiles that some query sees are visited.
//!
//! A tile is `tile` packed rows by `tile` keys. The query heads that share a key head are rows of one tile (row `r` is
//! query `r / group`, head `r % group` of the group), so that keys and values are read once for all of them. No sum is
//! shared between cubes: the gradients of queries go along the queries, those of keys and values along the keys, and
//! every result is the same each time.

mod kernels;
mod tile;
mod tuned;

use super::tiles::Tiles;
use super::{Attention, AttentionBackward, Saved, Scores, Spans};
use crate::cube;
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;
use kernels::{forward, key_gradients, query_gradient, row_deltas};
use std::sync::Arc;
use tile::{HeadsLaunch, ScoringLaunch, Shape};
use tuned::Tiled;

/// Everything about a call that is not a tensor.
struct Call {
    shape: Shape,
    keys: usize,
    kv_heads: usize,
    group: usize,
    scores: Scores,
    window: Option<usize>,
}

impl Call {
    fn new(q: &CubeTensor, k: &CubeTensor, shape: Shape, scores: Scores, spans: &Spans) -> Self {
        let (width, [keys, kv_width]) = (cube::dims2(q)[1], cube::dims2(k));
        Self {
            shape,
            keys,
            kv_heads: kv_width / shape.head_dim,
            group: width / kv_width,
            scores,
            window: spans.window,
        }
    }

    fn heads(&self) -> HeadsLaunch {
        HeadsLaunch::new(self.kv_heads, self.group)
    }

    fn how(&self) -> ScoringLaunch {
        ScoringLaunch::new(
            1.0 / (self.shape.head_dim as f32).sqrt(),
            self.scores.softcap.unwrap_or(1.0),
            self.window.map_or(0, |window| window as u32),
        )
    }

    fn dim(&self) -> CubeDim {
        CubeDim::new_1d(self.shape.units() as u32)
    }

    fn count(&self, groups: usize) -> CubeCount {
        CubeCount::Static(groups as u32, self.kv_heads as u32, 1)
    }
}

/// What goes into a forward pass, and the room for what comes out.
#[derive(Clone)]
struct Forward {
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    out: CubeTensor,
    log_sums: CubeTensor,
    scores: Scores,
    spans: Arc<Spans>,
}

impl Tiled for Forward {
    fn over(&self) -> (&CubeTensor, &CubeTensor, Scores, &Spans) {
        (&self.q, &self.k, self.scores, &self.spans)
    }

    fn written(&self) -> &CubeTensor {
        &self.log_sums
    }

    fn run(self, shape: Shape) {
        let Self { q, k, v, .. } = self;
        let call = Call::new(&q, &k, shape, self.scores, &self.spans);
        let tiles = Tiles::new(&self.spans, shape.tile, call.group);
        let (entries, starts) = tiles.by_query();
        let (client, format) = (q.client.clone(), cube::format(&q));
        let [entries, starts_there] = [&entries, &starts].map(|list| cube::uploaded(&q, list));
        // SAFETY: rows and keys past the ends of a tile are neither read nor written.
        unsafe {
            forward::launch_unchecked(
                &client,
                call.count(starts.len() - 1),
                call.dim(),
                q.into_buffer_arg(),
                k.into_buffer_arg(),
                v.into_buffer_arg(),
                self.out.into_buffer_arg(),
                self.log_sums.into_buffer_arg(),
                entries.into_buffer_arg(),
                starts_there.into_buffer_arg(),
                call.keys,
                call.heads(),
                call.how(),
                shape,
                format,
            );
        }
    }
}

impl Attention for Cube {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scores: Scores,
        spans: Arc<Spans>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let head_dim = scores.head_dim;
        let [q, k, v] = [q, k, v].map(cube::dense);
        let [queries, width] = cube::dims2(&q);
        let out = cube::empty(&q, &[queries, width]);
        let log_sums = cube::empty_of(&q, &[queries, width / head_dim], DType::F32);
        let result = (out.clone(), log_sums.clone());
        let call = Forward {
            q,
            k,
            v,
            out,
            log_sums,
            scores,
            spans,
        };
        tuned::run("forward", call);
        result
    }
}

/// What goes into a backward pass, and the room for what comes out.
#[derive(Clone)]
struct Gradients {
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    grad: CubeTensor,
    log_sums: CubeTensor,
    deltas: CubeTensor,
    dq: CubeTensor,
    dk: CubeTensor,
    dv: CubeTensor,
    scores: Scores,
    spans: Arc<Spans>,
}

impl Tiled for Gradients {
    fn over(&self) -> (&CubeTensor, &CubeTensor, Scores, &Spans) {
        (&self.q, &self.k, self.scores, &self.spans)
    }

    fn written(&self) -> &CubeTensor {
        &self.dv
    }

    fn run(self, shape: Shape) {
        let Self { q, k, v, .. } = self;
        let call = Call::new(&q, &k, shape, self.scores, &self.spans);
        let tiles = Tiles::new(&self.spans, shape.tile, call.group);
        let (client, format) = (q.client.clone(), cube::format(&q));
        let (by_query, query_starts) = tiles.by_query();
        let (by_key, key_starts) = tiles.by_key(call.keys);
        // SAFETY: rows and keys past the ends of a tile are neither read nor written.
        unsafe {
            query_gradient::launch_unchecked(
                &client,
                call.count(query_starts.len() - 1),
                call.dim(),
                q.clone().into_buffer_arg(),
                k.clone().into_buffer_arg(),
                v.clone().into_buffer_arg(),
                self.grad.clone().into_buffer_arg(),
                self.log_sums.clone().into_buffer_arg(),
                self.deltas.clone().into_buffer_arg(),
                self.dq.into_buffer_arg(),
                cube::uploaded(&q, &by_query).into_buffer_arg(),
                cube::uploaded(&q, &query_starts).into_buffer_arg(),
                call.keys,
                call.heads(),
                call.how(),
                shape,
                format,
            );
            key_gradients::launch_unchecked(
                &client,
                call.count(key_starts.len() - 1),
                call.dim(),
                q.clone().into_buffer_arg(),
                k.into_buffer_arg(),
                v.into_buffer_arg(),
                self.grad.into_buffer_arg(),
                self.log_sums.into_buffer_arg(),
                self.deltas.into_buffer_arg(),
                self.dk.into_buffer_arg(),
                self.dv.into_buffer_arg(),
                cube::uploaded(&q, &by_key).into_buffer_arg(),
                cube::uploaded(&q, &key_starts).into_buffer_arg(),
                call.keys,
                call.heads(),
                call.how(),
                shape,
                format,
            );
        }
    }
}

impl AttentionBackward for Cube {
    fn attention_backward(saved: Saved<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        let Saved {
            q,
            k,
            v,
            out,
            log_sums,
            scores,
            spans,
        } = saved;
        let head_dim = scores.head_dim;
        let [q, k, v, out, grad] = [q, k, v, out, grad].map(cube::dense);
        let [queries, width] = cube::dims2(&q);
        let deltas = cube::empty_of(&q, &[queries, width / head_dim], DType::F32);
        let [dq, dk, dv] = [&q, &k, &v].map(|x| cube::empty(x, &cube::dims2(x)));
        let (client, format) = (q.client.clone(), cube::format(&q));
        let (cubes, dim) = cube::by_element(&q, cube::count(&deltas));
        // SAFETY: a unit past the last head touches nothing.
        unsafe {
            row_deltas::launch_unchecked(
                &client,
                cubes,
                dim,
                out.into_buffer_arg(),
                grad.clone().into_buffer_arg(),
                deltas.clone().into_buffer_arg(),
                head_dim,
                format,
            );
        }
        let result = [dq.clone(), dk.clone(), dv.clone()];
        let call = Gradients {
            q,
            k,
            v,
            grad,
            log_sums,
            deltas,
            dq,
            dk,
            dv,
            scores,
            spans,
        };
        tuned::run("backward", call);
        result
    }
}
