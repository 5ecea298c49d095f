//! Every device computes what the CPU computes: one body for all of them, over the devices that this build and this
//! machine have. Where there is only the CPU nothing is compared, and the test says so.

// Which devices were compared is what a person wants to know of a parity test.
#![allow(clippy::print_stdout)]

use crate::fitting::{adapted, all, bradley_terry, dpo, fit, pairs, train};
use crate::tiny;
use burn::tensor::Device;
use duel::data::Key;
use duel::generate::{Engine, Prompted};
use duel::model::build::Kept;
use duel::model::params::is_adapter;
use duel::model::{Decoder, DecoderSpec, Head};
use duel::objective::{Example, Objective, Sft};
use duel::recipe::loss::LossType;
use duel::recipe::{Sampling, Train};
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

/// The model that has everything, with a head, on the CPU and on a device.
fn both(head: Head, seed: u64, device: &Device) -> [Decoder; 2] {
    both_kept(head, seed, device, Kept::default())
}

/// The same with its matrices kept as asked.
fn both_kept(head: Head, seed: u64, device: &Device, kept: Kept) -> [Decoder; 2] {
    let spec = DecoderSpec {
        head,
        ..tiny::spec()
    };
    [Device::flex(), device.clone()].map(|device| tiny::decoder_kept(&spec, seed, &device, kept))
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
    on_each_device(|name, device| {
        let trie = Trie::new(&sequences(&pairs(6)));
        let [cpu, other] = both(Head::LanguageModel, 41, device);
        let logps = |decoder: &Decoder| tiny::token_logps(decoder, &trie);
        near(
            &format!("{name}: log-probs"),
            &logps(&other),
            &logps(&cpu),
            1e-4,
        );
        let gradients = |decoder| {
            tiny::gradients(decoder, |decoder| {
                decoder.target_logprobs(&trie).logps.sum()
            })
        };
        let far = tiny::gradient_distance(&gradients(&other), &gradients(&cpu));
        assert!(
            far < 1e-3,
            "{name}: gradients are off by {far} of their norm"
        );
        let [cpu, other] = both(Head::Score, 42, device);
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
    let stages: [(&str, Head, Make); 3] = [
        ("sft", Head::LanguageModel, || Box::new(Sft)),
        ("reward", Head::Score, bradley_terry),
        ("dpo", Head::LanguageModel, || dpo(LossType::Sigmoid)),
    ];
    on_each_device(|name, device| {
        for (stage, head, objective) in stages {
            let train = Train {
                gradient_checkpointing: stage == "dpo",
                ..train(20)
            };
            let curves = both(head, 43, device).map(|decoder| {
                let trained = fit(all(&decoder), objective(), &pairs(8), &train, None);
                trained.decoder.as_ref().unwrap();
                [trained.curve("loss"), trained.curve("grad_norm")]
            });
            let [cpu, other] = curves;
            near(
                &format!("{name}: {stage}: losses"),
                &other[0],
                &cpu[0],
                1e-3,
            );
            near(
                &format!("{name}: {stage}: gradient norms"),
                &other[1],
                &cpu[1],
                1e-2,
            );
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
            let curves = both_kept(Head::LanguageModel, 45, device, kept).map(|decoder| {
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
fn greedy_responses_are_those_of_the_cpu() {
    let chat = tiny::chat();
    let spec = DecoderSpec {
        vocab_size: chat.vocab_size(),
        ..tiny::spec()
    };
    let prompts: Vec<Prompted> = [vec![5, 6, 7, 8], vec![5, 6, 9], vec![99]]
        .into_iter()
        .map(|tokens| Prompted {
            id: format!("{tokens:?}"),
            tokens,
        })
        .collect();
    let how = Sampling {
        num_generations: 1,
        max_new_tokens: 24,
        temperature: vec![0.0],
        ..Sampling::default()
    };
    on_each_device(|name, device| {
        let [cpu, other] = [Device::flex(), device.clone()].map(|device| {
            let decoder = tiny::decoder_on(&spec, 44, &device);
            let mut all = Vec::new();
            let engine = Engine::new(&decoder, &chat, &how);
            let mut keep = |_: &Prompted, drawn: Vec<duel::generate::Drawn>| {
                all.extend(drawn.into_iter().map(|drawn| drawn.tokens));
                Ok(())
            };
            engine.generate(&prompts, Key::new(3), &mut keep).unwrap();
            all
        });
        assert_eq!(other, cpu, "{name}");
    });
}

/// Kernels are made for sizes and formats: training must come to have all it needs. The log tells what is compiled and
/// what is run, in order.
#[test]
fn training_on_ragged_batches_comes_to_compile_no_more_kernels_on_each_device() {
    for found in device::found() {
        if found.backend == "cpu" {
            continue;
        }
        let log = tempfile::NamedTempFile::new().unwrap();
        let device = found.index.to_string();
        let mut bench = Command::new(env!("CARGO_BIN_EXE_duel"));
        bench.args([
            "bench",
            "dpo",
            "--model",
            "quickstart",
            "--data",
            "quickstart:pairs",
        ]);
        bench.args(["--pairs", "1", "--steps", "32", "--json"]);
        bench.args(["--backend", found.backend, "--device", &device]);
        let outcome = bench.env("CUBECL_DEBUG_LOG", log.path()).output().unwrap();
        assert!(outcome.status.success(), "{outcome:?}");
        let log = std::fs::read_to_string(log.path()).unwrap();
        // Behind the last update bench measures the device, with a kernel of its own.
        let training = &log[..log.rfind("| Update_").unwrap()];
        let (first, rest) = training.split_at(training.rfind("[START_KERNEL").unwrap());
        let kernels = 1 + first.matches("[START_KERNEL").count();
        let updates = |log: &str| log.matches("| Update_").count();
        let share = updates(first) as f64 / updates(training) as f64;
        println!(
            "{} {}: {kernels} kernels, the last one after {:.0} % of the training",
            found.backend,
            found.index,
            100.0 * share
        );
        assert!(kernels < 120 && !rest.is_empty(), "{kernels} kernels");
        assert!(share < 0.75, "kernels are still being compiled");
    }
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
