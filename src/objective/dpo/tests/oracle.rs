//! Every loss, gradient and metric against TRL's numbers, and against the specification's own.

use super::*;

/// 1e-5 relative. The log-probs are near -60 and held in f32, so a log-ratio near 0.3 carries an
/// error of 4e-6: after beta 0.1 that is 4e-7 of a logit, and even behind `discopop`'s tau (20
/// times that) below the bound.
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

/// Relative to the largest entry: where the two log-probs' terms cancel in f32, a small entry has
/// no bits left.
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
