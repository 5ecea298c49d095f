//! A pairwise preference model: trained, measured, and a judge of rounds, of rows and of two policies.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, duel, folder};
use serde_json::{Value, json};
use std::fs;

/// A small training.
const SMALL: &str = r#"
name = "more"
[model]
model_name_or_path = "quickstart"
[pairwise]
data = { files = "quickstart:pairs", held_out = 0.2, max_rows = 40 }
max_length = 512
[pairwise.train]
learning_rate = 1e-3
gradient_accumulation_steps = 1
per_device_train_batch_size = 8
max_steps = 2
"#;

/// Rounds that its model judges, and an evaluation that nobody else judges.
const LOOP: &str = r#"
[online]
rounds = 1
prompts_per_round = 4
max_length = 64
prompts.files = "quickstart:prompts"
generate.num_generations = 4
generate.max_new_tokens = 16
judge.pairwise.rounds = "knock_out"
train.learning_rate = 1e-4
train.gradient_accumulation_steps = 1
[eval]
prompts = { files = "quickstart:eval", max_rows = 4 }
max_length = 64
generate.max_new_tokens = 16
"#;

#[test]
fn a_recipe_trains_one_measures_it_and_lets_it_judge() {
    let recipe = format!("{SMALL}{LOOP}");
    let folder = folder(&[("recipe.toml", recipe.as_str()), ("pairs.jsonl", PAIRS)]);
    let said = duel(&folder, &["run", "recipe.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let run = folder.path().join("runs/more");
    let read = |path: &str| -> Value {
        serde_json::from_slice(&fs::read(run.join(path)).unwrap()).unwrap()
    };
    let report = read("pairwise-eval.json");
    for part in ["judge", "length_only", "random"] {
        assert!(report[part]["pairs"].as_u64().unwrap() > 0, "{report}");
    }
    assert!(report["position"]["first_place"].is_number(), "{report}");
    // A knock-out of four has a winner of two matches, unless a tie gave both the same.
    let scores = fs::read_to_string(run.join("round-1/scores.jsonl")).unwrap();
    for line in scores.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let rewards: Vec<f64> = serde_json::from_value(row["rewards"].clone()).unwrap();
        assert!(rewards.iter().all(|r| [0.0, 1.0, 2.0].contains(r)), "{row}");
    }
    // Nobody else judges, and the two sides of a comparison are one together.
    let opinion = &read("round-1/eval/result.json")["opinions"][0];
    assert_eq!(opinion["judge"], "pairwise");
    let sides = opinion["before"].as_f64().unwrap() + opinion["after"].as_f64().unwrap();
    assert!((sides - 1.0).abs() < 1e-6, "{opinion}");

    let model = "runs/more/pairwise/checkpoint";
    let judged = duel(
        &folder,
        &["judge", "--pairwise", model, "--data", "pairs.jsonl"],
    );
    assert_eq!(judged.code, 0, "{}", judged.err);
    for row in judged.json() {
        let of = |key: &str| row[key].as_f64().unwrap();
        assert_eq!(of("chosen") + of("rejected"), 1.0, "{row}");
    }
    let words = [
        "eval",
        "--pairwise",
        model,
        "--data",
        "pairs.jsonl",
        "--json",
    ];
    let found = &duel(&folder, &words).json()[0];
    let won = judged.json();
    let won = won
        .iter()
        .filter(|row| row["rewards"][0].as_f64() > row["rewards"][1].as_f64());
    assert_eq!(found["judge"]["accuracy"], json!(won.count() as f64 / 6.0));
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_to_do() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let said = duel(
        &folder,
        &[
            "judge",
            "--pairwise",
            "quickstart",
            "--data",
            "pairs.jsonl",
            "--max-length",
            "20",
        ],
    );
    // Nothing fits: every row says why, and none has a made-up score.
    assert!(
        said.json()
            .iter()
            .all(|row| row["error"].is_string() && row["rewards"].is_null()),
        "{}",
        said.out
    );
    let recipe = "name = \"x\"\nmodel.model_name_or_path = \"quickstart\"\nonline.prompts.files = \"quickstart:prompts\"\n\
                  online.judge.pairwise = {}\n";
    fs::write(folder.path().join("r.toml"), recipe).unwrap();
    let said = duel(&folder, &["run", "r.toml"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.err
            .contains("add a `[pairwise]` or a `[multi_objective.tree]` table"),
        "{}",
        said.err
    );
}

#[test]
fn pairs_without_labels_and_across_prompts_are_learnt_from_and_a_second_call_does_nothing() {
    let unlabelled =
        "[pairwise.ssrm]\ndata.files = \"pairs.jsonl\"\nthreshold = 0.5\niterations = 2\n";
    let across = "[pairwise.rrm]\nper_row = 14\nmin_surprise = 0.3\n";
    for (more, made) in [
        (
            unlabelled,
            [
                "pairwise-labels-2.jsonl",
                "pairwise-ssrm.json",
                "pairwise-0",
            ],
        ),
        (
            across,
            ["pairwise-across.jsonl", "pairwise-plain", "pairwise"],
        ),
    ] {
        let recipe = format!("{SMALL}{more}");
        let folder = folder(&[("recipe.toml", recipe.as_str()), ("pairs.jsonl", PAIRS)]);
        let call = || duel(&folder, &["pairwise", "recipe.toml"]);
        let said = call();
        assert_eq!(said.code, 0, "{}", said.err);
        let run = folder.path().join("runs/more");
        for name in made {
            assert!(run.join(name).exists(), "{name}: {}", said.err);
        }
        let weights = run.join("pairwise/checkpoint/model.safetensors");
        let changed = || fs::metadata(&weights).unwrap().modified().unwrap();
        let before = changed();
        let again = call();
        assert_eq!(again.code, 0, "{}", again.err);
        assert_eq!(changed(), before);
        assert!(!again.err.contains("step 1/"), "{}", again.err);
    }
}

/// Every label of a pair is kept or not by the model's own probability, and told against the file's truth.
#[test]
fn what_was_labelled_is_told() {
    let recipe = format!(
        "{SMALL}[pairwise.ssrm]\ndata.files = \"pairs.jsonl\"\nthreshold = 0.5\niterations = 1\n"
    );
    let folder = folder(&[("recipe.toml", recipe.as_str()), ("pairs.jsonl", PAIRS)]);
    assert_eq!(duel(&folder, &["pairwise", "recipe.toml"]).code, 0);
    let run = folder.path().join("runs/more");
    let told: Value =
        serde_json::from_slice(&fs::read(run.join("pairwise-ssrm.json")).unwrap()).unwrap();
    let labels = fs::read_to_string(run.join("pairwise-labels-1.jsonl")).unwrap();
    let p: Vec<f64> = labels
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["p"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert_eq!(p.len(), 6);
    let sure = p.iter().filter(|p| **p != 0.5).count();
    let right = p.iter().filter(|p| **p > 0.5).count();
    assert_eq!(told[0]["kept"], sure, "{told}");
    assert_eq!(told[0]["precision"]["accuracy"], right as f64 / sure as f64);
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    let row = format!("<tr><th>1</th><td>6</td><td>{sure}</td>");
    assert!(page.contains("<h2>Pseudo-labels") && page.contains(&row));
}

#[test]
fn odin_leaves_a_reward_model_with_one_head() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let words = [
        "reward",
        "--model",
        "quickstart",
        "--data",
        "pairs.jsonl",
        "--name",
        "odin",
        "--set",
        "reward.odin={}",
        "--set",
        "reward.train.max_steps=2",
        "--set",
        "reward.data.text_as_chat=true",
        "--set",
        "reward.train.max_tokens_per_batch=64",
    ];
    let said = duel(&folder, &words);
    assert_eq!(said.code, 0, "{}", said.err);
    let model = "runs/odin/reward/checkpoint";
    let judged = duel(
        &folder,
        &["judge", "--model", model, "--data", "pairs.jsonl"],
    );
    assert_eq!(judged.code, 0, "{}", judged.err);
    assert_eq!(judged.json().len(), 6);
}
