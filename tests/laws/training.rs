//! Training: what may not change its result does not, and what must be refused is.

use crate::fitting::{
    self, adapted, all, apart, bradley_terry, dpo, fit, language_model, logps, pairs, reward_model,
    train, two_heads, values,
};
use crate::tiny;
use duel::data::Key;
use duel::model::params::is_adapter;
use duel::model::{Decoder, DecoderSpec};
use duel::objective::{Example, Objective, Odin, Outcome, Sft, Verdict};
use duel::recipe::loss::LossType;
use duel::recipe::{LrSchedulerType, Optim, Train};
use duel::trainer::{Gradients, Optimizer};
use duel::trie::{Sequence, Trie};
use std::collections::BTreeMap;

// ---------------------------------------------------------------------------------------------------
// What may not matter
// ---------------------------------------------------------------------------------------------------

/// Eight rows at once or one by one, and under any token budget: the same weights after 4 steps to 2e-5,
/// where the learning rate moves each by up to 1.2e-2.
#[test]
fn accumulation_changes_nothing() {
    let rows = pairs(20);
    type Make = fn() -> Box<dyn Objective>;
    let objectives: [(&str, Decoder, Make); 7] = [
        ("sft", language_model(20), || Box::new(Sft)),
        ("sigmoid", language_model(20), || dpo(LossType::Sigmoid)),
        ("ipo", language_model(20), || dpo(LossType::Ipo)),
        ("orpo", language_model(20), || dpo(LossType::Orpo)),
        ("reward", reward_model(20), bradley_terry),
        // Its correlations are those of all responses of a step.
        ("odin", two_heads(20), || Box::new(Odin::new(0.5, 0.3))),
        ("verdict", language_model(20), || {
            Box::new(Verdict { yes: 3, no: 4 })
        }),
    ];
    for (name, decoder, objective) in objectives {
        let run =
            |per_device_train_batch_size, gradient_accumulation_steps, max_tokens_per_batch| {
                let train = Train {
                    per_device_train_batch_size,
                    gradient_accumulation_steps,
                    max_tokens_per_batch,
                    ..train(4)
                };
                fit(all(&decoder), objective(), &rows, &train, None)
            };
        let whole = run(8, 1, usize::MAX);
        let moved = apart(whole.decoder.as_ref().unwrap(), &decoder);
        assert!(
            moved > 3e-3,
            "{name}: training moves the weights, here by {moved}"
        );
        for (size, accumulated, budget) in [(1, 8, usize::MAX), (8, 1, 1), (1, 8, 1), (2, 4, 25)] {
            let other = run(size, accumulated, budget);
            let error = apart(
                other.decoder.as_ref().unwrap(),
                whole.decoder.as_ref().unwrap(),
            );
            assert!(
                error < 2e-5,
                "{name}, {size}x{accumulated}, budget {budget}: {error}"
            );
            for (a, b) in other.records.iter().zip(&whole.records) {
                for key in ["loss", "grad_norm", "eval_loss"] {
                    let (Some(a), Some(b)) = (a.get(key), b.get(key)) else {
                        continue;
                    };
                    assert!(
                        (a - b).abs() < 1e-5 * b.abs().max(1.0),
                        "{name}: {key}: {a} is not {b}"
                    );
                }
            }
        }
    }
}

/// Blocks that are computed again for the backward pass: the same bits in weights and records, for whole models,
/// adapters and reward models.
#[test]
fn recomputed_activations_change_no_bit() {
    let rows = pairs(21);
    type Make = fn() -> Box<dyn Objective>;
    let top = |name: &str| name.starts_with("model.layers.1.") || name == "model.norm.weight";
    let gemma2 = tiny::decoder(&tiny::gemma2(), 22);
    let objectives: [(&str, Decoder, Make); 6] = [
        ("gemma 2", all(&gemma2), || dpo(LossType::Sigmoid)),
        ("the last block", language_model(21).tracked(top), || {
            dpo(LossType::Sigmoid)
        }),
        (
            "the score head",
            reward_model(21).tracked(|name| name == "score.weight"),
            bradley_terry,
        ),
        ("sigmoid", all(&language_model(21)), || {
            dpo(LossType::Sigmoid)
        }),
        (
            "adapters",
            adapted(&language_model(21)).tracked(is_adapter),
            || dpo(LossType::Sigmoid),
        ),
        ("reward", all(&reward_model(21)), bradley_terry),
    ];
    for (name, decoder, objective) in objectives {
        let run = |gradient_checkpointing| {
            let train = Train {
                gradient_checkpointing,
                // Several micro-batches a step, so that gradients are summed, too.
                max_tokens_per_batch: 60,
                ..train(4)
            };
            fit(decoder.clone(), objective(), &rows, &train, None)
        };
        let (kept, again) = (run(false), run(true));
        let of = fitting::Trained::weights;
        assert_eq!(of(&kept), of(&again), "{name}: weights");
        for (a, b) in kept.records.iter().zip(&again.records) {
            for key in ["loss", "grad_norm"] {
                assert_eq!(a.get(key), b.get(key), "{name}: {key}");
            }
        }
    }
}

/// A crash after step 4 of 6 and a second start from checkpoint 3: the same bits in weights and records as
/// an undisturbed training, for whole models and adapters, with a loss that remembers.
#[test]
fn resumed_is_uninterrupted_bit_for_bit() {
    let rows = pairs(20);
    let train = Train {
        save_steps: 3,
        lr_scheduler_type: LrSchedulerType::Cosine,
        eval_steps: Some(2),
        ..train(6)
    };
    let base = language_model(21);
    let adapter = adapted(&base).tracked(is_adapter);
    let starts = [
        ("whole", all(&base), Optim::Adamw),
        ("adapter", adapter, Optim::Adamw),
        ("8-bit moments", all(&base), Optim::Adamw8bit),
    ];
    for (name, start, optim) in starts {
        let train = Train {
            optim,
            ..train.clone()
        };
        let undisturbed = fit(start.clone(), dpo(LossType::BcoPair), &rows, &train, None);
        let folder = tempfile::tempdir().unwrap();
        let crashed = fit(
            start.clone(),
            dpo(LossType::BcoPair),
            &rows,
            &train,
            Some((folder.path(), 5)),
        );
        assert!(crashed.decoder.is_err() && crashed.records.len() == 4);
        let resumed = fit(
            start.clone(),
            dpo(LossType::BcoPair),
            &rows,
            &train,
            Some((folder.path(), 0)),
        );
        assert_eq!(
            (&undisturbed.resumed[..], &resumed.resumed[..]),
            (&[][..], &[3][..])
        );
        assert_eq!(resumed.numbers(0), undisturbed.numbers(3), "{name}");

        // A checkpoint that is cut off is as good as none.
        let folder = tempfile::tempdir().unwrap();
        let beside = Some((folder.path(), 5));
        fit(start.clone(), dpo(LossType::BcoPair), &rows, &train, beside);
        let moments = folder.path().join("checkpoint-3/optimizer.safetensors");
        let whole = std::fs::read(&moments).unwrap();
        std::fs::write(&moments, &whole[..whole.len() / 2]).unwrap();
        let beside = Some((folder.path(), 0));
        let again = fit(start, dpo(LossType::BcoPair), &rows, &train, beside);
        assert!(again.resumed.is_empty(), "{name}");
        assert!(again.weights() == undisturbed.weights(), "{name}");
        assert!(resumed.weights() == undisturbed.weights(), "{name}");
        assert!(
            crashed.numbers(0) == undisturbed.numbers(0)[..crashed.numbers(0).len()],
            "{name}"
        );
    }
}

/// Records and weights of a training on `threads` threads whose tables (96 x 400) and batches (1,600 tokens)
/// are large enough to be cut among them.
fn on_threads(
    threads: usize,
    trained: fn(&str) -> bool,
) -> (Vec<fitting::Number>, BTreeMap<String, Vec<u32>>) {
    let spec = DecoderSpec {
        vocab_size: 400,
        hidden_size: 96,
        intermediate_size: 160,
        num_hidden_layers: 1,
        ..tiny::spec()
    };
    let mut rows = pairs(8);
    for (i, row) in rows.iter_mut().enumerate() {
        for (j, sequence) in row.sequences.iter_mut().enumerate() {
            let more: Vec<u32> = (0..95)
                .map(|t| ((t * t + i * 7 + j * 11) % 400) as u32)
                .collect();
            *sequence = Sequence::response(&sequence.tokens, &more);
        }
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        let start = adapted(&tiny::decoder(&spec, 22)).tracked(trained);
        let fitted = fit(start, dpo(LossType::Sigmoid), &rows, &train(2), None);
        (fitted.numbers(0), fitted.weights())
    })
}

fn same_on_any_threads(trained: fn(&str) -> bool) {
    let (records, weights) = on_threads(1, trained);
    for threads in [2, 3] {
        let (found, other) = on_threads(threads, trained);
        let differ: Vec<&String> = weights
            .keys()
            .filter(|key| weights[*key] != other[*key])
            .collect();
        assert!(
            differ.is_empty() && found == records,
            "{threads} threads: {differ:?}"
        );
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    same_on_any_threads(|_| true);
    same_on_any_threads(is_adapter);
}

// ---------------------------------------------------------------------------------------------------
// The optimiser
// ---------------------------------------------------------------------------------------------------

#[test]
fn weight_decay_shrinks_matrices_and_skips_norms_and_biases() {
    let decoder = language_model(23);
    let step = |weight_decay| {
        let train = Train {
            weight_decay,
            ..train(1)
        };
        let mut gradients = Gradients::new();
        for parameter in decoder.parameters() {
            gradients.insert(parameter.name, parameter.values.sin());
        }
        let tracked = all(&decoder);
        values(&Optimizer::new(&train).step(tracked, gradients, 0.1, 1.0))
    };
    let (before, free, decayed) = (values(&decoder), step(0.0), step(0.5));
    for parameter in decoder.parameters() {
        let name = &parameter.name;
        let keep = if parameter.shape.len() == 2 {
            0.1 * 0.5
        } else {
            0.0
        };
        let wanted: Vec<f64> = free[name]
            .iter()
            .zip(&before[name])
            .map(|(free, before)| free - keep * before)
            .collect();
        let error = tiny::distance(&decayed[name], &wanted);
        assert!(error < 1e-6, "{name}: {error}");
        assert!(
            tiny::distance(&free[name], &before[name]) > 0.05,
            "{name} moves"
        );
    }
}

// ---------------------------------------------------------------------------------------------------
// Adapters
// ---------------------------------------------------------------------------------------------------

#[test]
fn adapters_start_at_the_base_train_alone_merge_and_come_off() {
    let rows = pairs(8);
    let base = language_model(24);
    let fresh = adapted(&base);
    assert_eq!(
        logps(&fresh, &rows),
        logps(&base, &rows),
        "a fresh adapter changes nothing"
    );

    let train = Train {
        learning_rate: 3e-2,
        ..train(12)
    };
    let trained = fit(
        fresh.clone().tracked(is_adapter),
        dpo(LossType::Sigmoid),
        &rows,
        &train,
        None,
    );
    let (before, after) = (tiny::weights(&fresh), trained.weights());
    assert_eq!(before.len(), tiny::weights(&base).len() + 2 * 5 * 2);
    for (name, before) in &before {
        assert_eq!(after[name] != *before, is_adapter(name), "{name}");
    }

    let trained = trained.decoder.unwrap().untracked();
    let adapted = logps(&trained, &rows);
    assert!(
        tiny::distance(&adapted, &logps(&base, &rows)) > 0.1,
        "the adapter learned something"
    );
    let merged = trained.clone().merged();
    assert!(
        tiny::weights(&merged)
            .keys()
            .eq(tiny::weights(&base).keys())
    );
    let error = tiny::distance(&logps(&merged, &rows), &adapted);
    assert!(error < 1e-5, "merged differs by {error}");
    let bare = trained.without_adapters();
    assert!(tiny::weights(&bare) == tiny::weights(&base));
    assert_eq!(logps(&bare, &rows), logps(&base, &rows));
}

// ---------------------------------------------------------------------------------------------------
// Refusals
// ---------------------------------------------------------------------------------------------------

/// A row whose reference is not a number makes a loss that is none. The step is refused by name, nothing of
/// it is in the weights, and with the row mended the training goes on as if nothing had been.
#[test]
fn a_step_without_a_finite_loss_leaves_no_trace() {
    let rows = pairs(16);
    let train = Train {
        save_steps: 1,
        ..train(4)
    };
    let start = all(&language_model(25));
    let before = tiny::weights(&start);
    let undisturbed = fit(start.clone(), dpo(LossType::Sigmoid), &rows, &train, None);
    let folder = tempfile::tempdir().unwrap();
    let mut broken = rows.clone();
    // The row that only the second step sees.
    let plan = duel::trainer::Plan::new(16, &train, Key::new(4));
    let poisoned = plan.rows_of(1)[3];
    assert!(!plan.rows_of(0).contains(&poisoned));
    broken[poisoned].reference[0] = f32::NAN;

    let refused = fit(
        start.clone(),
        dpo(LossType::Sigmoid),
        &broken,
        &train,
        Some((folder.path(), 0)),
    );
    let error = refused.decoder.as_ref().unwrap_err().to_string();
    assert!(
        error.starts_with("step 2 was refused: its loss is NaN"),
        "{error}"
    );
    assert!(error.contains(&format!("row-{poisoned}")), "{error}");
    assert_eq!(refused.records.len(), 1);
    assert!(tiny::weights(&start) == before);

    let mended = fit(
        start,
        dpo(LossType::Sigmoid),
        &rows,
        &train,
        Some((folder.path(), 0)),
    );
    assert_eq!(mended.resumed, [1]);
    assert!(mended.weights() == undisturbed.weights());
}

/// The root of zero is finite, its slope is not: the gradient's norm must stop the step too.
#[test]
fn a_step_without_a_finite_gradient_is_refused() {
    struct Cliff;
    impl Objective for Cliff {
        fn weight(&self, example: &Example) -> f64 {
            Sft.weight(example)
        }

        fn loss(&mut self, decoder: &Decoder, examples: &[&Example], trie: &Trie) -> Outcome {
            let outcome = Sft.loss(decoder, examples, trie);
            let cliff = (outcome.loss.clone() * 0.0).sqrt();
            Outcome {
                loss: outcome.loss + cliff,
                ..outcome
            }
        }
    }
    let refused = fit(
        all(&language_model(26)),
        Box::new(Cliff),
        &pairs(8),
        &train(2),
        None,
    );
    let error = refused.decoder.unwrap_err().to_string();
    assert!(
        error.starts_with("step 1 was refused: its loss is "),
        "{error}"
    );
    assert!(error.contains("and its gradient norm NaN"), "{error}");
    assert!(!error.contains("its loss is NaN"), "{error}");
    assert!(refused.records.is_empty());
}

/// Rows without a scored token add nothing, alone in their micro-batch or not; a step of only such rows is
/// an error.
#[test]
fn rows_without_targets_add_nothing() {
    let empty = |i: u32| Example {
        id: format!("empty-{i}"),
        sequences: vec![Sequence::unscored(vec![i, 2, 3])],
        reference: Vec::new(),
        margin: None,
        labels: Vec::new(),
    };
    let rows: Vec<Example> = (0..7).map(empty).chain(pairs(1)).collect();
    let start = language_model(27);
    let budgets = [1, usize::MAX].map(|max_tokens_per_batch| {
        let train = Train {
            max_tokens_per_batch,
            ..train(2)
        };
        fit(all(&start), Box::new(Sft), &rows, &train, None)
    });
    let error = apart(
        budgets[0].decoder.as_ref().unwrap(),
        budgets[1].decoder.as_ref().unwrap(),
    );
    assert!(error < 2e-5, "{error}");
    let nothing = fit(all(&start), Box::new(Sft), &rows[..7], &train(2), None);
    let error = nothing.decoder.unwrap_err().to_string();
    assert!(
        error.starts_with("step 1 of test has nothing to learn from"),
        "{error}"
    );
}

/// The size of weights that a diagnosis compares with the learning rate: over the matrices that learn, and no others.
#[test]
fn the_size_of_the_trained_matrices_leaves_out_vectors_and_what_stands_still() {
    let rms = |decoder: &Decoder, counts: fn(&str, &[usize]) -> bool| {
        let parameters = decoder.parameters().into_iter();
        let counted = parameters.filter(|p| counts(&p.name, &p.shape));
        let values: Vec<f64> = counted.flat_map(|p| tiny::numbers(p.values)).collect();
        tiny::norm(&values) / (values.len() as f64).sqrt()
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6 * b, "{a} {b}");
    let start = language_model(41);
    close(
        all(&start).trained_rms(),
        rms(&start, |_, shape| shape.len() > 1),
    );
    let adapter = adapted(&start).tracked(is_adapter);
    close(
        adapter.trained_rms(),
        rms(&adapter, |name, _| is_adapter(name)),
    );
    assert_eq!(start.tracked(|_| false).trained_rms(), 0.0);
}

/// The same training with 8-bit moments ends at the same loss, having gone nearly the same way.
#[test]
fn eight_bit_moments_learn_what_full_ones_learn() {
    let run = |optim| {
        let train = Train { optim, ..train(60) };
        fit(
            all(&language_model(23)),
            dpo(LossType::Sigmoid),
            &pairs(8),
            &train,
            None,
        )
    };
    let (full, packed) = (run(Optim::Adamw), run(Optim::Adamw8bit));
    let (first, last) = (full.first("loss"), full.last("loss"));
    let learnt = first - last;
    assert!(learnt > 0.1, "{first} to {last}");
    assert!(
        (packed.last("loss") - last).abs() < 0.05 * learnt,
        "{}",
        packed.last("loss")
    );
    assert_ne!(packed.last("loss"), last);
}
