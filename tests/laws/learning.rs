//! Training learns, and takes no more memory the longer it lasts.

use crate::fitting::{
    all, bradley_terry, dpo, fit, language_model, pairs, reward_model, train, two_heads,
};
use crate::tiny;
use burn::tensor::{Device, Tensor};
use duel::data::summary::pearson;
use duel::model::build::Kept;
use duel::objective::{BradleyTerry, Example, Objective, Odin, Sft, Verdict};
use duel::recipe::Train;
use duel::recipe::loss::LossType;
use duel::trainer::StepRecord;
use duel::trie::{Sequence, Trie};
use duel_backends::ops::{self, Operands, Precision, served::rounded};

#[test]
fn sft_learns_eight_sequences_by_heart() {
    let rows: Vec<Example> = pairs(8)
        .into_iter()
        .enumerate()
        .map(|(i, mut row)| {
            // The first token tells the rows apart.
            let response = row.sequences[0].tokens.repeat(2);
            row.sequences = vec![Sequence::response(&[i as u32], &response)];
            row
        })
        .collect();
    let train = Train {
        learning_rate: 1e-2,
        ..train(200)
    };
    let trained = fit(all(&language_model(28)), Box::new(Sft), &rows, &train, None);
    assert!(trained.first("loss") > 3.0, "{}", trained.first("loss"));
    assert!(trained.last("loss") < 0.1, "{}", trained.last("loss"));
    assert_eq!(trained.last("mean_token_accuracy"), 1.0);
}

#[test]
fn dpo_raises_the_margin_and_reward_models_tell_apart() {
    let mut rows = pairs(8);
    let start = language_model(29);
    for row in &mut rows {
        let sums = tiny::sequence_logps(&start, &row.sequences);
        row.reference = sums.iter().map(|&sum| sum as f32).collect();
    }
    let trained = fit(all(&start), dpo(LossType::Sigmoid), &rows, &train(60), None);
    let (first, last) = (
        trained.first("rewards/margins"),
        trained.last("rewards/margins"),
    );
    assert!(first.abs() < 1e-5 && last > 0.3, "{first} {last}");
    assert!((trained.first("loss") - std::f64::consts::LN_2).abs() < 1e-5);
    assert_eq!(trained.last("rewards/accuracies"), 1.0);

    let trained = fit(
        all(&reward_model(29)),
        bradley_terry(),
        &rows,
        &train(60),
        None,
    );
    assert_eq!(trained.last("accuracy"), 1.0);
    assert!(trained.last("margin") > trained.first("margin") + 1.0);
}

/// R17, the negative control of reward models: read at a token that comes before the responses, where nothing tells them apart,
/// the rewards of a pair are equal, and no training moves the loss from a coin's.
#[test]
fn r17_a_reward_read_at_the_wrong_token_learns_nothing() {
    let rows = pairs(8);
    let at_the_prompts_end: Vec<Example> = rows
        .iter()
        .cloned()
        .map(|mut row| {
            for sequence in &mut row.sequences {
                let before = sequence.tokens.len() - sequence.scored_count();
                *sequence = Sequence::unscored(sequence.tokens[..before].to_vec());
            }
            row
        })
        .collect();
    let losses = |rows: &[Example]| -> Vec<f64> {
        let model = reward_model(29);
        let objective = Box::new(BradleyTerry {
            margin: false,
            center_rewards_coefficient: None,
        });
        let trained = fit(all(&model), objective, rows, &train(60), None);
        let loss = |step: &StepRecord| step.get("loss").unwrap();
        trained.records.iter().map(loss).collect()
    };
    let wrong = losses(&at_the_prompts_end);
    let coin = |loss: &f64| (loss - std::f64::consts::LN_2).abs() < 1e-6;
    assert!(wrong.iter().all(coin), "{wrong:?}");
    let right = losses(&rows);
    assert!(right[59] < 0.4, "{right:?}");
}

/// A model that answers with one of two tokens learns which, a tie stays undecided, and the loss of a coin flip is ln 2.
#[test]
fn verdicts_are_learnt_and_ties_stay_ties() {
    let (yes, no) = (3, 4);
    let row = |i: u32, letter: u32, labels: Vec<f32>| Example {
        id: i.to_string(),
        sequences: vec![Sequence::response(&[i, 10 + i], &[letter])],
        reference: Vec::new(),
        margin: None,
        labels,
    };
    let mut rows: Vec<Example> = (0..6)
        .map(|i| row(i, if i % 2 == 0 { yes } else { no }, Vec::new()))
        .collect();
    // What is said of a sequence counts, not the letter that stands there.
    rows.push(row(6, yes, vec![0.5]));
    rows.push(row(7, yes, vec![0.0]));
    let train = Train {
        learning_rate: 1e-2,
        ..train(120)
    };
    let objective = Box::new(Verdict { yes, no });
    let trained = fit(all(&language_model(37)), objective, &rows, &train, None);
    // The entropy of the one tie among eight is all that is left.
    let least = std::f64::consts::LN_2 / 8.0;
    assert!(
        trained.last("loss") < least + 0.02,
        "{}",
        trained.last("loss")
    );
    assert_eq!(trained.last("accuracy"), 1.0);
    let decoder = trained.decoder.unwrap();
    let sequences: Vec<Sequence> = rows.iter().flat_map(|row| row.sequences.clone()).collect();
    let logits = tiny::numbers(decoder.verdicts(&Trie::new(&sequences), [yes, no]));
    assert!(logits[6].abs() < 0.3 && logits[7] < -2.0, "{logits:?}");
}

/// D6: each pair is ranked by itself, the correlations are those of all responses, and the heads are normalised in their
/// product. Then the length leaves the first head, which alone is kept.
#[test]
fn d6_odin_is_the_papers_loss_and_takes_the_length_out_of_the_quality() {
    let rows = pairs(16);
    let start = two_heads(39);
    let train = Train {
        per_device_train_batch_size: 16,
        max_tokens_per_batch: 40,
        learning_rate: 1e-2,
        ..train(60)
    };
    let trained = fit(
        all(&start),
        Box::new(Odin::new(0.7, 0.4)),
        &rows,
        &train,
        None,
    );

    let sequences: Vec<Sequence> = rows.iter().flat_map(|row| row.sequences.clone()).collect();
    let heads = tiny::numbers(start.heads(&Trie::new(&sequences)));
    let [quality, length] =
        [0, 1].map(|head| -> Vec<f64> { heads.iter().skip(head).step_by(2).copied().collect() });
    let tokens: Vec<f64> = sequences.iter().map(|s| s.scored_count() as f64).collect();
    let ranked: f64 = (0..rows.len())
        .map(|i| {
            let of = |at: usize| quality[at] + length[at];
            (-(of(2 * i) - of(2 * i + 1))).exp().ln_1p()
        })
        .sum();
    let weights = tiny::numbers(start.score.as_ref().unwrap().weight.whole());
    let (q, l) = weights.split_at(weights.len() / 2);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = dot(q, l) / (dot(q, q) * dot(l, l)).sqrt();
    let rho = |rewards: &[f64]| pearson(rewards, &tokens).unwrap();
    let wanted = ranked / rows.len() as f64
        + 0.7 * (rho(&quality).abs() - rho(&length))
        + 0.4 * cosine.abs();
    assert!(
        (trained.first("loss") - wanted).abs() < 1e-5,
        "{} {wanted}",
        trained.first("loss")
    );

    let last = |name: &str| trained.last(name);
    assert!(last("length_correlation/quality").abs() < 0.2);
    assert!(last("length_correlation/length") > 0.5);
    assert!(last("accuracy") > trained.first("accuracy"));
    assert!(last("heads_cosine").abs() < 0.1);
    let kept = Odin::new(0.7, 0.4).finished(trained.decoder.unwrap().untracked());
    assert_eq!(kept.heads(&Trie::new(&sequences)).dims(), [32, 1]);
}

/// TRL's metrics over tokens, from log-probs and logits that are taken one sequence at a time.
#[test]
fn dpo_tells_what_trl_tells_of_its_tokens() {
    let rows = pairs(3);
    let start = language_model(31);
    let train = Train {
        per_device_train_batch_size: 3,
        ..train(1)
    };
    let trained = fit(all(&start), dpo(LossType::Sigmoid), &rows, &train, None);
    let (mut logits, mut count, mut right) = ([0.0; 2], [0.0; 2], 0.0);
    for row in &rows {
        for (side, sequence) in row.sequences.iter().enumerate() {
            let trie = Trie::new(std::slice::from_ref(sequence));
            let rows: Vec<u32> = (0..trie.len() as u32).collect();
            let hidden = start.hidden(&trie, &rows);
            let vocab = start.spec.vocab_size;
            let all = tiny::numbers(hidden.matmul(start.output_weight().transpose()));
            for target in &trie.targets {
                let at = &all[target.row as usize * vocab..][..vocab];
                logits[side] += at.iter().sum::<f64>() / vocab as f64;
                count[side] += 1.0;
                let best = at.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                right += f64::from(side == 0 && at[target.token as usize] == best);
            }
        }
    }
    let near = |name: &str, want: f64| {
        let found = trained.first(name);
        assert!((found - want).abs() < 1e-5, "{name}: {found}, {want}");
    };
    near("logits/chosen", logits[0] / count[0]);
    near("logits/rejected", logits[1] / count[1]);
    near("mean_token_accuracy", right / count[0]);
}

/// The process's resident memory in KiB.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Between step 200 and step 1,000 the process grows by less than 4 MiB. It runs alone, in a process of its
/// own: other tests take memory too.
#[test]
#[cfg(target_os = "linux")]
fn memory_stays_flat_over_a_thousand_steps() {
    const ALONE: &str = "DUEL_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "learning::memory_stays_flat_over_a_thousand_steps";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        return;
    }
    let rows = pairs(8);
    let train = train(1000);
    let (mut early, mut late) = (0, 0);
    let mut objective = dpo(LossType::Sigmoid);
    let mut sink = |record: &StepRecord| {
        match record.step {
            200 => early = resident(),
            1000 => late = resident(),
            _ => {}
        }
        Ok(())
    };
    let fit = duel::trainer::Fit {
        stage: "test",
        objective: &mut *objective,
        examples: &rows,
        held_out: &[],
        train: &train,
        key: duel::data::Key::new(4),
        checkpoints: None,
        sink: &mut sink,
        resumed: &mut |_| Ok(()),
    };
    fit.run(all(&language_model(30))).unwrap();
    assert!(
        early > 0 && late < early + 4096,
        "{early} KiB, then {late} KiB"
    );
}

/// D12: a step of the papers' learning rate is far below the distance of two bf16 numbers. Weights that are trained in
/// f32 and read in bf16 learn all the same; weights that are kept in bf16 alone would not.
#[test]
fn d12_a_thousand_steps_at_5e_7_move_weights_that_are_read_in_bf16() {
    let train = Train {
        learning_rate: 5e-7,
        adam_epsilon: 1e-8,
        weight_decay: 0.0,
        ..train(1000)
    };
    let in_bf16 = Kept {
        operands: Operands::Bf16,
        ..Kept::default()
    };
    let begin = tiny::decoder_kept(&tiny::spec(), 31, &Device::flex(), in_bf16);
    let begin = all(&begin);
    let trained = fit(
        begin.clone(),
        dpo(LossType::Sigmoid),
        &pairs(8),
        &train,
        None,
    );
    let served = |decoder: &duel::model::Decoder| -> Vec<f32> {
        let weight = decoder.model.layers[0].mlp.up_proj.weight.whole().inner();
        let served = rounded(weight, Precision::Bf16);
        served.into_data().iter::<f32>().collect()
    };
    let (before, after) = (served(&begin), served(&trained.decoder.unwrap()));
    let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(moved * 20 > before.len(), "{moved} of {}", before.len());

    let kept = |x: Tensor<2>| rounded(x, Precision::Bf16);
    let start = kept(begin.model.layers[0].mlp.up_proj.weight.whole().inner());
    let gradient = start.clone().ones_like();
    let mut state = (start.clone(), start.zeros_like(), start.zeros_like());
    for step in 1..=1000 {
        let how = ops::AdamW {
            lr: 5e-7,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            step,
            grad_scale: 1.0,
        };
        let (param, first, second) = ops::adamw(state.0, gradient.clone(), state.1, state.2, how);
        state = (kept(param), first, second);
    }
    let large = start.clone().abs().greater_elem(1e-3).float();
    let moved = ((state.0 - start) * large).abs().max().into_scalar::<f32>();
    assert_eq!(moved, 0.0, "bf16 swallows every step");
}
