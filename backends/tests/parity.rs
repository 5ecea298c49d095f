//! Every fused op against its reference body, forward and backward, on random shapes.

use burn::tensor::{Device, Tensor, TensorData};
use duel_backends::device;
use duel_backends::ops::{
    self, KeySpan, Moments8bit, Operands, Precision, QuerySegment, Scores, Served, Spans,
};
use std::sync::{Arc, OnceLock};

#[path = "parity/drawing.rs"]
mod drawing;
#[path = "parity/large.rs"]
mod large;
#[path = "parity/narrow.rs"]
mod narrow;

/// A small generator of its own, so that a failure names a seed and nothing else.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn float(&mut self) -> f32 {
        (self.next() % 20_001) as f32 / 10_000.0 - 1.0
    }

    fn matrix(&mut self, rows: usize, width: usize, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = (0..rows * width).map(|_| self.float()).collect();
        Tensor::from_data(TensorData::new(values, [rows, width]), device)
    }
}

fn close<const D: usize>(name: &str, seed: u64, fused: &Tensor<D>, plain: &Tensor<D>) {
    let (fused, plain) = (fused.to_data(), plain.to_data());
    let fused: Vec<f32> = fused.iter::<f32>().collect();
    let plain: Vec<f32> = plain.iter::<f32>().collect();
    assert_eq!(
        fused.len(),
        plain.len(),
        "{name}, seed {seed}: shapes differ"
    );
    let size = plain.iter().fold(1.0f32, |m, x| m.max(x.abs()));
    let mut bias = 0.0f64;
    for (a, b) in fused.iter().zip(&plain) {
        let error = (a - b).abs();
        assert!(error <= 2e-5 * size, "{name}, seed {seed}: {a} against {b}");
        bias += f64::from(a - b);
    }
    let mean = bias.abs() / fused.len().max(1) as f64;
    assert!(
        mean <= 2e-6 * f64::from(size),
        "{name}, seed {seed}: residuals lean by {mean}"
    );
}

/// Runs `f` on tracked inputs and returns its output with the inputs' gradients, under a fixed random
/// weighting of the output.
fn with_gradients(
    inputs: &[Tensor<2>],
    weights: &Tensor<2>,
    f: impl Fn(&[Tensor<2>]) -> Tensor<2>,
) -> Vec<Tensor<2>> {
    let tracked: Vec<_> = inputs
        .iter()
        .map(|x| x.clone().autodiff().require_grad())
        .collect();
    let out = f(&tracked);
    let loss = (out.clone() * weights.clone().autodiff()).sum();
    let grads = loss.backward();
    let mut all = vec![out.inner()];
    for x in &tracked {
        all.push(x.grad(&grads).expect("every input takes a gradient"));
    }
    all
}

fn same(
    name: &str,
    seed: u64,
    inputs: &[Tensor<2>],
    weights: &Tensor<2>,
    fused: impl Fn(&[Tensor<2>]) -> Tensor<2>,
    plain: impl Fn(&[Tensor<2>]) -> Tensor<2>,
) {
    let all = |name: &str, found: &[Tensor<2>], want: &[Tensor<2>]| {
        for (i, (found, want)) in found.iter().zip(want).enumerate() {
            close(&format!("{name} [{i}]"), seed, found, want);
        }
    };
    let want = with_gradients(inputs, weights, plain);
    all(name, &with_gradients(inputs, weights, &fused), &want);
    for (device_name, device) in others() {
        // The same call on another device takes the body that serves it there.
        let moved = |x: &Tensor<2>| x.clone().to_device(device);
        let inputs: Vec<Tensor<2>> = inputs.iter().map(moved).collect();
        let found = with_gradients(&inputs, &moved(weights), &fused);
        all(&format!("{name} on {device_name}"), &found, &want);
    }
}

/// A tensor that takes no gradient, where the tracked tensor `x` lies.
fn beside(x: &Tensor<2>, frozen: &Tensor<2>) -> Tensor<2> {
    frozen.clone().to_device(&x.device().inner()).autodiff()
}

/// Every device of this build and machine but the CPU, open.
fn others() -> &'static [(String, Device)] {
    static OTHERS: OnceLock<Vec<(String, Device)>> = OnceLock::new();
    OTHERS.get_or_init(|| {
        let others = device::found()
            .into_iter()
            .filter(|found| found.backend != "cpu");
        let opened = others.map(|found| {
            let name = format!(
                "{} {} ({}, {})",
                found.backend, found.index, found.name, found.driver
            );
            println!("beside the CPU: {name}");
            let device = device::open(found.backend, found.index);
            (name, device.expect("a device that was found opens"))
        });
        opened.collect()
    })
}

/// A random tree of segments as a trie lays them out: deep chains, forks, one-token segments.
fn random_spans(random: &mut Random, window: Option<usize>) -> (usize, Spans) {
    let mut segments: Vec<QuerySegment> = Vec::new();
    let mut next = 0;
    for i in 0..1 + random.below(6) {
        let longest = [1, 50, 50][random.below(3)];
        let len = 1 + random.below(longest);
        let parent = (i > 0 && random.below(4) > 0).then(|| random.below(i));
        let mut keys = parent.map_or(Vec::new(), |p| segments[p].keys.clone());
        let depth = parent.map_or(0, |p| segments[p].depth + segments[p].rows.len());
        let rows = next..next + len;
        keys.push(KeySpan {
            rows: rows.clone(),
            depth,
        });
        segments.push(QuerySegment { rows, depth, keys });
        next += len;
    }
    (next, Spans { segments, window })
}

#[test]
fn attention_equals_its_reference_on_random_tries() {
    let device = Device::flex();
    for seed in 0..80 {
        let mut random = Random(seed);
        let window = (random.below(3) == 0).then(|| 1 + random.below(20));
        let (rows, spans) = random_spans(&mut random, window);
        let (dim, kv_heads, group) = (
            // Widths below, at and between whole vectors, groups below, at and above the rows that share a load.
            [4, 8, 16, 48, 64, 80][random.below(6)],
            1 + random.below(3),
            1 + random.below(5),
        );
        let (width, kv_width) = (dim * kv_heads * group, dim * kv_heads);
        let inputs = [
            random.matrix(rows, width, &device),
            random.matrix(rows, kv_width, &device),
            random.matrix(rows, kv_width, &device),
        ];
        let weights = random.matrix(rows, width, &device);
        let shared = Arc::new(spans.clone());
        // Scores lie around 1 here: a cap of 2 bends them all.
        let scores = Scores {
            head_dim: dim,
            softcap: (seed % 3 == 0).then_some(2.0),
        };
        same(
            "attention",
            seed,
            &inputs,
            &weights,
            |x| {
                ops::attention(
                    x[0].clone(),
                    x[1].clone(),
                    x[2].clone(),
                    scores,
                    shared.clone(),
                )
            },
            |x| {
                let [q, k, v] = [x[0].clone(), x[1].clone(), x[2].clone()];
                ops::attention::reference(q, k, v, scores, &spans)
            },
        );
    }
}

#[test]
fn attention_in_blocks_equals_attention_at_once() {
    let device = Device::flex();
    for seed in 100..130 {
        let mut random = Random(seed);
        let window = (random.below(3) == 0).then(|| 1 + random.below(20));
        let (rows, spans) = random_spans(&mut random, window);
        let inputs = [(); 3].map(|()| random.matrix(rows, 8, &device));
        let weights = random.matrix(rows, 8, &device);
        let most = 1 + random.below(40);
        let scores = Scores::new(8);
        same(
            "attention in blocks",
            seed,
            &inputs,
            &weights,
            |x| {
                let [q, k, v] = [x[0].clone(), x[1].clone(), x[2].clone()];
                ops::attention::blocks::attention(q, k, v, scores, &spans, most)
            },
            |x| {
                let [q, k, v] = [x[0].clone(), x[1].clone(), x[2].clone()];
                ops::attention::reference(q, k, v, scores, &spans)
            },
        );
    }
}

#[test]
fn row_ops_equal_their_references() {
    let device = Device::flex();
    for seed in 0..20 {
        let mut random = Random(seed);
        let (rows, half, heads) = (
            1 + random.below(70),
            1 + random.below(40),
            1 + random.below(4),
        );
        let width = 2 * half * heads;
        let x = random.matrix(rows, width, &device);
        let weights = random.matrix(rows, width, &device);
        let scale = random.matrix(1, width, &device);
        same(
            "rms_norm",
            seed,
            &[x.clone(), scale],
            &weights,
            |x| ops::rms_norm(x[0].clone(), x[1].clone().flatten(0, 1), 1e-5),
            |x| ops::rms_norm::reference(x[0].clone(), x[1].clone().flatten(0, 1), 1e-5),
        );
        let up = random.matrix(rows, width, &device);
        same(
            "swiglu",
            seed,
            &[x.clone() * 4.0, up],
            &weights,
            |x| ops::swiglu(x[0].clone(), x[1].clone()),
            |x| ops::swiglu::reference(x[0].clone(), x[1].clone()),
        );
        let angles = random.matrix(rows, half, &device) * 7.0;
        let (cos, sin) = (angles.clone().cos(), angles.sin());
        let turned = |f: fn(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<2>| {
            let (cos, sin) = (cos.clone(), sin.clone());
            move |x: &[Tensor<2>]| f(x[0].clone(), beside(&x[0], &cos), beside(&x[0], &sin))
        };
        same(
            "rotary",
            seed,
            std::slice::from_ref(&x),
            &weights,
            turned(ops::rotary),
            turned(ops::rotary::reference),
        );
        let out = 1 + random.below(60);
        let matrix = random.matrix(out, width, &device);
        let weights = random.matrix(rows, out, &device);
        same(
            "linear",
            seed,
            &[x, matrix],
            &weights,
            |x| ops::linear(x[0].clone(), x[1].clone(), Operands::F32),
            |x| ops::linear::reference(x[0].clone(), x[1].clone()),
        );
    }
}

#[test]
fn low_rank_equals_its_reference_with_a_trained_or_a_frozen_weight() {
    let device = Device::flex();
    for seed in 0..12 {
        let mut random = Random(seed);
        let (rows, width, out, r) = (
            1 + random.below(70),
            1 + random.below(80),
            1 + random.below(80),
            1 + random.below(20),
        );
        let x = random.matrix(rows, width, &device);
        let weight = random.matrix(out, width, &device);
        let a = random.matrix(r, width, &device);
        let b = random.matrix(out, r, &device);
        let weights = random.matrix(rows, out, &device);
        let by = |f: fn([Tensor<2>; 4]) -> Tensor<2>| {
            let frozen = weight.clone();
            move |t: &[Tensor<2>]| {
                let own = t.get(3).cloned().unwrap_or_else(|| beside(&t[0], &frozen));
                f([t[0].clone(), own, t[1].clone(), t[2].clone()])
            }
        };
        let mut inputs = vec![x, a, b];
        let fused = by(|[x, w, a, b]| ops::low_rank(x, w, a, b, 0.7, Operands::F32));
        let plain = by(|[x, w, a, b]| ops::low_rank::reference(x, w, a, b, 0.7));
        same("low_rank, frozen", seed, &inputs, &weights, &fused, &plain);
        inputs.push(weight.clone());
        same("low_rank", seed, &inputs, &weights, &fused, &plain);
    }
}

#[test]
fn served_weights_multiply_as_the_rounded_weights_do() {
    let device = Device::flex();
    for seed in 0..20 {
        let mut random = Random(seed);
        let (rows, width) = (1 + random.below(20), 1 + random.below(200));
        let x = random.matrix(rows, width, &device);
        let weights: Vec<Tensor<2>> = (0..1 + random.below(3))
            .map(|_| {
                let out = 1 + random.below(70);
                random.matrix(out, width, &device)
            })
            .collect();
        let stacked = Tensor::cat(weights.clone(), 0);
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let rounded = ops::served::rounded(stacked.clone(), precision);
            let plain = ops::linear::reference(x.clone(), rounded);
            for device in everywhere() {
                let moved = |x: &Tensor<2>| x.clone().to_device(&device);
                let weights: Vec<Tensor<2>> = weights.iter().map(moved).collect();
                let served = Served::stacked(&weights, precision, Operands::F32);
                let fused = served.linear(moved(&x));
                close(&format!("served {precision:?}"), seed, &fused, &plain);
            }
        }
    }
}

#[test]
fn rounding_a_served_weight_moves_it_by_at_most_half_a_step() {
    let device = Device::flex();
    let weight = Random(2).matrix(9, 150, &device);
    let largest_move = |precision| -> f32 {
        let moved = ops::served::rounded(weight.clone(), precision) - weight.clone();
        moved.abs().max().into_scalar()
    };
    assert_eq!(largest_move(Precision::F32), 0.0);
    // Values lie below 1: bf16 keeps eight bits of them, int8 127 steps.
    let (bf16, int8) = (largest_move(Precision::Bf16), largest_move(Precision::Int8));
    assert!(bf16 > 1e-4 && bf16 <= 1.0 / 512.0, "{bf16}");
    assert!(int8 > 1e-4 && int8 <= 0.5 / 127.0 + 1e-6, "{int8}");
}

#[test]
fn target_logprobs_equal_their_reference_across_vocabulary_chunks() {
    let device = Device::flex();
    for (seed, vocab) in [(1u64, 7), (2, 4096), (3, 4097), (4, 9000)] {
        let mut random = Random(seed);
        let (rows, width) = (1 + random.below(40), 3 + random.below(30));
        let targets = Arc::new(
            (0..rows)
                .map(|_| random.below(vocab) as u32)
                .collect::<Vec<_>>(),
        );
        let inputs = [
            random.matrix(rows, width, &device) * 3.0,
            random.matrix(vocab, width, &device) * 3.0,
        ];
        let weights = random.matrix(1, rows, &device);
        let softcap = (seed % 3 == 0).then_some(5.0);
        same(
            "target_logprobs",
            seed,
            &inputs,
            &weights,
            |x| {
                let (h, w) = (x[0].clone(), x[1].clone());
                ops::target_logprobs(h, w, targets.clone(), Operands::F32, softcap)
                    .logps
                    .unsqueeze()
            },
            |x| {
                let (h, w) = (x[0].clone(), x[1].clone());
                ops::target_logprobs::reference(h, w, targets.clone(), softcap)
                    .logps
                    .unsqueeze()
            },
        );
        for device in everywhere() {
            let [h, w] = inputs.clone().map(|x| x.to_device(&device));
            let fused = ops::target_logprobs(
                h.clone(),
                w.clone(),
                targets.clone(),
                Operands::F32,
                softcap,
            );
            let plain = ops::target_logprobs::reference(h, w, targets.clone(), softcap);
            close("notes", seed, &fused.notes, &plain.notes);
        }
    }
}

#[test]
fn a_frozen_weight_takes_no_gradient_and_changes_nothing_else() {
    for device in everywhere() {
        let mut random = Random(5);
        let x = random.matrix(9, 6, &device).autodiff().require_grad();
        let w = random.matrix(11, 6, &device).autodiff();
        let targets = Arc::new(vec![3u32; 9]);
        let logps =
            ops::target_logprobs(x.clone(), w.clone(), targets.clone(), Operands::F32, None).logps;
        let product = ops::linear(x.clone(), w.clone(), Operands::F32);
        let grads = (logps.sum() + product.sum()).backward();
        assert!(w.grad(&grads).is_none());
        let fused = x.grad(&grads).expect("x is trained");
        let plain = {
            let x = x.clone().detach().require_grad();
            let logps = ops::target_logprobs::reference(x.clone(), w.clone(), targets, None).logps;
            let grads = (logps.sum() + ops::linear::reference(x.clone(), w).sum()).backward();
            x.grad(&grads).expect("x is trained")
        };
        close("frozen", 5, &fused, &plain);
    }
}

/// Every device, the CPU first.
fn everywhere() -> impl Iterator<Item = Device> {
    let others = others().iter().map(|(_, device)| device.clone());
    std::iter::once(Device::flex()).chain(others)
}

#[test]
fn adamw_equals_its_reference_over_three_steps() {
    for device in everywhere() {
        let mut random = Random(11);
        let param = random.matrix(5, 13, &device);
        let zeros = Tensor::zeros([5, 13], &device);
        let mut fused = (param.clone(), zeros.clone(), zeros.clone());
        let mut plain = (param, zeros.clone(), zeros);
        for step in 1..=3 {
            let grad = random.matrix(5, 13, &device);
            let how = ops::AdamW {
                lr: 1e-2,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: 0.01,
                step,
                grad_scale: 0.7,
            };
            fused = ops::adamw(fused.0, grad.clone(), fused.1, fused.2, how);
            plain = ops::adamw::reference(plain.0, grad.clone(), plain.1, plain.2, how);
        }
        close("param", 11, &fused.0, &plain.0);
        close("first", 11, &fused.1, &plain.1);
        close("second", 11, &fused.2, &plain.2);
    }
}

#[test]
fn the_squared_norm_equals_that_of_all_elements() {
    for device in everywhere() {
        for (seed, count) in [1, 13, 70_000, 200_001].into_iter().enumerate() {
            let values = Random(seed as u64).matrix(1, count, &device);
            let squares = values.clone().powi_scalar(2).sum() / count as f64;
            let fused = ops::adamw::squared_norm(values) / count as f64;
            close("norm", seed as u64, &fused, &squares);
        }
    }
}

#[test]
fn added_rows_equal_the_reference_where_rows_come_twice() {
    for (seed, device) in
        everywhere().flat_map(|device| (0..8).map(move |seed| (seed, device.clone())))
    {
        let mut random = Random(seed);
        let (table, width, count) = (
            1 + random.below(9),
            1 + random.below(40),
            1 + random.below(30),
        );
        let into = random.matrix(table, width, &device);
        let new = random.matrix(count, width, &device);
        let rows: Vec<u32> = (0..count).map(|_| random.below(table) as u32).collect();
        let plain = ops::add_rows::reference(into.clone(), new.clone(), &rows);
        let kept = into.clone();
        let before = kept.to_data();
        let fused = ops::add_rows(into, new, Arc::new(rows));
        close("add_rows", seed, &fused, &plain);
        kept.to_data().assert_eq(&before, true);
    }
}

#[test]
fn written_rows_equal_the_reference_and_leave_a_shared_matrix_alone() {
    for device in everywhere() {
        let mut random = Random(3);
        let into = random.matrix(9, 4, &device);
        let new = random.matrix(3, 4, &device);
        let rows = Arc::new(vec![7, 0, 4]);
        let kept = into.clone();
        let before = kept.to_data();
        let fused = ops::write_rows(into, new.clone(), rows.clone());
        let plain = ops::write_rows::reference(kept.clone(), new, &rows);
        close("write_rows", 3, &fused, &plain);
        kept.to_data().assert_eq(&before, true);
    }
}

/// Codes are a few per cent apart, and rounding them leans to neither side: over many steps the moments are those of
/// AdamW in the mean, and so is where the parameters go.
#[test]
fn adamw_in_8_bits_equals_adamw_in_the_mean() {
    const COUNT: usize = 5000;
    for device in everywhere() {
        let mut random = Random(7);
        let mut line = |_| random.matrix(1, COUNT, &device).reshape([COUNT]);
        let [param, direction] = [0, 1].map(&mut line);
        let zeros = Tensor::zeros([COUNT], &device);
        let mut full = (param.clone(), zeros.clone(), zeros);
        let mut packed = (param.clone(), Moments8bit::zeros(COUNT, &device));
        for step in 1..=200 {
            let grad = line(0) + direction.clone() * 0.5;
            let how = ops::AdamW {
                lr: 1e-3,
                beta1: 0.9,
                beta2: 0.99,
                eps: 1e-8,
                weight_decay: 0.01,
                step,
                grad_scale: 0.7,
            };
            full = ops::adamw(full.0, grad.clone(), full.1, full.2, how);
            packed = ops::adamw_8bit(packed.0, grad, packed.1, how);
        }
        let host = |x: &Tensor<1>| x.to_data().iter::<f32>().collect::<Vec<f32>>();
        let (first, second) = packed.1.values(COUNT);
        let relative = |name: &str, found: &[f32], want: &[f32], most: f64, lean: f64| {
            let size = want.iter().map(|x| f64::from(x.abs())).sum::<f64>() / COUNT as f64;
            let off = found.iter().zip(want).map(|(a, b)| f64::from(a - b));
            let far = off.clone().map(f64::abs).sum::<f64>() / COUNT as f64 / size;
            let mean = off.sum::<f64>().abs() / COUNT as f64 / size;
            assert!(
                far < most && mean < lean,
                "{name} is off by {far}, leans by {mean}"
            );
            assert!(far > 0.0, "{name} has more than 8 bits");
        };
        relative("first", &first, &host(&full.1), 0.05, 0.005);
        relative("second", &second, &host(&full.2), 0.05, 0.01);
        let moved = |x: &Tensor<1>| host(&(x.clone() - param.clone()));
        relative("way", &moved(&packed.0), &moved(&full.0), 0.05, 0.005);
        assert!(second.iter().all(|v| *v > 0.0), "a second moment divides");
    }
}
