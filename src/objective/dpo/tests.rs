//! How the tests of the losses read golden numbers and run a loss.

mod laws;
mod oracle;

use burn::tensor::{Device, Tensor};
use serde_json::Value;

use crate::objective::pair::{PairLogps, PairState, pair_loss, pair_metrics};
use crate::recipe::loss::{FDivergence, LossType, PairLoss};

/// Log-probs on the host: sums in f64, lengths in tokens.
#[derive(Clone)]
struct Pairs {
    chosen: Vec<f64>,
    rejected: Vec<f64>,
    ref_chosen: Vec<f64>,
    ref_rejected: Vec<f64>,
    chosen_tokens: Vec<f64>,
    rejected_tokens: Vec<f64>,
}

/// One loss as TRL computed it.
struct Case {
    label: String,
    config: PairLoss,
    loss: f64,
    gradient: [Vec<f64>; 2],
    metrics: Value,
}

const ALL: [LossType; 18] = [
    LossType::Sigmoid,
    LossType::SigmoidNorm,
    LossType::Robust,
    LossType::ExoPair,
    LossType::Hinge,
    LossType::Ipo,
    LossType::BcoPair,
    LossType::SppoHard,
    LossType::NcaPair,
    LossType::Aot,
    LossType::AotUnpaired,
    LossType::ApoZero,
    LossType::ApoDown,
    LossType::Discopop,
    LossType::Sft,
    LossType::Simpo,
    LossType::Orpo,
    LossType::KtoPair,
];

fn one(kind: LossType) -> PairLoss {
    PairLoss {
        loss_type: vec![kind],
        ..PairLoss::default()
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("a list of numbers")
}

fn golden(text: &str) -> Value {
    serde_json::from_str(text).expect("the golden file is JSON")
}

fn pair_file() -> Value {
    golden(include_str!("../../../tests/golden/pair_losses.json"))
}

fn oracle_pairs() -> Pairs {
    let file = pair_file();
    let sums = |key: &str, rows: std::ops::Range<usize>| {
        rows.map(|row| numbers(&file[key][row]).iter().sum())
            .collect()
    };
    Pairs {
        chosen: sums("policy_token_logps", 0..8),
        rejected: sums("policy_token_logps", 8..16),
        ref_chosen: sums("reference_token_logps", 0..8),
        ref_rejected: sums("reference_token_logps", 8..16),
        chosen_tokens: numbers(&file["completion_lengths_chosen"]),
        rejected_tokens: numbers(&file["completion_lengths_rejected"]),
    }
}

/// TRL's names for options are the recipe's, but for the list of losses.
fn oracle_cases() -> Vec<Case> {
    let other = golden(include_str!(
        "../../../tests/golden/unreferenced_losses.json"
    ));
    let file = pair_file();
    let rows = file["results"]
        .as_array()
        .into_iter()
        .chain(other["results"].as_array());
    rows.flatten().map(read_case).collect()
}

fn read_case(row: &Value) -> Case {
    let mut config = row["options"].clone();
    let keys = config.as_object_mut().expect("options are a table");
    let losses = keys
        .remove("loss_types")
        .unwrap_or_else(|| vec![row["loss_type"].clone()].into());
    keys.insert("loss_type".into(), losses);
    Case {
        label: format!("{} {}", row["loss_type"], row["options"]),
        config: serde_json::from_value(config).expect("TRL's options are a recipe's keys"),
        loss: row["loss"].as_f64().expect("a loss"),
        gradient: [&row["dloss_dlogp_chosen"], &row["dloss_dlogp_rejected"]].map(numbers),
        metrics: row["metrics"].clone(),
    }
}

fn host(t: Tensor<1>) -> Vec<f64> {
    let values = t.try_into_vec_as::<f32>().expect("f32 on the host");
    values.into_iter().map(f64::from).collect()
}

fn tensors(pairs: &Pairs, device: &Device) -> PairLogps {
    let tensor = |values: &[f64]| {
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        Tensor::<1>::from_floats(&values[..], device)
    };
    PairLogps {
        chosen: tensor(&pairs.chosen),
        rejected: tensor(&pairs.rejected),
        ref_chosen: tensor(&pairs.ref_chosen),
        ref_rejected: tensor(&pairs.ref_rejected),
        chosen_tokens: tensor(&pairs.chosen_tokens),
        rejected_tokens: tensor(&pairs.rejected_tokens),
        tokens_per_pair: None,
    }
}

/// Loss of each pair, and the gradient of their mean by the log-probs of the policy.
fn run(config: &PairLoss, pairs: &Pairs, state: &mut PairState) -> (Vec<f64>, [Vec<f64>; 2]) {
    let mut logps = tensors(pairs, &Device::flex().autodiff());
    logps.chosen = logps.chosen.require_grad();
    logps.rejected = logps.rejected.require_grad();
    let losses = pair_loss(config, &logps, state);
    let gradients = losses.clone().mean().backward();
    let of = |leaf: &Tensor<1>| match leaf.grad(&gradients) {
        Some(gradient) => host(gradient),
        None => vec![0.0; pairs.chosen.len()],
    };
    let gradient = [of(&logps.chosen), of(&logps.rejected)];
    (host(losses), gradient)
}

fn losses(config: &PairLoss, pairs: &Pairs) -> Vec<f64> {
    run(config, pairs, &mut PairState::default()).0
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Policy -10 / -12, reference -11 / -11.5, 5 and 8 tokens: margin 1.5.
fn spec_pair() -> Pairs {
    Pairs {
        chosen: vec![-10.0],
        rejected: vec![-12.0],
        ref_chosen: vec![-11.0],
        ref_rejected: vec![-11.5],
        chosen_tokens: vec![5.0],
        rejected_tokens: vec![8.0],
    }
}
