//! Every device computes what the CPU computes: one body for all of them, over the devices that this build and this
//! machine have. Where there is only the CPU nothing is compared, and the test says so.

// Which devices were compared is what a person wants to know of a parity test.
#![allow(clippy::print_stdout)]

use crate::fitting::{adapted, all, bradley_terry, dpo, fit, pairs, train, values};
use crate::tiny::{self, Named};
use burn::tensor::Device;
use duel::data::Key;
use duel::generate::{Drawn, Engine, Prompted};
use duel::model::build::Kept;
use duel::model::params::is_adapter;
use duel::model::{Decoder, DecoderSpec, Head};
use duel::objective::{Example, Objective, Sft};
use duel::recipe::loss::LossType;
use duel::recipe::{Sampling, Train, WeightDtype};
use duel::trie::{Sequence, Trie};
use duel_backends::device;
use duel_backends::ops::Operands;
use std::process::Command;

/// Runs `law` on each device beside the CPU.
fn on_each_device(law: impl Fn(&str, &Device)) {
    let others: Vec<_> = device::found()
        .into_iter()
        .filter(|found| found.backend != "cpu")
        .collect();
    if others.is_empty() {
        // A green suite that compared nothing says nothing: CI asks for a device.
        assert!(
            std::env::var_os("DUEL_EXPECT_DEVICE").is_none(),
            "no device but the CPU was found, and DUEL_EXPECT_DEVICE asks for one"
        );
        println!("no device but the CPU: nothing to compare with it");
    }
    for found in others {
        let name = format!("{} {} ({})", found.backend, found.index, found.name);
        println!("on {name}, {}", found.driver);
        let device =
            device::open(found.backend, found.index).unwrap_or_else(|e| panic!("{name}: {e}"));
        law(&name, &device);
    }
}

/// A model on the CPU and on a device.
fn both(spec: &DecoderSpec, seed: u64, device: &Device) -> [Decoder; 2] {
    both_kept(spec, seed, device, Kept::default())
}

/// The same with its matrices kept as asked.
fn both_kept(spec: &DecoderSpec, seed: u64, device: &Device, kept: Kept) -> [Decoder; 2] {
    [Device::flex(), device.clone()].map(|device| tiny::decoder_kept(spec, seed, &device, kept))
}

/// The model that has everything, with a head.
fn with_head(head: Head) -> DecoderSpec {
    DecoderSpec {
        head,
        ..tiny::spec()
    }
}

/// Gradients are close, and what is off leans to neither side.
fn same_gradients(what: &str, found: &Named, want: &Named) {
    let far = tiny::gradient_distance(found, want);
    assert!(
        far < 1e-3,
        "{what}: gradients are off by {far} of their norm"
    );
    let (found, want): (Vec<f64>, Vec<f64>) = found
        .values()
        .flatten()
        .copied()
        .zip(want.values().flatten().copied())
        .unzip();
    let lean = found.iter().zip(&want).map(|(a, b)| a - b).sum::<f64>() / want.len() as f64;
    let typical = tiny::norm(&want) / (want.len() as f64).sqrt();
    assert!(
        lean.abs() < 1e-4 * typical,
        "{what}: gradients lean by {lean}, they are {typical} in the mean"
    );
}

/// Residuals are small, and they do not lean to one side: a systematic error in a kernel would.
fn near(what: &str, found: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(found.len(), want.len(), "{what}");
    let size = want
        .iter()
        .fold(1.0f64, |size, value| size.max(value.abs()));
    let far = tiny::distance(found, want);
    assert!(far <= tolerance * size, "{what}: off by {far}");
    let lean = found.iter().zip(want).map(|(a, b)| a - b).sum::<f64>() / found.len() as f64;
    assert!(
        lean.abs() <= 0.2 * tolerance * size,
        "{what}: leans by {lean}"
    );
}

fn sequences(rows: &[Example]) -> Vec<Sequence> {
    rows.iter().flat_map(|row| row.sequences.clone()).collect()
}

#[test]
fn log_probs_rewards_and_gradients_are_those_of_the_cpu() {
    // Gemma 2 has two kinds of layers, with a window and without one, and caps of scores and of logits.
    let models = [("qwen 3", tiny::spec()), ("gemma 2", tiny::gemma2())];
    on_each_device(|name, device| {
        let trie = Trie::new(&sequences(&pairs(6)));
        for (model, spec) in &models {
            let what = format!("{name}: {model}");
            let [cpu, other] = both(spec, 41, device);
            let logps = |decoder: &Decoder| tiny::token_logps(decoder, &trie);
            near(
                &format!("{what}: log-probs"),
                &logps(&other),
                &logps(&cpu),
                1e-4,
            );
            let gradients = |decoder| {
                tiny::gradients(decoder, |decoder| {
                    decoder.target_logprobs(&trie).logps.sum()
                })
            };
            same_gradients(&what, &gradients(&other), &gradients(&cpu));
        }
        let [cpu, other] = both(&with_head(Head::Score), 42, device);
        let rewards = |decoder: &Decoder| tiny::numbers(decoder.rewards(&trie));
        near(
            &format!("{name}: rewards"),
            &rewards(&other),
            &rewards(&cpu),
            1e-4,
        );
    });
}

#[test]
fn twenty_steps_of_each_stage_take_the_curve_of_the_cpu() {
    type Make = fn() -> Box<dyn Objective>;
    type Tracked = fn(&Decoder) -> Decoder;
    let adapter: Tracked = |decoder| adapted(decoder).tracked(is_adapter);
    let stages: [(&str, Head, Make, Tracked); 4] = [
        ("sft", Head::LanguageModel, || Box::new(Sft), all),
        ("reward", Head::Score, bradley_terry, all),
        ("dpo", Head::LanguageModel, || dpo(LossType::Sigmoid), all),
        (
            "dpo of an adapter",
            Head::LanguageModel,
            || dpo(LossType::Sigmoid),
            adapter,
        ),
    ];
    on_each_device(|name, device| {
        for (stage, head, objective, tracked) in stages {
            let train = Train {
                gradient_checkpointing: stage == "dpo",
                ..train(20)
            };
            let [cpu, other] = both(&with_head(head), 43, device)
                .map(|decoder| fit(tracked(&decoder), objective(), &pairs(8), &train, None));
            for (curve, tolerance) in [("loss", 1e-3), ("grad_norm", 1e-2)] {
                let what = format!("{name}: {stage}: {curve}");
                near(&what, &other.curve(curve), &cpu.curve(curve), tolerance);
            }
            let begin = tracked(&both(&with_head(head), 43, &Device::flex())[0]);
            let [begin, cpu, other] =
                [begin, cpu.decoder.unwrap(), other.decoder.unwrap()].map(|decoder| {
                    values(&decoder)
                        .into_values()
                        .flatten()
                        .collect::<Vec<f64>>()
                });
            let way = |to: &[f64], from: &[f64]| {
                tiny::norm(
                    &to.iter()
                        .zip(from)
                        .map(|(a, b)| a - b)
                        .collect::<Vec<f64>>(),
                )
            };
            let (moved, far) = (way(&cpu, &begin), way(&other, &cpu));
            // AdamW's first steps are as long as the learning rate, whatever the gradient: where one all but vanishes, its
            // sign is rounding.
            assert!(
                moved > 0.0 && far < 1e-2 * moved,
                "{name}: {stage}: off by {far} of {moved}"
            );
            let far = far / moved;
            println!("{name}: {stage}: weights off by {far:.1e} of their way after 20 steps");
        }
    });
}

/// In each type that a device computes in, and with an adapter over 4 bits: the CPU rounds as the device does.
#[test]
fn ten_narrow_steps_take_the_curve_of_the_cpu() {
    let kept = |operands, packed| Kept {
        operands,
        frozen: packed,
        packed,
    };
    let ways = [
        ("bf16", kept(Operands::Bf16, false)),
        ("f16", kept(Operands::F16, false)),
        ("4 bits in f32", kept(Operands::F32, true)),
    ];
    on_each_device(|name, device| {
        for (way, kept) in ways {
            if !device::computes(device, kept.operands) {
                println!("{name}: not in {way}");
                continue;
            }
            let curves = both_kept(&tiny::spec(), 45, device, kept).map(|decoder| {
                let decoder = match kept.packed {
                    true => adapted(&decoder).tracked(is_adapter),
                    false => all(&decoder),
                };
                let trained = fit(decoder, dpo(LossType::Sigmoid), &pairs(8), &train(10), None);
                trained.curve("loss")
            });
            let [cpu, other] = curves;
            println!(
                "{name}: in {way}: off by {:.1e}",
                tiny::distance(&cpu, &other)
            );
            near(&format!("{name}: in {way}"), &other, &cpu, 5e-3);
        }
    });
}

#[test]
fn greedy_and_drawn_responses_are_those_of_the_cpu() {
    let chat = tiny::chat();
    let prompts: Vec<Prompted> = [vec![5, 6, 7, 8], vec![5, 6, 9], vec![99]]
        .into_iter()
        .map(|tokens| Prompted {
            id: format!("{tokens:?}"),
            tokens,
        })
        .collect();
    let greedy = Sampling {
        num_generations: 2,
        max_new_tokens: 24,
        temperature: vec![0.0],
        ..Sampling::default()
    };
    let drawn = Sampling {
        temperature: vec![1.0, 0.6],
        ..greedy.clone()
    };
    let cut = Sampling {
        top_k: 40,
        top_p: 0.9,
        min_p: 0.01,
        repetition_penalty: 1.2,
        ..drawn.clone()
    };
    let served = |dtype| Sampling {
        dtype,
        ..drawn.clone()
    };
    let ways = [
        ("greedy", greedy),
        ("cut", cut),
        ("in bf16", served(WeightDtype::Bf16)),
        ("in int8", served(WeightDtype::Int8)),
        ("drawn", drawn),
    ];
    on_each_device(|name, device| {
        for spec in [tiny::spec(), tiny::gemma2()] {
            let spec = DecoderSpec {
                vocab_size: chat.vocab_size(),
                ..spec
            };
            for (way, how) in &ways {
                let [cpu, other] = both(&spec, 44, device).map(|decoder| {
                    let mut all = Vec::new();
                    let engine = Engine::new(&decoder, &chat, how);
                    let mut keep = |_: &Prompted, drawn: Vec<Drawn>| {
                        all.extend(drawn.into_iter().map(|drawn| drawn.tokens));
                        Ok(())
                    };
                    engine.generate(&prompts, Key::new(3), &mut keep).unwrap();
                    all
                });
                assert_eq!(other, cpu, "{name}: {way}");
            }
        }
    });
}

/// A device that is lost is no end of a run: it goes on on another one, in the numbers that it began in.
#[test]
fn a_run_that_began_on_each_device_goes_on_on_the_cpu() {
    for found in device::found() {
        if found.backend == "cpu" {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let index = found.index.to_string();
        let run = |stage: &str, device: [&str; 2]| {
            let mut duel = Command::new(env!("CARGO_BIN_EXE_duel"));
            duel.current_dir(folder.path());
            duel.args([stage, "--model", "quickstart", "--name", "moved"]);
            duel.args(["--set", "model.dtype=auto"]);
            for key in [
                "sft.data.files=quickstart:sft",
                "sft.data.max_rows=8",
                "sft.train.max_steps=1",
                "dpo.data.files=quickstart:pairs",
                "dpo.data.max_rows=8",
                "dpo.train.max_steps=1",
            ] {
                duel.args(["--set", key]);
            }
            let said = duel
                .args(["--backend", device[0], "--device", device[1]])
                .output();
            let said = said.unwrap();
            assert!(said.status.success(), "{stage}: {said:?}");
            let facts = std::fs::read(folder.path().join("runs/moved/run.json")).unwrap();
            let facts: serde_json::Value = serde_json::from_slice(&facts).unwrap();
            facts["computes_in"].as_str().unwrap().to_owned()
        };
        let began = run("sft", [found.backend, &index]);
        assert_eq!(run("dpo", ["cpu", "0"]), began);
        println!("{} {}: began and went on in {began}", found.backend, index);
    }
}

/// A device that computes has a speed, which `auto` goes by and `bench` sets the training beside.
#[test]
fn the_speed_of_each_device_is_measured() {
    let duel = |arguments: &[&str]| {
        let mut duel = Command::new(env!("CARGO_BIN_EXE_duel"));
        let said = duel.args(arguments).output().unwrap();
        assert!(said.status.success(), "{arguments:?}: {said:?}");
        let lines = String::from_utf8(said.stdout).unwrap();
        let rows = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        rows.collect::<Vec<serde_json::Value>>()
    };
    let rows = duel(&["devices", "--json"]);
    for found in device::found() {
        let is = |row: &&serde_json::Value| {
            row["backend"] == found.backend && row["device"] == found.index
        };
        let row = rows.iter().find(is).unwrap();
        let speed = row["matmul_gflops"].as_f64();
        assert!(speed.is_some_and(|speed| speed > 0.1), "{row}");
        if found.software {
            // A processor that draws for a card is no faster than itself: a speed beyond is one of work that was not waited for.
            let cpu = rows[0]["matmul_gflops"].as_f64().unwrap();
            assert!(speed.unwrap() < 4.0 * cpu, "{row}");
        }
        let index = found.index.to_string();
        let model = ["--model", "quickstart", "--data", "quickstart:pairs"];
        let device = ["--backend", found.backend, "--device", &index];
        let bench = ["bench", "dpo", "--pairs", "1", "--steps", "1", "--json"];
        duel(&[&bench[..], &model, &device].concat());
    }
}

/// `--report` prints rows of the table in docs/devices.md, and `--device` leaves one of them.
#[test]
fn a_report_of_the_devices_is_rows_of_the_table_in_the_docs() {
    let said = |words: &[&str]| {
        let said = Command::new(env!("CARGO_BIN_EXE_duel"))
            .arg("devices")
            .args(words)
            .output()
            .unwrap();
        (
            said.status.success(),
            String::from_utf8(said.stdout).unwrap(),
        )
    };
    let docs = include_str!("../../docs/devices.md");
    let header = docs
        .lines()
        .find(|line| line.starts_with("| adapter"))
        .unwrap();
    let (_, rows) = said(&["--report"]);
    assert_eq!(rows.lines().count(), device::found().len(), "{rows}");
    for row in rows.lines() {
        assert_eq!(
            row.matches('|').count(),
            header.matches('|').count(),
            "{row}"
        );
        assert!(row.contains("f32") && row.contains("GFLOP/s"), "{row}");
    }
    let (found, rows) = said(&["--report", "--backend", "cpu"]);
    assert!(
        found && rows.lines().count() == 1 && rows.contains("| cpu |"),
        "{rows}"
    );
    assert!(
        !said(&["--backend", "cpu", "--device", "7"]).0,
        "there is one CPU"
    );
}
