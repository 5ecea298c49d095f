//! Weights in 4 bits under adapters, and products in fewer bits, from a recipe.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, duel, folder};
use serde_json::Value;

const ONLINE: &str = r#"
name = "packed"
[model]
model_name_or_path = "quickstart"
load_in_4bit = true
[online]
rounds = 2
prompts_per_round = 12
max_length = 64
prompts.files = "quickstart:prompts"
generate.num_generations = 4
generate.max_new_tokens = 16
judge.rule.formula = "0.6*feelings + 0.2*sentence + 0.2*no_repeats"
train.learning_rate = 1e-3
train.gradient_accumulation_steps = 1
lora.r = 4
"#;

#[test]
fn rounds_over_four_bits_write_adapters_that_any_later_command_reads() {
    let folder = folder(&[("recipe.toml", ONLINE)]);
    let said = duel(&folder, &["run", "recipe.toml", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let last: Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    assert!(last["rounds"][1]["kl_samples"].as_f64().unwrap().abs() > 0.0);
    let adapter = "runs/packed/round-2/checkpoint";
    let files = folder.path().join(adapter);
    assert!(files.join("adapter_config.json").exists());
    assert!(!files.join("model.safetensors").exists());
    let merged = duel(&folder, &["export", adapter, "--out", "merged"]);
    assert_eq!(merged.code, 0, "{}", merged.err);
    assert!(folder.path().join("merged/model.safetensors").exists());
}

#[test]
fn four_bits_that_a_stage_would_train_are_refused_where_they_are_asked_for() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let dpo = ["dpo", "--model", "quickstart", "--data", "pairs.jsonl"];
    let asked = [&dpo[..], &["--set", "model.load_in_4bit=true"]].concat();
    let said = duel(&folder, &asked);
    assert_eq!(said.code, 2, "{}", said.err);
    for part in ["`[dpo]` trains every weight", "add a `[dpo.lora]` table"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    let said = duel(&folder, &[&asked[..], &["--set", "dpo.lora.r=4"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
fn a_type_that_gains_nothing_on_the_cpu_is_computed_and_told_of() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let dpo = ["dpo", "--model", "quickstart", "--data", "pairs.jsonl"];
    let loss = |dtype: &str| {
        let set = [
            format!("model.dtype=\"{dtype}\""),
            format!("name=\"{dtype}\""),
        ];
        let set = set.iter().flat_map(|set| ["--set", set.as_str()]);
        let said = duel(&folder, &dpo.into_iter().chain(set).collect::<Vec<_>>());
        assert_eq!(said.code, 0, "{}", said.err);
        assert_eq!(
            said.err.contains("no faster than f32"),
            dtype == "bf16",
            "{}",
            said.err
        );
        let model = folder
            .path()
            .join(format!("runs/{dtype}/dpo/checkpoint/model.safetensors"));
        std::fs::read(model).unwrap()
    };
    assert!(loss("auto") == loss("f32"), "auto is f32 on the CPU");
    assert!(loss("bf16") != loss("f32"), "rounded");
}

#[test]
fn a_model_in_four_bits_is_planned_for_a_quarter() {
    let folder = folder(&[("recipe.toml", ONLINE)]);
    let start = |set: &str| {
        let said = duel(&folder, &["plan", "recipe.toml", "--json", "--set", set]);
        assert_eq!(said.code, 0, "{}", said.err);
        let stages = said.json().remove(0)["estimate"]["stages"].take();
        let training = stages
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["training"].is_object());
        training.unwrap()["training"]["start"].as_u64().unwrap()
    };
    let (whole, packed) = (
        start("model.load_in_4bit=false"),
        start("model.load_in_4bit=true"),
    );
    // The tables stay whole, and are much of a small model.
    assert!(packed < whole * 3 / 4, "{packed} {whole}");
}
