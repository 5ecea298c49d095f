//! duel's numbers against transformers, TRL and PEFT on SmolLM2-135M-Instruct (goldens by
//! tests/golden/make_oracle.py). Needs the model: `DUEL_SMOLLM2` names its Hugging Face directory.

// Which devices were compared is what a person wants to know.
#![allow(clippy::print_stdout)]

use burn::tensor::Device;
use burn::tensor::activation::log_softmax;
use duel::data::Key;
use duel::judge::{PairwiseModel, Verifier};
use duel::model::{Cache, Decoder, Model};
use duel::objective::{Example, Objective, Preference, Sft, sequence_sums};
use duel::recipe::{Aggregate, PairLoss, Sampling, Train};
use duel::text::{Answer, Comparison, Letters, Limits, Marks, Message, Prompt};
use duel::trainer::{Gradients, Optimizer, accumulate, global_norm};
use duel::trie::{Sequence, Target, Trie};
use duel_backends::device;
use duel_backends::ops::{Operands, Precision, linear};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn directory() -> PathBuf {
    std::env::var("DUEL_SMOLLM2")
        .expect("set DUEL_SMOLLM2 to the directory of SmolLM2-135M-Instruct")
        .into()
}

fn smollm2() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::load(&directory(), &Device::flex()).unwrap())
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

/// The golden pairs, chosen and rejected in turn.
fn pairs() -> Vec<[Sequence; 2]> {
    let inputs = golden("inputs.json");
    let pairs = inputs["pairs"].as_array().unwrap();
    pairs
        .iter()
        .map(|pair| {
            let prompt = ids(&pair["prompt_ids"]);
            let of = |key: &str| Sequence::response(&prompt, &ids(&pair[key]));
            [of("chosen_ids"), of("rejected_ids")]
        })
        .collect()
}

fn logps(decoder: &Decoder, sequences: &[Sequence]) -> Vec<f64> {
    let trie = Trie::new(sequences);
    let sums = sequence_sums(decoder.target_logprobs(&trie).logps, &trie);
    sums.into_data().iter::<f64>().collect()
}

fn wanted(golden: &Value) -> Vec<f64> {
    in_turn(
        &golden["seq_logps_chosen_f64"],
        &golden["seq_logps_rejected_f64"],
    )
}

fn in_turn(chosen: &Value, rejected: &Value) -> Vec<f64> {
    let (chosen, rejected) = (floats(chosen), floats(rejected));
    chosen
        .into_iter()
        .zip(rejected)
        .flat_map(|(c, r)| [c, r])
        .collect()
}

fn all_near(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(
            (found - wanted).abs() <= tolerance,
            "{found} is not {wanted}"
        );
    }
}

/// The oracle's reference model: every matrix of the blocks times 1.01.
fn reference() -> Decoder {
    struct Louder;
    impl duel::model::params::Remap for Louder {
        fn remap<const D: usize>(
            &mut self,
            name: &str,
            value: burn::tensor::Tensor<D>,
        ) -> burn::tensor::Tensor<D> {
            if D == 2 && name.contains(".layers.") {
                value * 1.01
            } else {
                value
            }
        }
    }
    smollm2().decoder.clone().remap(&mut Louder)
}

fn examples() -> Vec<Example> {
    let decoder = reference();
    let pairs = pairs();
    let flat: Vec<Sequence> = pairs.iter().flatten().cloned().collect();
    let reference = logps(&decoder, &flat);
    let rows = pairs.into_iter().zip(reference.chunks(2));
    rows.enumerate()
        .map(|(i, (pair, reference))| Example {
            id: i.to_string(),
            sequences: pair.to_vec(),
            reference: reference.iter().map(|&r| r as f32).collect(),
            margin: None,
            labels: Vec::new(),
        })
        .collect()
}

#[test]
#[ignore = "needs SmolLM2-135M-Instruct: set DUEL_SMOLLM2"]
fn log_probs_are_those_of_transformers() {
    let sequences: Vec<Sequence> = pairs().into_iter().flatten().collect();
    let golden = golden("logps.json");
    all_near(
        &logps(&smollm2().decoder, &sequences),
        &wanted(&golden["policy"]),
        1e-4,
    );
    all_near(
        &logps(&reference(), &sequences),
        &wanted(&golden["reference"]),
        1e-4,
    );
}

#[test]
#[ignore = "needs SmolLM2-135M-Instruct and the adapter of tests/golden/make_adapter.py: set DUEL_SMOLLM2 and DUEL_PEFT"]
fn log_probs_with_an_adapter_are_those_of_peft() {
    let adapter = std::env::var("DUEL_PEFT").expect("set DUEL_PEFT to the adapter's directory");
    let folder = tempfile::tempdir().unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(Path::new(&adapter).join(name), folder.path().join(name)).unwrap();
    }
    // The base lies elsewhere than where the adapter was made.
    let config = folder.path().join("adapter_config.json");
    let mut keys: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    keys["base_model_name_or_path"] = directory().to_str().unwrap().into();
    std::fs::write(&config, keys.to_string()).unwrap();
    let adapted = Model::load(folder.path(), &Device::flex()).unwrap();
    let sequences: Vec<Sequence> = pairs().into_iter().flatten().collect();
    let golden = golden("lora.json");
    let wanted = in_turn(&golden["seq_logps_chosen"], &golden["seq_logps_rejected"]);
    all_near(&logps(&adapted.decoder, &sequences), &wanted, 1e-4);
}

#[test]
#[ignore = "needs SmolLM2-135M-Instruct: set DUEL_SMOLLM2"]
fn greedy_responses_are_those_of_transformers_token_by_token() {
    let model = smollm2();
    let how = Sampling {
        num_generations: 2,
        temperature: vec![0.0],
        max_new_tokens: 48,
        ..Sampling::default()
    };
    let engine = duel::generate::Engine::new(&model.decoder, &model.chat, &how);
    let golden = golden("greedy.json");
    let results = golden["results"].as_array().unwrap();
    let prompts: Vec<_> = results
        .iter()
        .enumerate()
        .map(|(i, row)| duel::generate::Prompted {
            id: i.to_string(),
            tokens: ids(&row["prompt_ids"]),
        })
        .collect();
    let mut at = 0;
    engine
        .generate(&prompts, Key::new(0), &mut |_, drawn| {
            let mut wanted = ids(&results[at]["greedy_ids"]);
            if wanted
                .last()
                .is_some_and(|last| model.chat.stop_ids().contains(last))
            {
                wanted.pop();
            }
            assert!(
                drawn.iter().all(|drawn| drawn.tokens == wanted),
                "prompt {at}"
            );
            at += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(at, results.len());
}

/// What rounding the weights costs: mean of |log-prob served - log-prob exact| over the next tokens of the golden
/// responses.
#[test]
#[ignore = "needs SmolLM2-135M-Instruct: set DUEL_SMOLLM2"]
fn served_weights_move_log_probs_by_no_more_than_their_rounding() {
    let decoder = &smollm2().decoder;
    let sequences = pairs().concat();
    let exact = {
        let trie = Trie::apart(&sequences);
        let logps = decoder.target_logprobs(&trie).logps;
        logps.into_data().iter::<f64>().collect::<Vec<_>>()
    };
    let off = |precision| {
        let trie = Trie::apart(&sequences);
        let mut cache = Cache::new(&decoder.spec, trie.len(), &Device::flex());
        cache.place((0..trie.len() as u32).collect());
        let rows: Vec<u32> = trie.targets.iter().map(|target| target.row).collect();
        let served = decoder.served(precision);
        let logits = decoder.cached_logits(
            &served,
            &trie.tokens,
            &trie.positions,
            trie.spans(None),
            &mut cache,
            &rows,
        );
        let all: Vec<f64> = log_softmax(logits, 1).into_data().iter::<f64>().collect();
        let vocab = decoder.spec.vocab_size;
        let of = |(row, target): (usize, &Target)| all[row * vocab + target.token as usize];
        let logps = trie.targets.iter().enumerate().map(of);
        let moved = logps
            .zip(&exact)
            .map(|(served, exact)| (served - exact).abs());
        moved.sum::<f64>() / exact.len() as f64
    };
    let (f32, bf16, int8) = (
        off(Precision::F32),
        off(Precision::Bf16),
        off(Precision::Int8),
    );
    // Seen: 7e-6, 0.0114 and 0.0653 nats.
    assert!(f32 < 3e-5, "{f32}");
    assert!(bf16 > f32 && bf16 < 0.02, "{bf16}");
    assert!(int8 > f32 && int8 < 0.08, "{int8}");
}

#[test]
#[ignore = "needs SmolLM2-135M-Instruct: set DUEL_SMOLLM2"]
fn losses_and_gradient_norms_before_and_after_three_adamw_steps_are_those_of_trl() {
    let train = Train::default();
    let mut optimizer = Optimizer::new(&train);
    let mut objective = Preference::new(PairLoss::default());
    let mut decoder = smollm2().decoder.clone().tracked(|_| true);
    let examples = examples();
    let rows: Vec<&Example> = examples.iter().collect();
    let golden = golden("dpo_adamw.json");
    let steps = golden["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4, "entry s is what stands before step s");
    for step in steps {
        let mut gradients = Gradients::new();
        let mut loss = 0.0;
        objective.begin_step(&rows);
        for batch in rows.chunks(3) {
            let sequences: Vec<Sequence> = batch.iter().flat_map(|e| e.sequences.clone()).collect();
            let trie = Trie::new(&sequences);
            let value = objective.loss(&decoder, batch, &trie).loss / rows.len() as f64;
            loss += value.clone().into_scalar::<f64>();
            accumulate(&decoder, value.backward(), &mut gradients);
        }
        let norm = global_norm(&gradients);
        let near = |found: f64, key: &str| {
            let wanted = step[key].as_f64().unwrap();
            assert!(
                (found / wanted - 1.0).abs() < 1e-3,
                "{key}: {found} is not {wanted}"
            );
        };
        near(loss, "loss");
        near(norm, "grad_norm_before_clip");
        decoder = optimizer.step(decoder, gradients, 5e-6, 1.0 / (norm + 1e-6));
    }
}

#[test]
#[ignore = "needs SmolLM2-135M-Instruct: set DUEL_SMOLLM2"]
fn sft_loss_and_gradient_norm_are_those_of_transformers() {
    let golden = golden("sft.json");
    for (key, all) in [("all_tokens", true), ("completion_only", false)] {
        let examples: Vec<Example> = pairs()
            .into_iter()
            .map(|[mut chosen, _]| {
                if all {
                    chosen.scored = vec![true; chosen.tokens.len()];
                }
                Example {
                    id: String::new(),
                    sequences: vec![chosen],
                    reference: Vec::new(),
                    margin: None,
                    labels: Vec::new(),
                }
            })
            .collect();
        let rows: Vec<&Example> = examples.iter().collect();
        let sequences: Vec<Sequence> = rows.iter().flat_map(|e| e.sequences.clone()).collect();
        let trie = Trie::new(&sequences);
        let decoder = smollm2().decoder.clone().tracked(|_| true);
        let count: f64 = rows.iter().map(|row| Sft.weight(row)).sum();
        let row = &golden["results"][key];
        assert_eq!(Some(count as u64), row["n_tokens"].as_u64());
        let loss = Sft.loss(&decoder, &rows, &trie).loss / count;
        let mut gradients = Gradients::new();
        let value = loss.clone().into_scalar::<f64>();
        accumulate(&decoder, loss.backward(), &mut gradients);
        assert!(
            (value - row["loss"].as_f64().unwrap()).abs() < 1e-4,
            "{key}: {value}"
        );
        let norm = global_norm(&gradients);
        assert!(
            (norm / row["grad_norm"].as_f64().unwrap() - 1.0).abs() < 1e-3,
            "{key}: {norm}"
        );
    }
}

/// The words, ids, letters and probabilities of a pairwise preference model, with all comparisons of the file in one call.
#[test]
#[ignore = "needs SmolLM2-135M-Instruct: set DUEL_SMOLLM2"]
fn a_pairwise_model_answers_as_in_transformers() {
    let golden = golden("pairwise.json");
    let model = smollm2();
    let limits = Limits::new(2048);
    let letters = Letters::of(&model.chat).unwrap();
    assert_eq!(vec![letters.a, letters.b], ids(&golden["letters"]));
    let (mut comparisons, mut wanted, mut of_chosen) = (Vec::new(), Vec::new(), Vec::new());
    for pair in golden["pairs"].as_array().unwrap() {
        let turns: Vec<Message> = serde_json::from_value(pair["turns"].clone()).unwrap();
        let answer = |key: &str| Answer::Text(pair[key].as_str().unwrap().to_owned());
        let (chosen, rejected) = (answer("chosen"), answer("rejected"));
        let comparison = Comparison::of(&model.chat, &Prompt::Chat(turns), &chosen, &rejected);
        let comparison = comparison.unwrap();
        let both = [comparison.clone(), comparison.turned()];
        for (order, comparison) in pair["orders"].as_array().unwrap().iter().zip(both) {
            assert_eq!(comparison.question(), order["prompt"].as_str().unwrap());
            let asked = comparison.encode(&model.chat, &limits).unwrap().unwrap();
            assert_eq!(asked.ids, ids(&order["ids"]));
            wanted.push(order["p"].as_f64().unwrap());
        }
        of_chosen.push(pair["p_chosen"].as_f64().unwrap());
        comparisons.push(comparison);
    }
    let mut judge = PairwiseModel::new(model, limits, 1024).unwrap();
    let answers = judge.ask(&comparisons).unwrap();
    let answers: Vec<_> = answers.into_iter().map(Option::unwrap).collect();
    let found: Vec<f64> = answers.iter().flat_map(|a| [a.given, a.turned]).collect();
    all_near(&found, &wanted, 1e-5);
    let first: Vec<f64> = answers.iter().map(|a| f64::from(a.first())).collect();
    all_near(&first, &of_chosen, 1e-5);
}

/// All steps of all solutions in one pass, against a pass for each; the released evaluation reads a fixed place of the ids
/// instead (D21).
#[test]
#[ignore = "needs SmolLM2-135M-Instruct: set DUEL_SMOLLM2"]
fn d21_every_step_of_a_solution_is_scored_as_by_a_pass_of_its_own() {
    let golden = golden("verifier.json");
    let model = smollm2();
    let marks = Marks::of(&model.chat).unwrap();
    assert_eq!(vec![marks.good, marks.bad], ids(&golden["marks"]));
    let rows = golden["solutions"].as_array().unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let prompts: Vec<Prompt> = rows
        .iter()
        .map(|row| Prompt::Chat(vec![Message::user(text(row, "problem"))]))
        .collect();
    for (separator, budget) in [(Some("\n\n"), 4096), (Some("\n\n"), 64), (None, 4096)] {
        let separator = separator.map(str::to_owned);
        let verifier =
            Verifier::new(model, separator.clone(), Aggregate::Mean, 2048, budget).unwrap();
        let asked: Vec<(&Prompt, Vec<Vec<String>>)> = prompts
            .iter()
            .zip(rows)
            .map(|(prompt, row)| (prompt, vec![verifier.split(&text(row, "solution"))]))
            .collect();
        let mut found = Vec::new();
        let mut keep = |_, of: Vec<Option<Vec<f64>>>| {
            found.extend(of.into_iter().flatten().flatten());
            Ok(())
        };
        verifier.probabilities(&asked, 0, &mut keep).unwrap();
        let wanted: Vec<f64> = match separator {
            Some(_) => rows
                .iter()
                .flat_map(|row| row["p"].as_array().unwrap())
                .map(|p| p.as_f64().unwrap())
                .collect(),
            None => rows
                .iter()
                .map(|row| row["whole"].as_f64().unwrap())
                .collect(),
        };
        all_near(&found, &wanted, 1e-5);
        // The last mark follows the very ids that transformers read.
        if separator.is_some() {
            for (row, (prompt, steps)) in rows.iter().zip(&asked) {
                let good = vec![true; steps[0].len()];
                let marked = marks.put(&model.chat, prompt, &steps[0], &good).unwrap();
                assert_eq!(marked.ids.split_last().unwrap().1, ids(&row["ids"]));
                assert_eq!(steps[0].len(), row["p"].as_array().unwrap().len());
            }
        }
    }
}

/// Where this build and machine have more than the CPU.
#[test]
#[ignore = "needs SmolLM2-135M-Instruct: set DUEL_SMOLLM2"]
fn logits_are_those_of_the_cpu_on_each_device() {
    let sequences: Vec<Sequence> = pairs().into_iter().take(2).flatten().collect();
    let trie = Trie::new(&sequences);
    let rows: Vec<u32> = (0..trie.len() as u32).collect();
    let logits = |decoder: &Decoder| {
        let hidden = decoder.hidden(&trie, &rows);
        let logits = linear(hidden, decoder.output_weight(), Operands::F32);
        let logits: Vec<f64> = logits.into_data().iter::<f64>().collect();
        logits
    };
    let (cpu, cpu_logps) = (
        logits(&smollm2().decoder),
        logps(&smollm2().decoder, &sequences),
    );
    for found in device::found()
        .into_iter()
        .filter(|found| found.backend != "cpu")
    {
        let device = device::open(found.backend, found.index).unwrap();
        let decoder = Model::load(&directory(), &device).unwrap().decoder;
        let other = logits(&decoder);
        let apart = other.iter().zip(&cpu).map(|(a, b)| a - b);
        let far = apart.clone().fold(0.0f64, |far, x| far.max(x.abs()));
        let lean = apart.sum::<f64>() / cpu.len() as f64;
        let logps = logps(&decoder, &sequences);
        println!(
            "{} {}: logits off by at most {far:.1e}, by {lean:.1e} in the mean",
            found.backend, found.name
        );
        println!("log-probs of responses {logps:?}, on the CPU {cpu_logps:?}");
        assert!(far < 1e-3 && lean.abs() < 1e-5, "{far} {lean}");
        all_near(&logps, &cpu_logps, 1e-3);
    }
}
