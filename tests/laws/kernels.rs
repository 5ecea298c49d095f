//! Kernels are made for sizes and formats, and a compiler takes longer than a step: every kind of work must come to have all
//! that it needs, however ragged its batches are. The log of the kernels tells what is compiled and what is run, in order.

// How many kernels there are is what a person wants to know.
#![allow(clippy::print_stdout)]

use duel_backends::device;
use std::path::Path;
use std::process::Command;

/// What one kind of work compiled and ran: what `mark` names is run once a unit of it, or a known number of times.
struct Log {
    text: String,
    mark: &'static str,
}

impl Log {
    /// Runs `duel` in `folder` on a device.
    fn of(folder: &Path, found: &device::Found, words: &[&str], mark: &'static str) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let device = found.index.to_string();
        let on = ["--backend", found.backend, "--device", &device];
        duel(folder, &[words, &on].concat(), Some(log.path()));
        let text = std::fs::read_to_string(log.path()).unwrap();
        // Behind its work a training measures the device, with a kernel of its own.
        let end = text.rfind(mark);
        let end = end.unwrap_or_else(|| panic!("{words:?}: no {mark}"));
        Self {
            text: text[..end].to_owned(),
            mark,
        }
    }

    /// Kernels that were compiled, and the share of the work that was done when the last one was.
    fn kernels(&self) -> (usize, f64) {
        let compiled = "[START_KERNEL";
        let last = self.text.rfind(compiled).unwrap_or(0);
        let runs = |text: &str| text.matches(self.mark).count();
        let share = runs(&self.text[..last]) as f64 / runs(&self.text).max(1) as f64;
        (self.text.matches(compiled).count(), share)
    }
}

fn duel(folder: &Path, words: &[&str], log: Option<&Path>) {
    let mut duel = Command::new(env!("CARGO_BIN_EXE_duel"));
    duel.current_dir(folder).args(words);
    if let Some(log) = log {
        duel.env("CUBECL_DEBUG_LOG", log);
    }
    let outcome = duel.output().unwrap();
    assert!(outcome.status.success(), "{words:?}: {outcome:?}");
}

#[test]
fn ragged_batches_come_to_compile_no_more_kernels_on_each_device() {
    let train = ["--data=quickstart:pairs", "--pairs=1", "--steps=32"];
    let draw = ["--prompts=quickstart:pairs", "--limit=24", "-k=4"];
    let small = ["--max-tokens-per-batch=500"];
    let cuts = ["--top-k=40", "--top-p=0.9", "--repetition-penalty=1.2"];
    let work: [(&str, Vec<&str>, &str); 4] = [
        (
            "dpo",
            [&["bench", "dpo", "--model=quickstart"], &train[..]].concat(),
            "| Update_",
        ),
        (
            "reward",
            [&["bench", "reward", "--model=quickstart"], &train[..]].concat(),
            "| Update_",
        ),
        (
            "drawing",
            [
                &["generate", "--model=quickstart", "--out=d.jsonl"],
                &draw[..],
                &cuts,
                &small,
            ]
            .concat(),
            "| DrawRow_",
        ),
        (
            "judging",
            [
                &[
                    "judge",
                    "--model=runs/r/reward/checkpoint",
                    "--data=o.jsonl",
                    "--out=j.jsonl",
                ],
                &small[..],
            ]
            .concat(),
            // Norms, rotations and so on: some for each block.
            "| Forward_",
        ),
    ];
    for found in device::found() {
        if found.backend == "cpu" {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let on_cpu = ["--backend=cpu"];
        let reward = [
            "reward",
            "--model=quickstart",
            "--data=quickstart:pairs",
            "--name=r",
        ];
        let once = ["--set", "reward.train.max_steps=1"];
        duel(folder.path(), &[&reward[..], &once, &on_cpu].concat(), None);
        let out = ["generate", "--model=quickstart", "--out=o.jsonl"];
        duel(folder.path(), &[&out[..], &draw, &on_cpu].concat(), None);
        for (what, words, mark) in &work {
            let (kernels, share) = Log::of(folder.path(), &found, words, mark).kernels();
            println!(
                "{} {}: {what}: {kernels} kernels, the last one after {:.0} % of the work",
                found.backend,
                found.index,
                100.0 * share
            );
            assert!((1..100).contains(&kernels), "{what}: {kernels} kernels");
            assert!(share < 0.75, "{what}: kernels are still being compiled");
        }
    }
}
