//! Every fused op beside its reference body, at the sizes of SmolLM2-135M and 440 tokens (two HH pairs):
//! `cargo bench -p duel-backends`.

use burn::tensor::{Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use duel_backends::ops::{
    self, AdamW, KeySpan, Operands, Precision, QuerySegment, Scores, Served, Spans,
};
use std::hint::black_box;
use std::sync::Arc;

const TOKENS: usize = 440;
const HIDDEN: usize = 576;
const INTERMEDIATE: usize = 1536;
const VOCAB: usize = 49152;
const TARGETS: usize = 120;

fn matrix(rows: usize, width: usize) -> Tensor<2> {
    Tensor::random(
        [rows, width],
        Distribution::Uniform(-1.0, 1.0),
        &Device::flex(),
    )
}

/// One forward and backward pass through `f`.
fn trained<const N: usize>(inputs: &[Tensor<2>; N], f: impl Fn([Tensor<2>; N]) -> Tensor<2>) {
    let tracked = inputs.clone().map(|x| x.autodiff().require_grad());
    black_box(f(tracked.clone()).sum().backward());
}

/// An op by both bodies, forward and with gradients.
fn pair<const N: usize>(
    c: &mut Criterion,
    name: &str,
    inputs: [Tensor<2>; N],
    fused: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    plain: impl Fn([Tensor<2>; N]) -> Tensor<2>,
) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    group.bench_function("fused", |b| b.iter(|| black_box(fused(inputs.clone()))));
    group.bench_function("reference", |b| b.iter(|| black_box(plain(inputs.clone()))));
    group.bench_function("fused, trained", |b| b.iter(|| trained(&inputs, &fused)));
    group.bench_function("reference, trained", |b| {
        b.iter(|| trained(&inputs, &plain))
    });
    group.finish();
}

fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    group.sample_size(10);
    for (outs, width) in [
        (INTERMEDIATE, HIDDEN),
        (HIDDEN, INTERMEDIATE),
        (VOCAB, HIDDEN),
    ] {
        let weight = matrix(outs, width);
        for rows in [1, 8, 32, 64, TOKENS] {
            if outs == VOCAB && rows == TOKENS {
                continue;
            }
            let x = matrix(rows, width);
            let name = format!("{rows} x {width} x {outs}");
            group.throughput(Throughput::Elements((2 * rows * width * outs) as u64));
            group.bench_function(BenchmarkId::new("fused", &name), |b| {
                b.iter(|| black_box(ops::linear(x.clone(), weight.clone(), Operands::F32)))
            });
            group.bench_function(BenchmarkId::new("reference", &name), |b| {
                b.iter(|| black_box(ops::linear::reference(x.clone(), weight.clone())))
            });
        }
    }
    group.finish();
    pair(
        c,
        "linear, both gradients",
        [matrix(TOKENS, HIDDEN), matrix(INTERMEDIATE, HIDDEN)],
        |[x, w]| ops::linear(x, w, Operands::F32),
        |[x, w]| ops::linear::reference(x, w),
    );
}

fn elementwise(c: &mut Criterion) {
    let norm = matrix(1, HIDDEN).reshape([HIDDEN]);
    pair(
        c,
        "rms_norm",
        [matrix(TOKENS, HIDDEN)],
        |[x]| ops::rms_norm(x, norm.clone(), 1e-5),
        |[x]| ops::rms_norm::reference(x, norm.clone(), 1e-5),
    );
    let (cos, sin) = (matrix(TOKENS, 32), matrix(TOKENS, 32));
    pair(
        c,
        "rotary",
        [matrix(TOKENS, HIDDEN)],
        |[x]| ops::rotary(x, cos.clone(), sin.clone()),
        |[x]| ops::rotary::reference(x, cos.clone(), sin.clone()),
    );
    pair(
        c,
        "swiglu",
        [matrix(TOKENS, INTERMEDIATE), matrix(TOKENS, INTERMEDIATE)],
        |[gate, up]| ops::swiglu(gate, up),
        |[gate, up]| ops::swiglu::reference(gate, up),
    );
}

fn attention(c: &mut Criterion) {
    let spans = Arc::new(Spans::causal(TOKENS));
    pair(
        c,
        "attention",
        [
            matrix(TOKENS, HIDDEN),
            matrix(TOKENS, 192),
            matrix(TOKENS, 192),
        ],
        |[q, k, v]| ops::attention(q, k, v, Scores::new(64), spans.clone()),
        |[q, k, v]| ops::attention::reference(q, k, v, Scores::new(64), &spans),
    );
}

fn head(c: &mut Criterion) {
    let targets = Arc::new((0..TARGETS as u32).collect::<Vec<_>>());
    pair(
        c,
        "target_logprobs",
        [matrix(TARGETS, HIDDEN), matrix(VOCAB, HIDDEN)],
        |[hidden, weight]| {
            ops::target_logprobs(hidden, weight, targets.clone(), Operands::F32, None)
                .logps
                .unsqueeze()
        },
        |[hidden, weight]| {
            let plain = ops::target_logprobs::reference(hidden, weight, targets.clone(), None);
            plain.logps.unsqueeze()
        },
    );
}

fn adamw(c: &mut Criterion) {
    let how = AdamW {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.0,
        step: 3,
        grad_scale: 1.0,
    };
    let grad = matrix(INTERMEDIATE, HIDDEN);
    let mut group = c.benchmark_group("adamw");
    group.sample_size(10);
    let fresh = || [0; 3].map(|_| matrix(INTERMEDIATE, HIDDEN).abs());
    // The update writes in place where nobody else holds the tensors, as in the trainer: its state goes round.
    let mut state = fresh();
    group.bench_function("fused", |b| {
        b.iter(|| {
            let [p, m, v] = std::mem::replace(&mut state, [0; 3].map(|_| matrix(1, 1)));
            let (p, m, v) = ops::adamw(p, grad.clone(), m, v, how);
            state = [p, m, v];
        })
    });
    // Its gradient of the table of vectors: as many rows as a step has tokens, added in place.
    let rows = Arc::new(
        (0..TOKENS as u32)
            .map(|i| i * 97 % VOCAB as u32)
            .collect::<Vec<_>>(),
    );
    let (mut table, new) = (matrix(VOCAB, HIDDEN), matrix(TOKENS, HIDDEN));
    group.bench_function("add_rows, fused", |b| {
        b.iter(|| {
            let held = std::mem::replace(&mut table, matrix(1, 1));
            table = ops::add_rows(held, new.clone(), rows.clone());
        })
    });
    group.bench_function("add_rows, reference", |b| {
        b.iter(|| {
            let held = std::mem::replace(&mut table, matrix(1, 1));
            table = ops::add_rows::reference(held, new.clone(), &rows);
        })
    });
    let [p, m, v] = fresh();
    group.bench_function("reference", |b| {
        b.iter(|| {
            black_box(ops::adamw::reference(
                p.clone(),
                grad.clone(),
                m.clone(),
                v.clone(),
                how,
            ))
        })
    });
    group.finish();
}

/// One token of each of `K` responses that share a prompt.
fn decoding(c: &mut Criterion) {
    const K: usize = 8;
    const PROMPT: usize = 130;
    const OWN: usize = 64;
    let mut group = c.benchmark_group("decoding, 8 responses");
    group.sample_size(20);
    let keys = matrix(PROMPT + K * OWN, 192);
    let q = matrix(K, HIDDEN);
    let segment = |i: usize| QuerySegment {
        rows: i..i + 1,
        depth: PROMPT + OWN - 1,
        keys: vec![
            KeySpan {
                rows: 0..PROMPT,
                depth: 0,
            },
            KeySpan {
                rows: PROMPT + i * OWN..PROMPT + (i + 1) * OWN,
                depth: PROMPT,
            },
        ],
    };
    let spans = Arc::new(Spans {
        segments: (0..K).map(segment).collect(),
        window: None,
    });
    group.bench_function("attention, fused", |b| {
        b.iter(|| {
            black_box(ops::attention(
                q.clone(),
                keys.clone(),
                keys.clone(),
                Scores::new(64),
                spans.clone(),
            ))
        })
    });
    group.bench_function("attention, reference", |b| {
        b.iter(|| {
            let (keys, values) = (keys.clone(), keys.clone());
            black_box(ops::attention::reference(
                q.clone(),
                keys,
                values,
                Scores::new(64),
                &spans,
            ))
        })
    });
    let weight = matrix(VOCAB, HIDDEN);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let served = Served::new(weight.clone(), precision, Operands::F32);
        let plain = ops::served::rounded(weight.clone(), precision);
        group.bench_function(format!("served {precision:?}, fused"), |b| {
            b.iter(|| black_box(served.linear(q.clone())))
        });
        group.bench_function(format!("served {precision:?}, reference"), |b| {
            b.iter(|| black_box(ops::linear::reference(q.clone(), plain.clone())))
        });
    }
    group.finish();
}

fn low_rank(c: &mut Criterion) {
    pair(
        c,
        "low_rank, r = 16",
        [
            matrix(TOKENS, HIDDEN),
            matrix(16, HIDDEN),
            matrix(INTERMEDIATE, 16),
        ],
        |[x, a, b]| ops::low_rank(x, frozen(), a, b, 2.0, Operands::F32),
        |[x, a, b]| ops::low_rank::reference(x, frozen(), a, b, 2.0),
    );
}

/// A weight that takes no gradient.
fn frozen() -> Tensor<2> {
    static WEIGHT: std::sync::OnceLock<Tensor<2>> = std::sync::OnceLock::new();
    WEIGHT.get_or_init(|| matrix(INTERMEDIATE, HIDDEN)).clone()
}

criterion_group!(
    benches,
    linear,
    low_rank,
    elementwise,
    attention,
    decoding,
    head,
    adamw
);
criterion_main!(benches);
