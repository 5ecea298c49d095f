//! Judges that are no part of duel, from a recipe and from the command.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use super::{duel, folder};
use serde_json::Value;
use std::fs;

const RECIPE: &str = r#"
name = "judged"
[model]
model_name_or_path = "quickstart"
[online]
rounds = 1
prompts_per_round = 6
max_length = 64
prompts.files = "quickstart:prompts"
generate.num_generations = 4
generate.max_new_tokens = 16
judge.command.program = ["sh", "judge.sh"]
train.learning_rate = 1e-4
train.gradient_accumulation_steps = 1
"#;

/// Rewards 1 to 4, whatever the responses are, and a note of each row.
const JUDGE: &str =
    "while read -r line; do echo \"$line\" >> asked; echo '{\"rewards\": [1, 2, 3, 4]}'; done\n";

#[test]
fn a_program_ranks_the_responses_of_a_round_and_each_row_once() {
    let folder = folder(&[("recipe.toml", RECIPE), ("judge.sh", JUDGE)]);
    let said = duel(&folder, &["run", "recipe.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let scores =
        fs::read_to_string(folder.path().join("runs/judged/round-1/scores.jsonl")).unwrap();
    for line in scores.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["rewards"], serde_json::json!([1.0, 2.0, 3.0, 4.0]));
    }
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 6);
    let first: Value = serde_json::from_str(asked.lines().next().unwrap()).unwrap();
    assert!(
        first["prompt"].is_array() || first["prompt"].is_string(),
        "{first}"
    );
    assert_eq!(first["responses"].as_array().unwrap().len(), 4);
}

#[test]
fn a_program_that_fails_in_the_middle_is_asked_for_the_rest_only() {
    let fails = "n=0; while read -r line; do n=$((n+1)); [ $n -gt 4 ] && { echo overheated >&2; exit 9; }; echo \"$line\" >> asked; echo '{\"rewards\": [1, 2, 3, 4]}'; done\n";
    let folder = folder(&[("recipe.toml", RECIPE), ("judge.sh", fails)]);
    let said = duel(&folder, &["run", "recipe.toml"]);
    assert_eq!(said.code, 1, "{}", said.err);
    for part in [
        "exit status: 9",
        "overheated",
        "rows that are judged stay judged",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    fs::write(folder.path().join("judge.sh"), JUDGE).unwrap();
    // More patience is no other judge.
    let patient = ["--set", "online.judge.command.timeout_seconds=90"];
    let said = duel(&folder, &[&["run", "recipe.toml"], &patient[..]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 6, "4 before, 2 after");
}

#[test]
fn the_command_judges_a_file_with_a_program() {
    let rows = "{\"prompt\": \"Hi\", \"responses\": [\"a\", \"bbb\"]}\n";
    let judge = "while read -r line; do echo '{\"rewards\": [0.5, -1]}'; done\n";
    let folder = folder(&[("rows.jsonl", rows), ("judge.sh", judge)]);
    let said = duel(
        &folder,
        &[
            "judge",
            "--command",
            "sh judge.sh",
            "--data",
            "rows.jsonl",
            "--json",
        ],
    );
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.json()[0]["rewards"], serde_json::json!([0.5, -1.0]));
}

#[test]
fn a_key_that_is_not_there_and_two_judges_are_found_before_anything_runs() {
    let folder = folder(&[("recipe.toml", RECIPE), ("judge.sh", JUDGE)]);
    let remote = [
        "online.judge.remote.base_url=\"http://127.0.0.1:1/v1\"",
        "online.judge.remote.model=\"m\"",
        "online.judge.remote.api_key_env=\"DUEL_NO_SUCH_KEY\"",
    ];
    let set = remote.iter().flat_map(|set| ["--set", *set]);
    let run = |more: &[&str]| {
        let arguments: Vec<&str> = ["run", "recipe.toml"]
            .into_iter()
            .chain(set.clone())
            .collect();
        duel(&folder, &[&arguments[..], more].concat())
    };
    let said = run(&[]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("has no DUEL_NO_SUCH_KEY"), "{}", said.err);
    assert!(!folder.path().join("runs/judged/round-1").exists());
    let said = run(&["--set", "online.judge.remote.base_url=\"localhost\""]);
    assert!(
        said.err.contains("`base_url` is no address to ask"),
        "{}",
        said.err
    );
}

/// The last round is evaluated by two stages' hands, and what it came to is on record once.
#[test]
fn a_judge_that_ties_everything_is_on_record() {
    let recipe = r#"
name = "tied"
[model]
model_name_or_path = "quickstart"
[online]
rounds = 1
prompts_per_round = 4
max_length = 64
prompts.files = "quickstart:prompts"
generate.num_generations = 2
generate.max_new_tokens = 8
judge.rule.formula = "length:5"
[eval]
max_length = 64
prompts = { files = "quickstart:eval", max_rows = 3 }
generate.max_new_tokens = 8
rule.formula = "matches:zzzzz"
"#;
    let folder = folder(&[("mine.toml", recipe)]);
    let metrics = || {
        let said = duel(&folder, &["run", "mine.toml"]);
        assert_eq!(said.code, 0, "{}", said.err);
        let fact = "finds the two models' responses to all 3 prompts equally good";
        assert_eq!(said.err.matches(fact).count(), 1, "{}", said.err);
        let metrics = folder.path().join("runs/tied/metrics.jsonl");
        std::fs::read_to_string(metrics).unwrap()
    };
    for _ in 0..2 {
        assert_eq!(metrics().matches("judge-ties-everything").count(), 1);
    }
}
