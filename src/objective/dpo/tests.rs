//! Every loss against TRL's numbers, the spec's own numbers, and what must hold of any of them.

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

/// 1e-5 relative. The log-probs are near -60 and held in f32, so a log-ratio near 0.3 carries an error of 4e-6: after
/// beta 0.1 that is 4e-7 of a logit, and even behind `discopop`'s tau (20 times that) below the bound.
#[test]
fn every_loss_is_trls() {
    let pairs = oracle_pairs();
    for case in oracle_cases() {
        let found = mean(&losses(&case.config, &pairs));
        let error = (found / case.loss - 1.0).abs();
        assert!(
            error < 1e-5,
            "{}: {found} is not {}, off by {error:e}",
            case.label,
            case.loss
        );
    }
}

/// Relative to the largest entry: where the two log-probs' terms cancel in f32, a small entry has no bits left.
#[test]
fn every_gradient_is_trls() {
    let pairs = oracle_pairs();
    for case in oracle_cases() {
        let (_, found) = run(&case.config, &pairs, &mut PairState::default());
        let largest = case
            .gradient
            .iter()
            .flatten()
            .fold(0.0f64, |m, g| m.max(g.abs()));
        for (found, wanted) in found.iter().flatten().zip(case.gradient.iter().flatten()) {
            let error = (found - wanted).abs() / largest;
            assert!(error < 2e-5, "{}: {found} is not {wanted}", case.label);
        }
    }
}

#[test]
fn every_metric_is_trls() {
    let logps = tensors(&oracle_pairs(), &Device::flex().autodiff());
    for case in oracle_cases()
        .iter()
        .filter(|case| case.metrics.is_object())
    {
        for (name, values) in pair_metrics(&case.config, &logps) {
            let Some(wanted) = case.metrics[name].as_f64() else {
                assert_eq!(name, "nll_loss", "TRL logs every other metric");
                continue;
            };
            let found = mean(&host(values));
            assert!(
                (found - wanted).abs() < 1e-5,
                "{name} {}: {found} is not {wanted}",
                case.label
            );
        }
    }
}

#[test]
fn the_numbers_of_the_specification_hold() {
    let shifted = PairLoss {
        bco_running_mean: true,
        ..one(LossType::BcoPair)
    };
    let divergence = |f_divergence_type, f_alpha_divergence_coef| PairLoss {
        f_divergence_type,
        f_alpha_divergence_coef,
        ..PairLoss::default()
    };
    let table = [
        (one(LossType::Sigmoid), [0.620957, 0.635957]),
        (one(LossType::Robust), [0.620957, 0.602207]),
        (one(LossType::ExoPair), [2.505517, 0.431388]),
        (one(LossType::Hinge), [0.85, 0.85]),
        (one(LossType::Ipo), [22.443906, 22.443906]),
        (shifted, [1.312700, 1.312700]),
        (one(LossType::SppoHard), [36.25, 36.25]),
        (one(LossType::NcaPair), [1.350825, 1.350825]),
        (one(LossType::AotUnpaired), [0.620957, 0.635957]),
        (one(LossType::ApoZero), [0.962523, 0.962523]),
        (one(LossType::ApoDown), [0.987549, 0.987549]),
        (
            divergence(FDivergence::JsDivergence, 0.5),
            [0.660652, 0.667260],
        ),
        // The specification's alpha is 1 - ours: its 1 is our 0, the forward KL.
        (
            divergence(FDivergence::AlphaDivergence, 0.0),
            [0.631154, 0.643963],
        ),
        (
            divergence(FDivergence::ForwardKl, 0.5),
            [0.631154, 0.643963],
        ),
    ];
    for (config, wanted) in table {
        for (label_smoothing, wanted) in [0.0, 0.1].into_iter().zip(wanted) {
            let config = PairLoss {
                label_smoothing,
                ..config.clone()
            };
            let found = losses(&config, &spec_pair())[0];
            assert!(
                (found - wanted).abs() < 2e-6 * wanted.max(1.0),
                "{config:?}: {found} is not {wanted}"
            );
        }
    }
}

#[test]
fn a_policy_equal_to_its_reference_gives_ln_2() {
    let mut pairs = oracle_pairs();
    pairs.chosen = pairs.ref_chosen.clone();
    pairs.rejected = pairs.ref_rejected.clone();
    for kind in [
        LossType::Sigmoid,
        LossType::SigmoidNorm,
        LossType::Aot,
        LossType::Robust,
    ] {
        for label_smoothing in [0.0, 0.25] {
            for f_divergence_type in [FDivergence::ReverseKl, FDivergence::JsDivergence] {
                let config = PairLoss {
                    label_smoothing,
                    f_divergence_type,
                    ..one(kind)
                };
                for loss in losses(&config, &pairs) {
                    assert!(
                        (loss - std::f64::consts::LN_2).abs() < 1e-6,
                        "{config:?}: {loss}"
                    );
                }
            }
        }
    }
    let logps = tensors(&pairs, &Device::flex());
    for (name, values) in pair_metrics(&PairLoss::default(), &logps) {
        if name.starts_with("rewards/") {
            assert!(
                host(values).iter().all(|v| *v == 0.0),
                "{name} of equal models is 0"
            );
        }
    }
}

/// -log s(x) - (-log s(-x)) = -x, and label smoothing e mixes the two orders.
#[test]
fn exchanging_the_responses_mirrors_dpo() {
    let pairs = oracle_pairs();
    let mirrored = Pairs {
        chosen: pairs.rejected.clone(),
        rejected: pairs.chosen.clone(),
        ref_chosen: pairs.ref_rejected.clone(),
        ref_rejected: pairs.ref_chosen.clone(),
        chosen_tokens: pairs.rejected_tokens.clone(),
        rejected_tokens: pairs.chosen_tokens.clone(),
    };
    let config = one(LossType::Sigmoid);
    let smooth = PairLoss {
        label_smoothing: 0.2,
        ..config.clone()
    };
    let (there, back) = (losses(&config, &pairs), losses(&config, &mirrored));
    let mixed = losses(&smooth, &pairs);
    for i in 0..8 {
        let ratio =
            pairs.chosen[i] - pairs.ref_chosen[i] - pairs.rejected[i] + pairs.ref_rejected[i];
        assert!((there[i] - back[i] + 0.1 * ratio).abs() < 2e-6);
        assert!((mixed[i] - 0.8 * there[i] - 0.2 * back[i]).abs() < 1e-6);
    }
}

/// Log-ratios up to 1e4 either way: an overflow inside a loss would make NaN of 0 * infinity or infinity - infinity.
#[test]
fn no_loss_and_no_gradient_is_nan_far_out() {
    let far = [-1e4, -300.0, -1.0, 0.0, 1.0, 300.0, 1e4];
    let mut pairs = Pairs {
        chosen: vec![],
        rejected: vec![],
        ref_chosen: vec![],
        ref_rejected: vec![],
        chosen_tokens: vec![],
        rejected_tokens: vec![],
    };
    for (chosen, rejected) in far.iter().flat_map(|c| far.map(|r| (*c, r))) {
        pairs.ref_chosen.push(-1e4);
        pairs.ref_rejected.push(-1e4);
        pairs.chosen.push(chosen - 1e4);
        pairs.rejected.push(rejected - 1e4);
        pairs.chosen_tokens.push(7.0);
        pairs.rejected_tokens.push(1.0);
    }
    let divergences = [
        FDivergence::ReverseKl,
        FDivergence::ForwardKl,
        FDivergence::JsDivergence,
        FDivergence::AlphaDivergence,
    ];
    for (kind, f_divergence_type) in ALL.iter().flat_map(|k| divergences.map(|f| (*k, f))) {
        if f_divergence_type != FDivergence::ReverseKl && !kind.takes_f_divergence() {
            continue;
        }
        for label_smoothing in [0.0, 0.1] {
            let config = PairLoss {
                f_divergence_type,
                label_smoothing,
                ..one(kind)
            };
            let (values, gradient) = run(&config, &pairs, &mut PairState::default());
            let label = format!("{kind:?} {f_divergence_type:?}");
            assert!(
                !values
                    .iter()
                    .chain(gradient.iter().flatten())
                    .any(|v| v.is_nan()),
                "{label}"
            );
            if f_divergence_type == FDivergence::ReverseKl && kind != LossType::Discopop {
                assert!(
                    values.iter().all(|v| v.is_finite()),
                    "{label} is finite: {values:?}"
                );
            }
        }
    }
}

#[test]
fn a_step_down_the_gradient_lowers_every_loss() {
    let pairs = oracle_pairs();
    for kind in ALL {
        let config = one(kind);
        let (before, [chosen, rejected]) = run(&config, &pairs, &mut PairState::default());
        let largest = chosen
            .iter()
            .chain(&rejected)
            .fold(0.0f64, |m, g| m.max(g.abs()));
        let mut stepped = pairs.clone();
        for i in 0..8 {
            stepped.chosen[i] -= 0.1 * chosen[i] / largest;
            stepped.rejected[i] -= 0.1 * rejected[i] / largest;
        }
        let after = losses(&config, &stepped);
        assert!(
            mean(&after) < mean(&before),
            "{kind:?}: {before:?} to {after:?}"
        );
    }
}

#[test]
fn exo_smooths_for_itself_alone() {
    let both = PairLoss {
        loss_type: vec![LossType::ExoPair, LossType::Sigmoid],
        ..PairLoss::default()
    };
    let mut state = PairState::default();
    let (first, _) = run(&both, &spec_pair(), &mut state);
    let (again, _) = run(&both, &spec_pair(), &mut state);
    assert!(
        (first[0] - 2.505517 - 0.620957).abs() < 1e-5,
        "the sigmoid after it is unsmoothed"
    );
    assert_eq!(first, again);
    assert_eq!(state, PairState::default());
}

#[test]
fn bcos_mean_runs_over_the_steps_and_carries_no_gradient() {
    let config = PairLoss {
        bco_running_mean: true,
        ..one(LossType::BcoPair)
    };
    let pairs = spec_pair();
    let mut state = PairState::default();
    let (_, gradient) = run(&config, &pairs, &mut state);
    assert!((state.bco.mean - 0.025).abs() < 1e-7 && state.bco.pairs == 1);
    // d/dw -log s(0.1 (D_w) - d) = -0.1 s(d - 0.1 D_w), were d a constant.
    let constant = -0.1 / (1.0 + (0.1f64 - 0.025).exp());
    assert!((gradient[0][0] - constant).abs() < 1e-7, "{gradient:?}");

    let mut other = pairs.clone();
    other.chosen = vec![-7.0]; // rewards 0.4 and -0.05
    run(&config, &other, &mut state);
    assert!((state.bco.mean - (0.025 + 0.175) / 2.0).abs() < 1e-7 && state.bco.pairs == 2);

    let saved = serde_json::to_string(&state).expect("a state is JSON");
    assert_eq!(
        serde_json::from_str::<PairState>(&saved).expect("and back"),
        state
    );

    other.chosen = vec![f64::NAN];
    let before = state.clone();
    run(&config, &other, &mut state);
    assert_eq!(state, before, "a refused step leaves no trace");
}

#[test]
fn bco_without_its_mean_keeps_no_state() {
    let mut state = PairState::default();
    run(&one(LossType::BcoPair), &spec_pair(), &mut state);
    assert_eq!(state, PairState::default());
}

#[test]
fn weights_add_and_rpo_alpha_is_a_weighted_nll() {
    let pairs = oracle_pairs();
    let (dpo, sft) = (
        losses(&one(LossType::Sigmoid), &pairs),
        losses(&one(LossType::Sft), &pairs),
    );
    let weighted = PairLoss {
        loss_type: vec![LossType::Sigmoid, LossType::Sft],
        loss_weights: vec![0.5, 0.25],
        ..PairLoss::default()
    };
    let rpo = PairLoss {
        rpo_alpha: Some(0.25),
        loss_weights: vec![0.5],
        ..PairLoss::default()
    };
    for (i, (w, r)) in losses(&weighted, &pairs)
        .iter()
        .zip(losses(&rpo, &pairs))
        .enumerate()
    {
        assert!((w - 0.5 * dpo[i] - 0.25 * sft[i]).abs() < 1e-6);
        assert_eq!(*w, r);
    }
}

/// A batch of 8 and the same pairs one by one give one loss, if the step's token count is told.
#[test]
fn accumulation_does_not_change_a_loss() {
    let pairs = oracle_pairs();
    let coupled = [LossType::Aot, LossType::AotUnpaired, LossType::KtoPair];
    for kind in ALL.into_iter().filter(|kind| !coupled.contains(kind)) {
        let config = one(kind);
        let device = Device::flex();
        let tokens_per_pair = Some(mean(&pairs.chosen_tokens));
        let logps = PairLogps {
            tokens_per_pair,
            ..tensors(&pairs, &device)
        };
        let whole = host(pair_loss(&config, &logps, &mut PairState::default()));
        for (row, loss) in whole.iter().enumerate() {
            let only = |values: &[f64]| vec![values[row]];
            let pair = Pairs {
                chosen: only(&pairs.chosen),
                rejected: only(&pairs.rejected),
                ref_chosen: only(&pairs.ref_chosen),
                ref_rejected: only(&pairs.ref_rejected),
                chosen_tokens: only(&pairs.chosen_tokens),
                rejected_tokens: only(&pairs.rejected_tokens),
            };
            let alone = PairLogps {
                tokens_per_pair,
                ..tensors(&pair, &device)
            };
            let alone = host(pair_loss(&config, &alone, &mut PairState::default()));
            assert!(
                (alone[0] - loss).abs() <= 1e-6 * loss.abs(),
                "{kind:?}: {alone:?} is not {loss}"
            );
        }
    }
}

#[test]
fn a_reference_free_loss_does_not_read_the_reference() {
    let pairs = oracle_pairs();
    let mut other = pairs.clone();
    other.ref_chosen = vec![-1.0; 8];
    other.ref_rejected = vec![-99.0; 8];
    for kind in ALL {
        let config = PairLoss {
            reference_free: true,
            ..one(kind)
        };
        assert_eq!(losses(&config, &pairs), losses(&config, &other), "{kind:?}");
        let reads = losses(&one(kind), &pairs) != losses(&one(kind), &other);
        assert_eq!(reads, kind.needs_reference(), "{kind:?}");
    }
}

#[test]
fn smoothing_and_divergence_change_just_the_losses_that_take_them() {
    let pairs = spec_pair();
    for kind in ALL {
        let plain = losses(&one(kind), &pairs);
        let smooth = PairLoss {
            label_smoothing: 0.1,
            ..one(kind)
        };
        assert_eq!(
            losses(&smooth, &pairs) != plain,
            kind.takes_label_smoothing(),
            "{kind:?}"
        );
        let divergent = PairLoss {
            f_divergence_type: FDivergence::JsDivergence,
            ..one(kind)
        };
        // sft takes any divergence as it looks at none.
        let changes = kind.takes_f_divergence() && kind != LossType::Sft;
        assert_eq!(losses(&divergent, &pairs) != plain, changes, "{kind:?}");
    }
}

#[test]
fn rewards_of_simpo_and_orpo_are_log_probs_per_token() {
    let logps = tensors(&spec_pair(), &Device::flex());
    for kind in [LossType::Simpo, LossType::Orpo] {
        let metrics = pair_metrics(&one(kind), &logps);
        let of = |name: &str| {
            let found = metrics
                .iter()
                .find(|(n, _)| *n == name)
                .expect("a metric of TRL");
            host(found.1.clone())[0]
        };
        assert!((of("rewards/chosen") + 0.1 * 2.0).abs() < 1e-6);
        assert!((of("rewards/rejected") + 0.1 * 1.5).abs() < 1e-6);
        assert_eq!(of("rewards/accuracies"), 0.0);
        assert_eq!(of("logps/chosen"), -10.0);
    }
}
