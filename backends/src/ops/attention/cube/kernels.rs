//! The kernels: forward, and the gradients along the queries and along the keys.

use super::tile::*;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

#[cube(launch_unchecked)]
pub fn forward<F: Float>(
    q: &[F],
    k: &[F],
    v: &[F],
    out: &mut [F],
    log_sums: &mut [f32],
    entries: &[u32],
    starts: &[u32],
    keys: usize,
    heads: Heads,
    how: Scoring,
    #[comptime] shape: Shape,
    #[define(F)] _format: ElemType,
) {
    let lanes = comptime!(shape.lanes());
    let pitch = comptime!(shape.pitch());
    let outputs = comptime!(shape.outputs());
    let own = UNIT_POS as usize / lanes * OWN;
    let column = UNIT_POS as usize % lanes;
    let mut stage = Shared::<[f32]>::new_slice(comptime!(shape.stage()));
    let mut weights = Shared::<[f32]>::new_slice(comptime!(shape.tile * shape.pitch()));
    let mut products = Array::<f32>::new(comptime!(OWN * OWN));
    let mut sums = Array::<f32>::new(comptime!(OWN * shape.outputs()));
    let mut max = Array::<f32>::new(OWN);
    let mut total = Array::<f32>::new(OWN);
    #[unroll]
    for i in 0..OWN {
        max[i] = f32::new(HIDDEN);
        total[i] = 0.0;
        #[unroll]
        for j in 0..outputs {
            sums[i * outputs + j] = 0.0;
        }
    }
    let begin_entry = starts[CUBE_POS_X as usize] as usize;
    let end_entry = starts[CUBE_POS_X as usize + 1] as usize;
    for entry in begin_entry..end_entry {
        let tile = tile_of(entries, entry, keys, &heads, shape);
        multiply(q, &tile.q, k, &tile.k, &mut products, &mut stage, shape);
        sync_cube();
        #[unroll]
        for i in 0..OWN {
            let mut most = f32::new(HIDDEN);
            #[unroll]
            for j in 0..OWN {
                let mut of_key = f32::new(HIDDEN);
                if sees(&tile, own + i, column * OWN + j, &how) {
                    of_key = score(products[i * OWN + j], &how, shape);
                }
                products[i * OWN + j] = of_key;
                most = most.max(of_key);
            }
            weights[(own + i) * pitch + column] = most;
        }
        sync_cube();
        #[unroll]
        for i in 0..OWN {
            let mut most = max[i];
            for lane in 0..lanes {
                most = most.max(weights[(own + i) * pitch + lane]);
            }
            let faded = (max[i] - most).exp();
            max[i] = most;
            total[i] *= faded;
            #[unroll]
            for j in 0..outputs {
                sums[i * outputs + j] *= faded;
            }
        }
        sync_cube();
        #[unroll]
        for i in 0..OWN {
            #[unroll]
            for j in 0..OWN {
                let score = products[i * OWN + j];
                let mut weight = 0.0f32;
                if score > f32::new(HIDDEN) {
                    weight = (score - max[i]).exp();
                }
                total[i] += weight;
                weights[(own + i) * pitch + column * OWN + j] = weight;
            }
        }
        accumulate(&weights, v, &tile.k, &mut sums, &mut stage, false, shape);
    }
    sync_cube();
    #[unroll]
    for i in 0..OWN {
        weights[(own + i) * pitch + column] = total[i];
    }
    sync_cube();
    let tile = tile_of(entries, begin_entry, keys, &heads, shape);
    #[unroll]
    for i in 0..OWN {
        let r = own + i;
        if r < tile.q.count {
            let mut sum = 0.0f32;
            for lane in 0..lanes {
                sum += weights[r * pitch + lane];
            }
            let head = number(&tile.q, r);
            let at = head * shape.head_dim;
            #[unroll]
            for j in 0..outputs {
                if column + j * lanes < shape.head_dim {
                    out[at + column + j * lanes] = F::cast_from(sums[i * outputs + j] / sum);
                }
            }
            if column == 0 {
                log_sums[head] = max[i] + sum.ln();
            }
        }
    }
}

/// Weights and slopes of a tile again: `p = e^(score - log-sum)` and `d product = p (d p - delta) slope`, for the unit's
/// sixteen places.
#[cube]
fn slopes<F: Float>(
    q: &[F],
    k: &[F],
    v: &[F],
    grad: &[F],
    log_sums: &[f32],
    deltas: &[f32],
    tile: &Tile,
    how: &Scoring,
    p: &mut Array<f32>,
    ds: &mut Array<f32>,
    stage: &mut Shared<[f32]>,
    #[comptime] shape: Shape,
) {
    let lanes = comptime!(shape.lanes());
    let own = UNIT_POS as usize / lanes * OWN;
    let column = UNIT_POS as usize % lanes;
    multiply(q, &tile.q, k, &tile.k, p, stage, shape);
    multiply(grad, &tile.q, v, &tile.k, ds, stage, shape);
    #[unroll]
    for i in 0..OWN {
        let r = own + i;
        let mut log_sum = 0.0f32;
        let mut delta = 0.0f32;
        if r < tile.q.count {
            let at = number(&tile.q, r);
            log_sum = log_sums[at];
            delta = deltas[at];
        }
        #[unroll]
        for j in 0..OWN {
            let of_key = score(p[i * OWN + j], how, shape);
            let mut weight = 0.0f32;
            if sees(tile, r, column * OWN + j, how) {
                weight = (of_key - log_sum).exp();
            }
            p[i * OWN + j] = weight;
            let slope = score_slope(of_key, how, shape);
            ds[i * OWN + j] = weight * (ds[i * OWN + j] - delta) * slope;
        }
    }
}

/// Puts the unit's sixteen numbers where all units see them.
#[cube]
fn share(own: &Array<f32>, weights: &mut Shared<[f32]>, #[comptime] shape: Shape) {
    let lanes = comptime!(shape.lanes());
    let pitch = comptime!(shape.pitch());
    let row = UNIT_POS as usize / lanes * OWN;
    let key = UNIT_POS as usize % lanes * OWN;
    sync_cube();
    #[unroll]
    for i in 0..OWN {
        #[unroll]
        for j in 0..OWN {
            weights[(row + i) * pitch + key + j] = own[i * OWN + j];
        }
    }
}

/// Writes the unit's part of `sums` to the rows of an output.
#[cube]
fn write<F: Float>(sums: &Array<f32>, rows: &Rows, out: &mut [F], #[comptime] shape: Shape) {
    let lanes = comptime!(shape.lanes());
    let outputs = comptime!(shape.outputs());
    let own = UNIT_POS as usize / lanes * OWN;
    let column = UNIT_POS as usize % lanes;
    #[unroll]
    for i in 0..OWN {
        if own + i < rows.count {
            let at = number(rows, own + i) * shape.head_dim;
            #[unroll]
            for j in 0..outputs {
                if column + j * lanes < shape.head_dim {
                    out[at + column + j * lanes] = F::cast_from(sums[i * outputs + j]);
                }
            }
        }
    }
}

/// `d q`, along the queries.
#[cube(launch_unchecked)]
pub fn query_gradient<F: Float>(
    q: &[F],
    k: &[F],
    v: &[F],
    grad: &[F],
    log_sums: &[f32],
    deltas: &[f32],
    dq: &mut [F],
    entries: &[u32],
    starts: &[u32],
    keys: usize,
    heads: Heads,
    how: Scoring,
    #[comptime] shape: Shape,
    #[define(F)] _format: ElemType,
) {
    let mut stage = Shared::<[f32]>::new_slice(comptime!(shape.stage()));
    let mut weights = Shared::<[f32]>::new_slice(comptime!(shape.tile * shape.pitch()));
    let mut p = Array::<f32>::new(comptime!(OWN * OWN));
    let mut ds = Array::<f32>::new(comptime!(OWN * OWN));
    let mut sums = Array::<f32>::new(comptime!(OWN * shape.outputs()));
    #[unroll]
    for i in 0..comptime!(OWN * shape.outputs()) {
        sums[i] = 0.0;
    }
    let begin_entry = starts[CUBE_POS_X as usize] as usize;
    let end_entry = starts[CUBE_POS_X as usize + 1] as usize;
    for entry in begin_entry..end_entry {
        let tile = tile_of(entries, entry, keys, &heads, shape);
        slopes(
            q, k, v, grad, log_sums, deltas, &tile, &how, &mut p, &mut ds, &mut stage, shape,
        );
        share(&ds, &mut weights, shape);
        accumulate(&weights, k, &tile.k, &mut sums, &mut stage, false, shape);
    }
    let tile = tile_of(entries, begin_entry, keys, &heads, shape);
    write(&sums, &tile.q, dq, shape);
}

/// `d k` and `d v`, along the keys.
#[cube(launch_unchecked)]
pub fn key_gradients<F: Float>(
    q: &[F],
    k: &[F],
    v: &[F],
    grad: &[F],
    log_sums: &[f32],
    deltas: &[f32],
    dk: &mut [F],
    dv: &mut [F],
    entries: &[u32],
    starts: &[u32],
    keys: usize,
    heads: Heads,
    how: Scoring,
    #[comptime] shape: Shape,
    #[define(F)] _format: ElemType,
) {
    let mut stage = Shared::<[f32]>::new_slice(comptime!(shape.stage()));
    let mut weights = Shared::<[f32]>::new_slice(comptime!(shape.tile * shape.pitch()));
    let mut p = Array::<f32>::new(comptime!(OWN * OWN));
    let mut ds = Array::<f32>::new(comptime!(OWN * OWN));
    let mut of_k = Array::<f32>::new(comptime!(OWN * shape.outputs()));
    let mut of_v = Array::<f32>::new(comptime!(OWN * shape.outputs()));
    #[unroll]
    for i in 0..comptime!(OWN * shape.outputs()) {
        of_k[i] = 0.0;
        of_v[i] = 0.0;
    }
    let begin_entry = starts[CUBE_POS_X as usize] as usize;
    let end_entry = starts[CUBE_POS_X as usize + 1] as usize;
    for entry in begin_entry..end_entry {
        let tile = tile_of(entries, entry, keys, &heads, shape);
        slopes(
            q, k, v, grad, log_sums, deltas, &tile, &how, &mut p, &mut ds, &mut stage, shape,
        );
        share(&p, &mut weights, shape);
        accumulate(&weights, grad, &tile.q, &mut of_v, &mut stage, true, shape);
        share(&ds, &mut weights, shape);
        accumulate(&weights, q, &tile.q, &mut of_k, &mut stage, true, shape);
    }
    let rows = key_rows(CUBE_POS_X as usize * shape.tile, keys, &heads, shape);
    write(&of_k, &rows, dk, shape);
    write(&of_v, &rows, dv, shape);
}

/// `delta = grad . out` of each head of each query.
#[cube(launch_unchecked)]
pub fn row_deltas<F: Float>(
    out: &[F],
    grad: &[F],
    deltas: &mut [f32],
    head_dim: usize,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS < deltas.len() {
        let at = ABSOLUTE_POS * head_dim;
        let mut sum = 0.0f32;
        for i in at..at + head_dim {
            sum += f32::cast_from(out[i]) * f32::cast_from(grad[i]);
        }
        deltas[ABSOLUTE_POS] = sum;
    }
}
