//! A verifier wherever a judge is seen: in an evaluation, in a plan, in what a run shows and how it compares.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, duel, folder};
use serde_json::{Value, json};
use std::fs;

/// Steps of both kinds.
const STEPS: &str = r#"{"prompt": "Tom has 2 cats and gets 1 more. How many?", "completions": ["He has 2.", "The answer is 3."], "labels": [true, true]}
{"prompt": "Sue has 5 hats and loses 1. How many?", "completions": ["She has 5.", "The answer is 6."], "labels": [true, false]}
"#;

const VERIFIER: &str = r#"
name = "v"
model.model_name_or_path = "quickstart"
[verifier]
data.files = "steps.jsonl"
eval.files = "steps.jsonl"
max_length = 256
train = { learning_rate = 1e-3, gradient_accumulation_steps = 1, max_steps = 1 }
"#;

const ROUND: &str = r#"
[online]
rounds = 1
prompts_per_round = 2
max_length = 64
prompts.files = "quickstart:prompts"
generate = { num_generations = 2, max_new_tokens = 8 }
judge.verifier.aggregate = "min"
train = { learning_rate = 1e-4, gradient_accumulation_steps = 1 }
"#;

/// Nobody judges it but what the run trains.
const EVAL: &str = r#"
[eval]
prompts = { files = "quickstart:eval", max_rows = 2 }
max_length = 64
generate.max_new_tokens = 8
"#;

#[test]
fn a_runs_verifier_judges_its_evaluation_and_is_seen_in_all_that_shows_a_run() {
    let recipe = format!("{VERIFIER}{ROUND}{EVAL}");
    let folder = folder(&[
        ("steps.jsonl", STEPS),
        ("pairs.jsonl", PAIRS),
        ("r.toml", &recipe),
    ]);
    let said = duel(&folder, &["run", "r.toml", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let summary = said.json().pop().unwrap();
    assert_eq!(summary["judge"], "verifier", "{summary}");
    assert_eq!(summary["accuracy"]["verifier"]["labels"], 4, "{summary}");

    let shown = duel(&folder, &["runs", "show", "v"]).out;
    assert!(
        shown.contains("always the same") && shown.contains("75.0 %"),
        "{shown}"
    );
    let shown = duel(&folder, &["runs", "show", "v", "--json"]).json();
    assert_eq!(shown[0]["accuracy"]["verifier"]["positive"], 3);
    let compared = duel(&folder, &["runs", "compare", "v", "v"]).out;
    for row in ["verifier accuracy", "verifier majority", "verifier AUC"] {
        assert!(compared.contains(row), "{row} in {compared}");
    }
    let page = fs::read_to_string(folder.path().join("runs/v/report.html")).unwrap();
    for part in [
        "id=\"verifier\"",
        "always the same answer",
        "(AUC; 0.5 is a coin)",
    ] {
        assert!(page.contains(part), "{part}");
    }

    // A model of another run, which an evaluation names.
    let dpo = "name = \"d\"\nmodel.model_name_or_path = \"quickstart\"\n\
               dpo = { data.files = \"pairs.jsonl\", train.max_steps = 1 }\n";
    let model = "runs/v/verifier/checkpoint";
    let judge = format!("verifier = {{ model_name_or_path = \"{model}\", aggregate = \"min\" }}\n");
    fs::write(folder.path().join("d.toml"), format!("{dpo}{EVAL}{judge}")).unwrap();
    let said = duel(&folder, &["dpo", "d.toml", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.json().pop().unwrap()["opinions"][0]["judge"], model);

    // A chat model answers whatever it is asked; whether it was trained to is told where a run knows it.
    for (model, odd) in [("runs/d/dpo/checkpoint", true), (model, false)] {
        let judge = ["judge", "--process", model, "--data", "pairs.jsonl"];
        let said = duel(&folder, &judge);
        assert_eq!(said.code, 0, "{}", said.err);
        assert_eq!(said.err.contains("stage `dpo`"), odd, "{}", said.err);
    }
    let against = "runs/d/dpo/checkpoint";
    let words = [
        "eval",
        "--pairwise",
        "quickstart",
        "--against",
        against,
        "--data",
        "pairs.jsonl",
    ];
    let said = duel(&folder, &words);
    for words in ["has no score head", "stage `dpo`"] {
        assert!(said.err.contains(words), "{}", said.err);
    }
}

/// `duel dpo` trains no judge, unless the evaluation after it has none else.
#[test]
fn a_verifier_is_trained_for_an_evaluation_that_has_no_other_judge() {
    let dpo = "[dpo]\ndata.files = \"pairs.jsonl\"\ntrain.max_steps = 1\n";
    let recipe = format!("{VERIFIER}{dpo}{EVAL}");
    let folder = folder(&[
        ("steps.jsonl", STEPS),
        ("pairs.jsonl", PAIRS),
        ("r.toml", &recipe),
    ]);
    let rule = [
        "dpo",
        "r.toml",
        "--json",
        "--set",
        "eval.rule.formula=sentence",
    ];
    let judged = |arguments: &[&str]| -> Vec<String> {
        let said = duel(&folder, arguments);
        assert_eq!(said.code, 0, "{}", said.err);
        let summary = said.json().pop().unwrap();
        let opinions = summary["opinions"].as_array().unwrap();
        let names = opinions.iter().map(|one| one["judge"].as_str().unwrap());
        names.map(str::to_owned).collect()
    };
    assert_eq!(judged(&[&rule[..], &["--name", "r"]].concat()), ["rule"]);
    assert!(!folder.path().join("runs/r/verifier").exists());
    assert_eq!(judged(&["dpo", "r.toml", "--json"]), ["verifier"]);
}

#[test]
fn a_table_of_the_evaluation_that_names_no_verifier_is_refused() {
    let recipe = format!("{VERIFIER}{EVAL}verifier = {{}}\n");
    let folder = folder(&[("steps.jsonl", STEPS), ("r.toml", &recipe)]);
    let said = duel(&folder, &["recipe", "check", "r.toml"]);
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(
        said.err.contains("`[eval.verifier]` names no model"),
        "{}",
        said.err
    );
}

#[test]
fn a_plan_counts_what_a_verifier_and_a_pairwise_judge_of_the_rounds_read() {
    let scores = |judge: &str| -> Value {
        let round = ROUND.replace("judge.verifier.aggregate = \"min\"", judge);
        let recipe = format!("{VERIFIER}{round}");
        let folder = folder(&[("steps.jsonl", STEPS), ("r.toml", &recipe)]);
        let said = duel(&folder, &["plan", "r.toml", "--json"]);
        assert_eq!(said.code, 0, "{}", said.err);
        let estimate = said.json().remove(0)["estimate"].take();
        assert_eq!(estimate["unknown"], json!([]), "{judge}");
        let stages = estimate["stages"].as_array().unwrap();
        let scores = |stage: &&Value| stage["stage"] == "round-*/scores";
        stages.iter().find(scores).unwrap().clone()
    };
    let [verifier, pairwise] = [
        "judge.verifier = {}",
        "judge.pairwise.model_name_or_path = \"quickstart\"",
    ]
    .map(scores);
    // Two responses: one match, in both orders.
    let tokens = |stage: &Value| stage["tokens"].as_u64().unwrap();
    assert_eq!(tokens(&pairwise), 2 * tokens(&verifier));
}
