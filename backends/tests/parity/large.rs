//! Sizes at which a kernel takes more than one tile, one load and one cube in every direction, and none of them evenly.

use super::{Random, random_spans, same};
use burn::tensor::Device;
use duel_backends::ops::{self, Operands, Scores};
use std::sync::Arc;

#[test]
fn large_products_and_rows_equal_their_references() {
    let device = Device::flex();
    let mut random = Random(1);
    let (rows, width, out) = (333, 709, 1031);
    let x = random.matrix(rows, width, &device);
    let scale = random.matrix(1, width, &device);
    // Sums of so many products grow with the width: what is compared lies around 1 as everywhere.
    let w = random.matrix(out, width, &device) * 0.1;
    let weights = random.matrix(rows, out, &device);
    same(
        "linear",
        1,
        &[x.clone(), w],
        &weights,
        |x| ops::linear(x[0].clone(), x[1].clone(), Operands::F32),
        |x| ops::linear::reference(x[0].clone(), x[1].clone()),
    );
    let weights = random.matrix(rows, width, &device);
    same(
        "rms_norm",
        1,
        &[x.clone(), scale],
        &weights,
        |x| ops::rms_norm(x[0].clone(), x[1].clone().flatten(0, 1), 1e-5),
        |x| ops::rms_norm::reference(x[0].clone(), x[1].clone().flatten(0, 1), 1e-5),
    );
    let up = random.matrix(rows, width, &device);
    same(
        "swiglu",
        1,
        &[x, up],
        &weights,
        |x| ops::swiglu(x[0].clone(), x[1].clone()),
        |x| ops::swiglu::reference(x[0].clone(), x[1].clone()),
    );
}

#[test]
fn large_heads_over_long_segments_equal_their_reference() {
    let device = Device::flex();
    for (seed, softcap) in [(1, None), (2, Some(2.0))] {
        let mut random = Random(seed);
        let (mut rows, mut spans) = (0, None);
        // The first try of some length: both sizes of tiles are filled, and more than one of each.
        while rows < 150 {
            let window = (seed == 2).then_some(50);
            let (found, of) = random_spans(&mut random, window);
            (rows, spans) = (found, Some(Arc::new(of)));
        }
        let spans = spans.expect("there is a long one");
        let (heads, kv_heads, head_dim) = (6, 2, 64);
        let q = random.matrix(rows, heads * head_dim, &device);
        let [k, v] = [(); 2].map(|()| random.matrix(rows, kv_heads * head_dim, &device));
        let weights = random.matrix(rows, heads * head_dim, &device);
        let scores = Scores { head_dim, softcap };
        same(
            "attention",
            seed,
            &[q, k, v],
            &weights,
            |x| {
                let [q, k, v] = [x[0].clone(), x[1].clone(), x[2].clone()];
                ops::attention(q, k, v, scores, spans.clone())
            },
            |x| {
                let [q, k, v] = [x[0].clone(), x[1].clone(), x[2].clone()];
                ops::attention::reference(q, k, v, scores, &spans)
            },
        );
    }
}
