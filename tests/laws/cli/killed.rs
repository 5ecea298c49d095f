//! A run that is killed, at whatever moment, ends with the same files as one that was left alone.

use super::{command, duel, folder};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Two small rounds of the quickstart, with checkpoints every other step, and prompts too long for the model's limit.
pub(super) const RECIPE: &str = r#"
name = "killed"
[model]
model_name_or_path = "quickstart"
[reward]
max_length = 96
overlong = "drop"
[reward.data]
files = "quickstart:pairs"
max_rows = 48
held_out = 0.2
[reward.train]
learning_rate = 5e-4
per_device_train_batch_size = 8
gradient_accumulation_steps = 1
save_steps = 2
[online]
rounds = 2
prompts_per_round = 6
max_length = 32
[online.prompts]
files = "quickstart:prompts"
[online.generate]
num_generations = 3
max_new_tokens = 24
[online.train]
learning_rate = 1e-4
num_train_epochs = 2
per_device_train_batch_size = 2
gradient_accumulation_steps = 1
save_steps = 2
max_tokens_per_batch = 128
[eval]
max_length = 64
[eval.prompts]
files = "quickstart:eval"
max_rows = 4
[eval.generate]
max_new_tokens = 8
"#;

pub(super) const RUN: [&str; 3] = ["run", "recipe.toml", "--quiet"];

/// What a stage leaves for the next one. Times stand in the records of stages, in metrics and in the report.
pub(super) fn outputs(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                open.push(path);
            } else if name.ends_with(".safetensors")
                || name.ends_with(".jsonl") && name != "metrics.jsonl"
            {
                let own = path.strip_prefix(root).unwrap().to_owned();
                found.insert(own, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What the run leaves that nobody stops; computed once.
pub(super) fn undisturbed() -> &'static BTreeMap<PathBuf, Vec<u8>> {
    static WHOLE: OnceLock<BTreeMap<PathBuf, Vec<u8>>> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let whole = folder(&[("recipe.toml", RECIPE)]);
        let said = duel(&whole, &RUN);
        assert_eq!(said.code, 0, "{}", said.err);
        let whole = outputs(&whole.path().join("runs/killed"));
        assert!(whole.len() > 12, "{:?}", whole.keys());
        whole
    })
}

/// Returns as soon as `file` is there.
pub(super) fn wait_for(child: &mut Child, file: &Path) {
    let begun = Instant::now();
    while !file.exists() && begun.elapsed() < Duration::from_secs(300) {
        if let Some(status) = child.try_wait().unwrap() {
            panic!(
                "the run ended ({status}) before it wrote {}",
                file.display()
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts the run and kills it as soon as `file` is there.
fn kill_at(folder: &Path, file: &str) {
    let mut child = command(folder, &RUN)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&mut child, &folder.join("runs/killed").join(file));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn d27_a_killed_run_goes_on_with_the_same_command_and_ends_with_the_same_bits() {
    let whole = undisturbed();
    let torn = folder(&[("recipe.toml", RECIPE)]);
    for moment in [
        "reward.open.json",
        "round-1/responses.jsonl",
        "round-1/scores.jsonl",
        "round-1/reference.jsonl",
        "round-1/checkpoint.open.json",
        "round-1/eval/responses.jsonl",
        "round-2/pairs.jsonl",
        "round-2/checkpoint/model.safetensors",
    ] {
        kill_at(torn.path(), moment);
    }
    let said = duel(&torn, &RUN);
    assert_eq!(said.code, 0, "{}", said.err);
    let torn = outputs(&torn.path().join("runs/killed"));
    assert_eq!(
        whole.keys().collect::<Vec<_>>(),
        torn.keys().collect::<Vec<_>>()
    );
    for (path, bytes) in whole {
        assert!(bytes == &torn[path], "{} differs", path.display());
    }

    // A prompt that the policy read without its beginning stays whole in the files: the judge has its own limits.
    let scores = String::from_utf8(whole[Path::new("round-1/scores.jsonl")].clone()).unwrap();
    for line in scores.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            !row["prompt"].is_null() && !row["prompt"][0].is_number(),
            "{line}"
        );
    }
}

/// Makes a finished stage one that was killed after `rows` rows of its file.
fn tear(root: &Path, stage: &str, rows: usize) -> usize {
    let done = root.join(format!("{stage}.done.json"));
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&done).unwrap()).unwrap();
    record["done"] = false.into();
    record["files"] = serde_json::json!({});
    fs::write(root.join(format!("{stage}.open.json")), record.to_string()).unwrap();
    fs::remove_file(done).unwrap();
    let file = root.join(format!("{stage}.jsonl"));
    let text = fs::read_to_string(&file).unwrap();
    let kept: String = text.split_inclusive('\n').take(rows).collect();
    fs::write(&file, kept).unwrap();
    text.lines().count()
}

#[test]
fn a_stage_torn_in_the_middle_of_a_batch_ends_with_the_same_bits() {
    let run = folder(&[("recipe.toml", RECIPE)]);
    let said = duel(&run, &RUN);
    assert_eq!(said.code, 0, "{}", said.err);
    let root = run.path().join("runs/killed");
    let whole = outputs(&root);
    for stage in ["responses", "scores", "reference"] {
        let stage = format!("round-1/{stage}");
        for rows in [1, 2, 4] {
            assert!(tear(&root, &stage, rows) > rows, "{stage} has rows to lose");
            let said = duel(&run, &RUN);
            assert_eq!(said.code, 0, "{}", said.err);
            let again = outputs(&root);
            for (path, bytes) in &whole {
                let same = bytes == &again[path];
                assert!(
                    same,
                    "{} differs after {rows} rows of {stage}",
                    path.display()
                );
            }
        }
    }
}
