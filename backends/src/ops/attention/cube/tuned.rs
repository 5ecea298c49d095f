//! Which size of tiles a call takes: where both will do, the one that was faster when both were tried.

use super::{Scores, Shape, Spans};
use crate::{cube, tried};
use burn_cubecl::tensor::CubeTensor;

/// Sides of a tile.
const LARGE: usize = 64;
const SMALL: usize = 32;

/// A pass that can be run with tiles of either size.
pub trait Tiled: Clone {
    /// Queries, keys, how scores are made, and who sees whom.
    fn over(&self) -> (&CubeTensor, &CubeTensor, Scores, &Spans);

    /// What it writes last.
    fn written(&self) -> &CubeTensor;

    /// Runs it with tiles of this shape.
    fn run(self, shape: Shape);
}

/// Runs a pass with the faster tiles; `pass` is its name.
pub fn run<C: Tiled>(pass: &str, call: C) {
    let shape = fixed(&call).unwrap_or_else(|| {
        let (q, _, scores, _) = call.over();
        let shapes = [SMALL, LARGE].map(|tile| shape_of(tile, scores));
        let mut run = |way: usize| {
            call.clone().run(shapes[way]);
            Some(call.written().clone())
        };
        let kind = format!("attention {pass}: {}", kind(&call));
        shapes[tried::fastest(q, &kind, &["32", "64"], &mut run)]
    });
    call.run(shape);
}

/// The shape where there is nothing to try: large tiles do not fit, segments that fill none of them waste less of small
/// ones, or trying would take longer than computing.
fn fixed<C: Tiled>(call: &C) -> Option<Shape> {
    let (q, k, scores, spans) = call.over();
    let [small, large] = [SMALL, LARGE].map(|tile| shape_of(tile, scores));
    let hardware = &q.client.properties().hardware;
    let fits = large.shared_bytes() <= hardware.max_shared_memory_size
        && large.units() <= hardware.max_units_per_cube as usize;
    match fits && longest(spans) * group(q, k) > SMALL {
        false => Some(small),
        true => (!tried::pays(q)).then_some(large),
    }
}

fn shape_of(tile: usize, scores: Scores) -> Shape {
    Shape {
        tile,
        head_dim: scores.head_dim,
        capped: scores.softcap.is_some(),
    }
}

/// Calls of one kind take the same tiles: sizes count by their powers of two.
fn kind<C: Tiled>(call: &C) -> String {
    let (q, k, scores, spans) = call.over();
    let head_dim = scores.head_dim;
    let [queries, keys] = [q, k].map(|x| cube::dims2(x)[0].next_power_of_two());
    let longest = longest(spans).next_power_of_two();
    let (heads, group) = (cube::dims2(q)[1] / head_dim, group(q, k));
    let capped = if scores.softcap.is_some() {
        ", capped"
    } else {
        ""
    };
    format!(
        "{queries} queries, {keys} keys, segments of {longest}, {heads} heads of {head_dim}, {group} a key head{capped}"
    )
}

fn longest(spans: &Spans) -> usize {
    let rows = spans.segments.iter().map(|segment| segment.rows.len());
    rows.max().unwrap_or(0)
}

fn group(q: &CubeTensor, k: &CubeTensor) -> usize {
    cube::dims2(q)[1] / cube::dims2(k)[1]
}
