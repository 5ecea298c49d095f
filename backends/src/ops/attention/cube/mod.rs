//! Attention on graphics cards, forward and backward (Dao 2023, FlashAttention-2, algorithms 1 and 2): scores live in the
//! memory of a cube, tile by tile, and only tiles that some query sees are visited.
//!
//! A tile is `tile` packed rows by `tile` keys. The query heads that share a key head are rows of one tile (row `r` is
//! query `r / group`, head `r % group` of the group), so that keys and values are read once for all of them. No sum is
//! shared between cubes: the gradients of queries go along the queries, those of keys and values along the keys, and
//! every result is the same each time.

mod kernels;
mod tile;

use super::tiles::Tiles;
use super::{Attention, AttentionBackward, Saved, Spans};
use crate::cube;
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;
use kernels::{forward, key_gradients, query_gradient, row_deltas};
use std::sync::Arc;
use tile::{HeadsLaunch, Shape};

/// Everything about a call that is not a tensor.
struct Call {
    shape: Shape,
    keys: usize,
    kv_heads: usize,
    group: usize,
    scale: f32,
    window: u32,
}

impl Call {
    fn new(q: &CubeTensor, k: &CubeTensor, head_dim: usize, spans: &Spans) -> Self {
        let (width, [keys, kv_width]) = (cube::dims2(q)[1], cube::dims2(k));
        let group = width / kv_width;
        let shape = |tile| Shape { tile, head_dim };
        let hardware = &q.client.properties().hardware;
        let fits = |shape: Shape| {
            shape.shared_bytes() <= hardware.max_shared_memory_size
                && shape.units() <= hardware.max_units_per_cube as usize
        };
        // Segments that fill no large tile waste less of a small one.
        let longest = spans.segments.iter().map(|segment| segment.rows.len());
        let large = longest.max().unwrap_or(0) * group > SMALL && fits(shape(LARGE));
        Self {
            shape: shape(if large { LARGE } else { SMALL }),
            keys,
            kv_heads: kv_width / head_dim,
            group,
            scale: 1.0 / (head_dim as f32).sqrt(),
            window: spans.window.map_or(0, |window| window as u32),
        }
    }

    fn heads(&self) -> HeadsLaunch {
        HeadsLaunch::new(self.kv_heads, self.group)
    }

    fn dim(&self) -> CubeDim {
        CubeDim::new_1d(self.shape.units() as u32)
    }

    fn count(&self, groups: usize) -> CubeCount {
        CubeCount::Static(groups as u32, self.kv_heads as u32, 1)
    }
}

/// Sides of a tile.
const LARGE: usize = 64;
const SMALL: usize = 32;

impl Attention for Cube {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        head_dim: usize,
        spans: Arc<Spans>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v] = [q, k, v].map(cube::dense);
        let [queries, width] = cube::dims2(&q);
        let call = Call::new(&q, &k, head_dim, &spans);
        let tiles = Tiles::new(&spans, call.shape.tile, call.group);
        let out = cube::empty(&q, &[queries, width]);
        let log_sums = cube::empty_of(&q, &[queries, width / head_dim], DType::F32);
        let (entries, starts) = tiles.by_query();
        let (client, format) = (q.client.clone(), cube::format(&q));
        // SAFETY: rows and keys past the ends of a tile are neither read nor written.
        unsafe {
            forward::launch_unchecked(
                &client,
                call.count(starts.len() - 1),
                call.dim(),
                q.clone().into_buffer_arg(),
                k.into_buffer_arg(),
                v.into_buffer_arg(),
                out.clone().into_buffer_arg(),
                log_sums.clone().into_buffer_arg(),
                cube::uploaded(&q, &entries).into_buffer_arg(),
                cube::uploaded(&q, &starts).into_buffer_arg(),
                call.keys,
                call.heads(),
                call.scale,
                call.window,
                call.shape,
                format,
            );
        }
        (out, log_sums)
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
            head_dim,
            spans,
        } = saved;
        let [q, k, v, out, grad] = [q, k, v, out, grad].map(cube::dense);
        let [queries, width] = cube::dims2(&q);
        let call = Call::new(&q, &k, head_dim, &spans);
        let tiles = Tiles::new(&spans, call.shape.tile, call.group);
        let deltas = cube::empty_of(&q, &[queries, width / head_dim], DType::F32);
        let [dq, dk, dv] = [&q, &k, &v].map(|x| cube::empty(x, &cube::dims2(x)));
        let (client, format) = (q.client.clone(), cube::format(&q));
        let (cubes, dim) = cube::by_element(&q, cube::count(&deltas));
        let (by_query, query_starts) = tiles.by_query();
        let (by_key, key_starts) = tiles.by_key(call.keys);
        // SAFETY: a unit past the last head touches nothing; rows and keys past the ends of a tile are neither read nor
        // written.
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
            query_gradient::launch_unchecked(
                &client,
                call.count(query_starts.len() - 1),
                call.dim(),
                q.clone().into_buffer_arg(),
                k.clone().into_buffer_arg(),
                v.clone().into_buffer_arg(),
                grad.clone().into_buffer_arg(),
                log_sums.clone().into_buffer_arg(),
                deltas.clone().into_buffer_arg(),
                dq.clone().into_buffer_arg(),
                cube::uploaded(&q, &by_query).into_buffer_arg(),
                cube::uploaded(&q, &query_starts).into_buffer_arg(),
                call.keys,
                call.heads(),
                call.scale,
                call.window,
                call.shape,
                format,
            );
            key_gradients::launch_unchecked(
                &client,
                call.count(key_starts.len() - 1),
                call.dim(),
                q.clone().into_buffer_arg(),
                k.into_buffer_arg(),
                v.into_buffer_arg(),
                grad.into_buffer_arg(),
                log_sums.into_buffer_arg(),
                deltas.into_buffer_arg(),
                dk.clone().into_buffer_arg(),
                dv.clone().into_buffer_arg(),
                cube::uploaded(&q, &by_key).into_buffer_arg(),
                cube::uploaded(&q, &key_starts).into_buffer_arg(),
                call.keys,
                call.heads(),
                call.scale,
                call.window,
                call.shape,
                format,
            );
        }
        [dq, dk, dv]
    }
}
