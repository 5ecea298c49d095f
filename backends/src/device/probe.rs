//! What a device really computes, and how fast: tried, not asked.

use crate::ops::{self, KeySpan, Operands, QuerySegment, Scores, Spans};
use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs work that a driver may end with a panic; none if it does.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The formats in which a small matrix product comes out right.
pub fn computing_dtypes(device: &Device) -> Vec<&'static str> {
    let formats = [
        ("f32", Operands::F32),
        ("bf16", Operands::Bf16),
        ("f16", Operands::F16),
    ];
    formats
        .into_iter()
        .filter(|(_, operands)| computes(device, *operands))
        .map(|(name, _)| name)
        .collect()
}

fn multiplies(device: &Device, dtype: DType) -> bool {
    let a = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], device).cast(dtype);
    let product = a.clone().matmul(a).cast(DType::F32).into_data();
    product
        .try_to_vec::<f32>()
        .is_ok_and(|values| values == [7.0, 10.0, 15.0, 22.0])
}

/// Whether products on `device` can read `operands`: a small one is tried at every call.
pub fn computes(device: &Device, operands: Operands) -> bool {
    let dtype = operands.dtype();
    device.supports_dtype(dtype) && guarded(|| multiplies(device, dtype)).unwrap_or_default()
}

/// The narrowest operands that a card computes with, of two equally narrow ones that with f32's range. The CPU has no
/// narrow products worth having.
pub fn narrowest(device: &Device) -> Operands {
    let on_cpu = matches!(
        device.clone().inner().as_dispatch(),
        DispatchDevice::Flex(_)
    );
    let formats = [Operands::Bf16, Operands::F16];
    match on_cpu {
        true => Operands::F32,
        false => formats
            .into_iter()
            .find(|&operands| computes(device, operands))
            .unwrap_or_default(),
    }
}

/// Floating-point operations a second of a matrix product on `device` that reads `operands`, over about a tenth of a
/// second. The product grows until it takes long enough for the way to the device not to count.
pub fn matrix_rate(device: &Device, operands: Operands) -> f64 {
    const LONG_ENOUGH: Duration = Duration::from_millis(2);
    const LARGEST: usize = 8192;
    let mut size = 1024;
    loop {
        let x = Tensor::<2>::ones([size / 2, size], device);
        let weight = Tensor::<2>::ones([size, size], device).cast(operands.dtype());
        // Only a number that is looked at was waited for: the bytes of `into_data` come when they are read.
        let product = || {
            let one = ops::linear(x.clone(), weight.clone(), operands).slice([0..1, 0..1]);
            std::hint::black_box(one.into_data().iter::<f32>().next());
        };
        product();
        let began = Instant::now();
        product();
        if began.elapsed() < LONG_ENOUGH && size < LARGEST {
            size *= 2;
            continue;
        }
        let began = Instant::now();
        let mut products = 0;
        while began.elapsed() < Duration::from_millis(100) {
            product();
            products += 1;
        }
        return (products * size * size * size) as f64 / began.elapsed().as_secs_f64();
    }
}

/// Sizes of the block of [`step_rate`]: those of a model of about 100 million parameters, over two short pairs.
const HIDDEN: usize = 768;
const INNER: usize = 2048;
const HEAD: usize = 64;
const PROMPT: usize = 128;

/// Tokens a second of a block forward and backward on `device`, the fastest of some: the products, attention over prompts that
/// two responses share, and what lies between.
pub fn step_rate(device: &Device) -> f64 {
    let spans = pairs();
    let rows = spans
        .segments
        .iter()
        .map(|segment| segment.rows.len())
        .sum::<usize>();
    let step = || {
        let matrix = |out: usize, width: usize| {
            let weight = Tensor::<2>::full([out, width], 0.01, device);
            weight.autodiff().require_grad()
        };
        let x = Tensor::<2>::full([rows, HIDDEN], 0.1, device)
            .autodiff()
            .require_grad();
        let out = block(&x, &matrix, &spans).sum();
        let gradient = x.grad(&out.backward()).expect("it is tracked");
        // Only a number that is looked at was waited for.
        std::hint::black_box(
            gradient
                .slice([0..1, 0..1])
                .into_data()
                .iter::<f32>()
                .next(),
        );
    };
    // What is compiled and tried, and then what is measured.
    step();
    let (began, mut steps, mut fastest) = (Instant::now(), 0, f64::INFINITY);
    while steps < 3 || began.elapsed() < Duration::from_millis(100) {
        let began = Instant::now();
        step();
        steps += 1;
        fastest = fastest.min(began.elapsed().as_secs_f64());
    }
    rows as f64 / fastest
}

/// A block of a Llama over `x [tokens, HIDDEN]`; `matrix` makes its weights.
fn block(
    x: &Tensor<2>,
    matrix: &dyn Fn(usize, usize) -> Tensor<2>,
    spans: &Arc<Spans>,
) -> Tensor<2> {
    let norm = || matrix(1, HIDDEN).flatten(0, 1);
    let times = |x: &Tensor<2>, out: usize, width: usize| {
        ops::linear(x.clone(), matrix(out, width), Operands::F32)
    };
    let read = ops::rms_norm(x.clone(), norm(), 1e-5);
    let [q, k, v] = [(); 3].map(|()| times(&read, HIDDEN, HIDDEN));
    let mixed = ops::attention(q, k, v, Scores::new(HEAD), spans.clone());
    let x = x.clone() + times(&mixed, HIDDEN, HIDDEN);
    let read = ops::rms_norm(x.clone(), norm(), 1e-5);
    let [gate, up] = [(); 2].map(|()| times(&read, INNER, HIDDEN));
    x + times(&ops::swiglu(gate, up), HIDDEN, INNER)
}

/// Two prompts with two responses each, all equally long.
fn pairs() -> Arc<Spans> {
    let mut segments = Vec::new();
    for pair in 0..2 {
        let first = pair * 3 * PROMPT;
        let span = |part: usize| KeySpan {
            rows: first + part * PROMPT..first + (part + 1) * PROMPT,
            depth: if part == 0 { 0 } else { PROMPT },
        };
        for part in 0..3 {
            let keys = if part == 0 {
                vec![span(0)]
            } else {
                vec![span(0), span(part)]
            };
            segments.push(QuerySegment {
                rows: span(part).rows,
                depth: span(part).depth,
                keys,
            });
        }
    }
    Arc::new(Spans {
        segments,
        window: None,
    })
}
