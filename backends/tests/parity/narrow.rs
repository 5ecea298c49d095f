//! Products that read bf16, f16 or 4 bits, against products in f32 of what those stand for.

use super::{Random, close, everywhere, others, with_gradients};
use burn::tensor::{DType, Device, Tensor};
use duel_backends::device::computes;
use duel_backends::ops::{self, Nf4, Operands};
use std::sync::Arc;

const NARROW: [Operands; 2] = [Operands::Bf16, Operands::F16];

/// The CPU, and every other device that computes with `operands`.
fn computing(operands: Operands) -> Vec<(String, Device)> {
    let others = others().iter().filter(|(_, device)| {
        let computes = computes(device, operands);
        println!(
            "{operands:?}: {}",
            if computes { "computed" } else { "not computed" }
        );
        computes
    });
    let mut all = vec![("the CPU".to_owned(), Device::flex())];
    all.extend(others.cloned());
    all
}

/// The nearest numbers of a format whose range is no matter: `near` is about as large as the largest of them.
fn rounded(x: &Tensor<2>, operands: Operands, near: f32) -> Tensor<2> {
    (x.clone() / near).cast(operands.dtype()).cast(DType::F32) * near
}

/// Gradients of 2^-30 and inputs of 2^20 lie outside of what f16 can hold.
#[test]
fn narrow_products_are_products_of_rounded_operands_forward_and_backward() {
    let (large, small) = (2.0f32.powi(20), 2.0f32.powi(-30));
    for operands in NARROW {
        for (seed, (name, device)) in
            (0..8).flat_map(|s| computing(operands).into_iter().map(move |d| (s, d)))
        {
            let cpu = Device::flex();
            let mut random = Random(seed);
            let (rows, width) = (1 + random.below(70), 1 + random.below(90));
            let out = 1 + random.below(80);
            let x = random.matrix(rows, width, &cpu) * large;
            let w = random.matrix(out, width, &cpu);
            let g = random.matrix(rows, out, &cpu) * small;
            let [rx, rw, rg] =
                [(&x, large), (&w, 1.0), (&g, small)].map(|(t, near)| rounded(t, operands, near));
            let want = [
                rx.clone().matmul(rw.clone().transpose()) / large,
                rg.clone().matmul(rw) / small,
                rg.transpose().matmul(rx) / (large * small),
            ];
            let [x, w, g] = [x, w, g].map(|t| t.to_device(&device));
            let found = with_gradients(&[x, w], &g, |x| {
                ops::linear(x[0].clone(), x[1].clone(), operands)
            });
            let sizes = [large, small, large * small];
            for (i, ((found, size), want)) in found.into_iter().zip(sizes).zip(&want).enumerate() {
                let name = format!("linear in {operands:?} on {name} [{i}]");
                close(&name, seed, &(found / size).to_device(&cpu), want);
            }
        }
    }
}

/// A frozen weight is kept as it is read.
#[test]
fn a_weight_that_is_kept_narrow_multiplies_as_one_that_is_rounded() {
    for operands in NARROW {
        for (name, device) in computing(operands) {
            let mut random = Random(3);
            let [x, w] = [(20, 40), (30, 40)].map(|(n, m)| random.matrix(n, m, &device));
            let kept = w.clone().cast(operands.dtype());
            let [found, want] = [kept, w].map(|w| ops::linear(x.clone(), w, operands));
            close(&name, 3, &found, &want);
        }
    }
}

#[test]
fn narrow_log_probs_are_those_of_rounded_operands_with_their_gradients() {
    let cpu = Device::flex();
    for operands in NARROW {
        for (name, device) in computing(operands) {
            let mut random = Random(4);
            let (rows, width, vocab) = (30, 20, 5000);
            let targets: Arc<Vec<u32>> =
                Arc::new((0..rows).map(|_| random.below(vocab) as u32).collect());
            let inputs = [rows, vocab].map(|n| random.matrix(n, width, &cpu));
            let weights = random.matrix(1, rows, &cpu);
            let of_rounded: Vec<_> = inputs.iter().map(|t| rounded(t, operands, 1.0)).collect();
            let want = with_gradients(&of_rounded, &weights, |x| {
                let (h, w) = (x[0].clone(), x[1].clone());
                ops::target_logprobs::reference(h, w, targets.clone(), None)
                    .logps
                    .unsqueeze()
            });
            let moved = |t: &Tensor<2>| t.clone().to_device(&device);
            let inputs: Vec<_> = inputs.iter().map(moved).collect();
            let found = with_gradients(&inputs, &moved(&weights), |x| {
                let (h, w) = (x[0].clone(), x[1].clone());
                ops::target_logprobs(h, w, targets.clone(), operands, None)
                    .logps
                    .unsqueeze()
            });
            close(&name, 4, &found[0].clone().to_device(&cpu), &want[0]);
            // The gradient of the logits is rounded, too, as any operand: to 8 or 11 bits.
            let bits = if operands == Operands::Bf16 { 8 } else { 11 };
            for (found, want) in found[1..].iter().zip(&want[1..]) {
                let far = (found.clone().to_device(&cpu) - want.clone()).abs().max();
                let size = want.clone().abs().max();
                let far = far.into_scalar::<f32>() / size.into_scalar::<f32>();
                assert!(far < 2.0f32.powi(-bits), "{name} in {operands:?}: {far}");
            }
        }
    }
}

#[test]
fn four_bits_multiply_as_the_weight_they_stand_for_forward_and_backward() {
    for seed in 0..8 {
        for device in everywhere() {
            let cpu = Device::flex();
            let mut random = Random(seed);
            let (rows, width) = (1 + random.below(40), 1 + random.below(200));
            let out = 1 + random.below(60);
            let values: Vec<f32> = (0..out * width).map(|_| random.float()).collect();
            let [here, there] = [&cpu, &device].map(|d| Nf4::new(&values, [out, width], d));
            let whole = here.whole();
            close("unpacked", seed, &there.whole().to_device(&cpu), &whole);
            let x = random.matrix(rows, width, &cpu);
            let g = random.matrix(rows, out, &cpu);
            let want = with_gradients(std::slice::from_ref(&x), &g, |x| {
                let whole = whole.clone().autodiff();
                ops::linear::reference(x[0].clone(), whole)
            });
            let [x, g] = [x, g].map(|t| t.to_device(&device));
            let found = with_gradients(&[x], &g, |x| there.linear(x[0].clone(), Operands::F32));
            for (found, want) in found.iter().zip(&want) {
                close("nf4", seed, &found.clone().to_device(&cpu), want);
            }
        }
    }
}

/// What bitsandbytes makes of the same weights (`make_nf4.py`).
#[test]
fn codes_stand_for_what_those_of_bitsandbytes_do() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("nf4.json")).unwrap();
    let numbers = |key: &str| -> Vec<f32> {
        let values = golden[key].as_array().unwrap();
        values.iter().map(|v| v.as_f64().unwrap() as f32).collect()
    };
    let (weight, want) = (numbers("weight"), numbers("dequantised"));
    let width = golden["width"].as_u64().unwrap() as usize;
    let packed = Nf4::new(&weight, [weight.len() / width, width], &Device::flex());
    let found: Vec<f32> = packed.whole().into_data().iter::<f32>().collect();
    assert_eq!(found, want);
}
