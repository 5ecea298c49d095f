//! Which size of tiles a call takes. Both are tried once for each kind of call, and the faster one is kept in the user's
//! cache: what is best depends on registers and shared memory that no driver tells of.

use super::{Forward, Gradients, Shape, Spans};
use crate::cube;
use burn_cubecl::cubecl::tune::{LocalTuner, Tunable, TunableSet, local_tuner};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeTuneId, cubecl};

/// Sides of a tile.
const LARGE: usize = 64;
const SMALL: usize = 32;

/// Runs a forward pass with the faster tiles.
pub fn forward(call: Forward) {
    static TUNER: LocalTuner<String, CubeTuneId> = local_tuner!("forward");
    let (q, k, head_dim) = (&call.q, &call.k, call.head_dim);
    match fixed(q, k, head_dim, &call.spans) {
        Some(shape) => call.run(shape),
        None => {
            let (id, client) = (id(q), q.client.clone());
            let set = TUNER.init(&id, || {
                let key = |call: &Forward| kind(&call.q, &call.k, call.head_dim, &call.spans);
                let of = |tile: usize| {
                    Tunable::new(&tile.to_string(), move |call: Forward| {
                        let head_dim = call.head_dim;
                        call.run(Shape { tile, head_dim });
                        Ok::<(), String>(())
                    })
                };
                TunableSet::new_cloning_inputs(key)
                    .with(of(SMALL))
                    .with(of(LARGE))
            });
            TUNER.execute(&id, &client, set, call);
        }
    }
}

/// Runs a backward pass with the faster tiles.
pub fn backward(call: Gradients) {
    static TUNER: LocalTuner<String, CubeTuneId> = local_tuner!("backward");
    let (q, k, head_dim) = (&call.q, &call.k, call.head_dim);
    match fixed(q, k, head_dim, &call.spans) {
        Some(shape) => call.run(shape),
        None => {
            let (id, client) = (id(q), q.client.clone());
            let set = TUNER.init(&id, || {
                let key = |call: &Gradients| kind(&call.q, &call.k, call.head_dim, &call.spans);
                let of = |tile: usize| {
                    Tunable::new(&tile.to_string(), move |call: Gradients| {
                        let head_dim = call.head_dim;
                        call.run(Shape { tile, head_dim });
                        Ok::<(), String>(())
                    })
                };
                TunableSet::new_cloning_inputs(key)
                    .with(of(SMALL))
                    .with(of(LARGE))
            });
            TUNER.execute(&id, &client, set, call);
        }
    }
}

fn id(q: &CubeTensor) -> CubeTuneId {
    CubeTuneId::new(&q.client, &q.device)
}

/// The shape where there is nothing to try: large tiles do not fit, segments that fill none of them waste less of small
/// ones, or trying would take longer than computing.
fn fixed(q: &CubeTensor, k: &CubeTensor, head_dim: usize, spans: &Spans) -> Option<Shape> {
    let [small, large] = [SMALL, LARGE].map(|tile| Shape { tile, head_dim });
    let hardware = &q.client.properties().hardware;
    let fits = large.shared_bytes() <= hardware.max_shared_memory_size
        && large.units() <= hardware.max_units_per_cube as usize;
    match fits && longest(spans) * group(q, k) > SMALL {
        false => Some(small),
        true => (!cube::tries(q)).then_some(large),
    }
}

/// Calls of one kind take the same tiles: sizes count by their powers of two.
fn kind(q: &CubeTensor, k: &CubeTensor, head_dim: usize, spans: &Spans) -> String {
    let [queries, keys] = [q, k].map(|x| cube::dims2(x)[0].next_power_of_two());
    let longest = longest(spans).next_power_of_two();
    let (heads, group) = (cube::dims2(q)[1] / head_dim, group(q, k));
    format!(
        "{queries} queries, {keys} keys, segments of {longest}, {heads} heads of {head_dim}, {group} a key head"
    )
}

fn longest(spans: &Spans) -> usize {
    let rows = spans.segments.iter().map(|segment| segment.rows.len());
    rows.max().unwrap_or(0)
}

fn group(q: &CubeTensor, k: &CubeTensor) -> usize {
    cube::dims2(q)[1] / cube::dims2(k)[1]
}
