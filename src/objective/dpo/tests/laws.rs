//! What must hold of any loss over pairs.

use super::*;

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

/// Log-ratios up to 1e4 either way: an overflow inside a loss would make NaN of 0 * infinity or
/// infinity - infinity.
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
fn d25_exo_smooths_for_itself_alone() {
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

/// D11: in the released code reference log-probs that were computed before are read only where `rpo_alpha` is set, too.
#[test]
fn d11_every_loss_reads_the_reference_it_is_given_unless_it_is_free_of_one() {
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
