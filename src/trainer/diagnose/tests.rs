//! Every diagnosis by a series that calls for it and one that does not.

use super::*;

const F32: Watched = Watched {
    guess_is_ln2: true,
    significand_bits: 24,
    weight_rms: 0.02,
};

fn healthy(step: u64) -> StepMetrics {
    StepMetrics {
        step,
        loss: 0.69 - 0.004 * step as f64,
        grad_norm: 5.0 + (step % 3) as f64,
        learning_rate: 1e-6,
        accuracy: Some(0.5 + 0.005 * step as f64),
        margin: Some(0.01 * step as f64),
        chosen_logp: Some(-100.0 - (step % 7) as f64),
    }
}

/// The diagnoses of `steps` steps that `of` describes.
fn steps(watched: Watched, steps: u64, of: impl Fn(u64) -> StepMetrics) -> Vec<Diagnosis> {
    let mut diagnoser = Diagnoser::new(watched);
    (0..steps)
        .flat_map(|step| diagnoser.step(&of(step)))
        .collect()
}

fn names(found: &[Diagnosis]) -> Vec<&'static str> {
    found.iter().map(|diagnosis| diagnosis.name).collect()
}

fn data(audit: DataAudit) -> Vec<Diagnosis> {
    Diagnoser::new(F32).data(&audit)
}

fn round(audit: RoundAudit) -> Vec<Diagnosis> {
    RoundDiagnoser::default().sampled(&audit)
}

#[test]
fn a_healthy_run_is_left_alone() {
    assert_eq!(steps(F32, 60, healthy), []);
    let calm = DataAudit {
        rows: 100,
        truncated: 3,
        equal_pairs: 0,
        unended: 2,
        cut: 2,
    };
    assert_eq!(data(calm), []);
    let mut diagnoser = RoundDiagnoser::default();
    for index in 1..=3 {
        let audit = RoundAudit {
            round: index,
            responses: 256,
            reward_spread: Some(1.5),
            reward_length_correlation: Some(0.2),
            kl: Some(4.0 * index as f64),
            truncated: Some(0.1),
        };
        assert_eq!(diagnoser.sampled(&audit), []);
    }
}

#[test]
fn what_could_not_be_measured_is_no_diagnosis() {
    assert_eq!(
        round(RoundAudit {
            responses: 64,
            ..RoundAudit::default()
        }),
        []
    );
    assert_eq!(data(DataAudit::default()), []);
}

#[test]
fn a_loss_that_stays_at_ln_2_is_noticed_after_its_window() {
    let coin = |step| StepMetrics {
        loss: LN_2 + 0.004 * (step % 2) as f64 - 0.002,
        ..healthy(step)
    };
    let found = steps(F32, 60, coin);
    assert_eq!(names(&found), ["loss-stuck-at-ln2"], "once");
    assert_eq!(found[0].step, 19);
    assert!(found[0].mend.contains("learning_rate"));
}

#[test]
fn a_stage_shorter_than_the_window_is_judged_at_its_end() {
    let judged = |planned, slope: f64| {
        let mut diagnoser = Diagnoser::new(F32);
        diagnoser.planned(planned);
        let cosine = |step: u64| StepMetrics {
            loss: LN_2 - slope * step as f64,
            learning_rate: 1e-6 * (1.0 + (step as f64 / 8.0 * std::f64::consts::PI).cos()),
            ..healthy(step)
        };
        (0..8)
            .flat_map(|step| diagnoser.step(&cosine(step)))
            .map(|found| (found.name, found.step))
            .collect::<Vec<_>>()
    };
    assert_eq!(judged(8, 0.0), [("loss-stuck-at-ln2", 7)]);
    assert_eq!(judged(8, 0.004), [], "it learns");
    assert_eq!(judged(40, 0.0), [], "not at its end yet");
}

#[test]
fn a_long_warm_up_is_not_stuck() {
    let warming = |step: u64| StepMetrics {
        loss: LN_2 - 0.01 * step.saturating_sub(40) as f64,
        learning_rate: 1e-6 * (step as f64 / 40.0).min(1.0),
        ..healthy(step)
    };
    assert_eq!(steps(F32, 90, warming), []);
}

#[test]
fn another_losss_ln_2_means_nothing() {
    let squared = Watched {
        guess_is_ln2: false,
        ..F32
    };
    assert_eq!(
        steps(squared, 60, |step| StepMetrics {
            loss: LN_2,
            ..healthy(step)
        }),
        []
    );
}

#[test]
fn a_gradient_that_vanishes_is_noticed() {
    let gone = |step| StepMetrics {
        grad_norm: if step < 30 { 2.0 } else { 1e-9 },
        ..healthy(step)
    };
    let found = steps(F32, 60, gone);
    assert_eq!(names(&found), ["gradient-vanishing"]);
    assert_eq!(found[0].step, 34);
    let small = |step| StepMetrics {
        grad_norm: 1e-3,
        ..healthy(step)
    };
    assert_eq!(steps(F32, 60, small), []);
}

#[test]
fn a_gradient_that_explodes_is_noticed_and_a_spike_is_not() {
    let up = |from: u64, to: u64| {
        move |step: u64| StepMetrics {
            grad_norm: if (from..to).contains(&step) {
                80.0
            } else {
                5.0
            },
            ..healthy(step)
        }
    };
    let found = steps(F32, 60, up(30, 40));
    assert_eq!(names(&found), ["gradient-exploding"]);
    assert_eq!((found[0].step, found[0].severity), (32, Severity::Problem));
    assert_eq!(steps(F32, 60, up(30, 32)), [], "two in a row are spikes");
}

#[test]
fn a_number_that_is_not_finite_is_an_explosion_at_once() {
    let broken = |step| StepMetrics {
        grad_norm: if step == 3 { f64::NAN } else { 5.0 },
        ..healthy(step)
    };
    let found = steps(F32, 5, broken);
    assert_eq!(
        (names(&found), found[0].step),
        (vec!["gradient-exploding"], 3)
    );
}

#[test]
fn rewards_without_any_difference_are_noticed() {
    let equal = |step| StepMetrics {
        accuracy: Some(0.0),
        margin: Some(0.0),
        ..healthy(step)
    };
    assert_eq!(names(&steps(F32, 10, equal)), ["rewards-all-equal"]);
    // DPO before its first update: policy == reference.
    let start = |step| if step < 2 { equal(step) } else { healthy(step) };
    assert_eq!(steps(F32, 10, start), []);

    let judged = |reward_spread| RoundAudit {
        responses: 64,
        reward_spread: Some(reward_spread),
        ..RoundAudit::default()
    };
    assert_eq!(names(&round(judged(0.0))), ["rewards-all-equal"]);
    assert_eq!(round(judged(0.01)), []);
}

#[test]
fn pairs_that_became_equal_are_counted() {
    let audit = |equal_pairs| DataAudit {
        rows: 100,
        equal_pairs,
        ..DataAudit::default()
    };
    let few = data(audit(2));
    assert_eq!(
        (names(&few), few[0].severity),
        (vec!["pairs-equal"], Severity::Warning)
    );
    assert!(few[0].message.contains("2 of 100"));
    assert_eq!(data(audit(30))[0].severity, Severity::Problem);
}

#[test]
fn a_share_cut_is_noticed_in_rows_and_in_responses() {
    let audit = |truncated| DataAudit {
        rows: 100,
        truncated,
        ..DataAudit::default()
    };
    assert_eq!(names(&data(audit(6))), ["share-truncated"]);
    assert_eq!(data(audit(40))[0].severity, Severity::Problem);
    let responses = |truncated| RoundAudit {
        responses: 64,
        truncated: Some(truncated),
        ..RoundAudit::default()
    };
    assert_eq!(names(&round(responses(0.4))), ["share-truncated"]);
    assert_eq!(round(responses(0.2)), []);
}

#[test]
fn a_reward_that_follows_length_is_noticed() {
    let audit = |responses, correlation| RoundAudit {
        responses,
        reward_length_correlation: Some(correlation),
        ..RoundAudit::default()
    };
    assert_eq!(names(&round(audit(256, 0.7))), ["reward-follows-length"]);
    assert_eq!(round(audit(256, 0.19)), []);
    assert_eq!(round(audit(8, 0.7)), [], "too few to tell");
}

#[test]
fn a_kl_far_off_or_in_leaps_is_noticed() {
    let audit = |round, kl| RoundAudit {
        round,
        responses: 64,
        kl: Some(kl),
        ..RoundAudit::default()
    };
    assert_eq!(names(&round(audit(1, 60.0))), ["kl-running-away"]);
    let mut diagnoser = RoundDiagnoser::default();
    assert_eq!(diagnoser.sampled(&audit(1, 6.0)), []);
    let found = diagnoser.sampled(&audit(2, 24.0));
    assert_eq!((names(&found), found[0].step), (vec!["kl-running-away"], 2));
    let mut measured = RoundDiagnoser::default();
    assert_eq!(measured.evaluated(1, 6.0), []);
    assert_eq!(names(&measured.evaluated(2, 24.0)), ["kl-running-away"]);
    let mut walking = RoundDiagnoser::default();
    assert!((1..=4).all(|index| {
        walking
            .sampled(&audit(index, 10.0 * index as f64))
            .is_empty()
    }));
}

#[test]
fn chosen_responses_that_become_unlikely_are_noticed() {
    let falling = |step| StepMetrics {
        chosen_logp: Some(-100.0 - 4.0 * step as f64),
        ..healthy(step)
    };
    let found = steps(F32, 60, falling);
    assert_eq!(names(&found), ["kl-running-away"]);
    let noisy = |step| StepMetrics {
        chosen_logp: Some(-300.0 - 20.0 * (step % 5) as f64),
        ..healthy(step)
    };
    assert_eq!(steps(F32, 60, noisy), []);
}

#[test]
fn a_rate_that_bf16_rounds_away_is_noticed_once_the_warm_up_is_over() {
    let bf16 = Watched {
        significand_bits: 8,
        ..F32
    };
    let warming = |step| StepMetrics {
        learning_rate: 5e-7 * (step as f64 / 15.0).min(1.0),
        ..healthy(step)
    };
    let found = steps(bf16, 60, warming);
    assert_eq!(names(&found), ["learning-rate-below-dtype"]);
    assert_eq!(found[0].step, 16);
    assert_eq!(steps(F32, 60, warming), [], "f32 keeps it");
    assert_eq!(
        steps(bf16, 60, |step| StepMetrics {
            learning_rate: 1e-3,
            ..healthy(step)
        }),
        []
    );
}

#[test]
fn small_weights_keep_smaller_steps_and_weights_of_nought_keep_all() {
    let of_size = |weight_rms| Watched {
        significand_bits: 8,
        weight_rms,
        ..F32
    };
    let slow = |step| StepMetrics {
        learning_rate: 5e-7,
        ..healthy(step)
    };
    let found = steps(of_size(0.02), 30, slow);
    assert_eq!(names(&found), ["learning-rate-below-dtype"]);
    assert!(
        found[0].message.contains("size 2.00e-2"),
        "{}",
        found[0].message
    );
    assert_eq!(steps(of_size(1e-4), 30, slow), []);
    assert_eq!(steps(of_size(0.0), 30, slow), []);
}

#[test]
fn responses_without_an_end_marker_are_noticed() {
    let audit = |unended| DataAudit {
        rows: 100,
        unended,
        ..DataAudit::default()
    };
    assert_eq!(names(&data(audit(10))), ["end-marker-missing"]);
    assert_eq!(data(audit(100))[0].severity, Severity::Problem);
    let cut = data(DataAudit {
        rows: 100,
        cut: 10,
        ..DataAudit::default()
    });
    assert_eq!(names(&cut), ["responses-cut"]);
    assert!(
        cut[0].mend.contains("max_new_tokens") && !cut[0].mend.contains("template"),
        "the template has no part in it: {}",
        cut[0].mend
    );
    let endless = |responses| RoundAudit {
        responses,
        truncated: Some(1.0),
        ..RoundAudit::default()
    };
    assert_eq!(
        names(&round(endless(64))),
        ["end-marker-missing"],
        "not also as truncated"
    );
    assert_eq!(round(endless(4)), []);
}

#[test]
fn every_diagnosis_is_given_once_and_says_what_to_change() {
    let mut diagnoser = Diagnoser::new(F32);
    let audit = DataAudit {
        rows: 10,
        truncated: 5,
        equal_pairs: 5,
        unended: 5,
        cut: 5,
    };
    let found = diagnoser.data(&audit);
    assert_eq!(
        names(&found),
        [
            "pairs-equal",
            "share-truncated",
            "end-marker-missing",
            "responses-cut"
        ]
    );
    assert!(
        found
            .iter()
            .all(|diagnosis| !diagnosis.mend.is_empty() && !diagnosis.message.is_empty())
    );
    assert_eq!(diagnoser.data(&audit), []);
    assert_eq!(diagnoser.given().count(), 4);
}

#[test]
fn a_training_of_few_steps_is_noticed_unless_it_was_asked_for() {
    let few = |steps, wanted| names(&Diagnoser::new(F32).length(steps, wanted));
    assert_eq!(few(1, false), ["few-steps"]);
    assert_eq!(few(4, false), ["few-steps"]);
    assert!(few(5, false).is_empty() && few(1, true).is_empty());
}

#[test]
fn settled_pairs_are_not_blamed_on_equal_tokens() {
    let settled = |step| StepMetrics {
        loss: 1e-9,
        grad_norm: 1e-9,
        accuracy: Some(1.0),
        learning_rate: 0.1,
        ..healthy(step)
    };
    let found = steps(F32, 6, settled);
    assert_eq!(names(&found), ["gradient-vanishing"]);
    assert!(
        found[0].mend.contains("learning_rate is far too high"),
        "{found:?}"
    );
    assert!(!found[0].mend.contains("equal tokens"), "{found:?}");
}

#[test]
fn a_judge_that_a_guess_may_equal_is_noticed() {
    let found = |interval: [f64; 2]| {
        let held_out = HeldOut {
            accuracy: 0.6,
            interval,
            count: 40,
            of: "pairs",
            guess: "a coin",
            guessed: 0.5,
        };
        let diagnosis = held_out.diagnosis()?;
        Some((diagnosis.name, diagnosis.severity))
    };
    let name = "judge-not-above-guess";
    assert_eq!(found([0.51, 0.7]), None);
    assert_eq!(found([0.45, 0.7]), Some((name, Severity::Warning)));
    assert_eq!(found([0.2, 0.49]), Some((name, Severity::Problem)));
}

#[test]
fn a_judge_that_ties_everything_is_noticed() {
    let found = ties_everything("rule", 20).expect("noticed");
    assert_eq!(
        (found.name, found.severity),
        ("judge-ties-everything", Severity::Problem)
    );
    assert_eq!(ties_everything("rule", 1), None, "one tie is no habit");
}
