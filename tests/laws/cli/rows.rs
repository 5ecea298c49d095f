//! Rows that a stage only evaluates on, or takes from a fixed file: they are accounted for like those it learns from.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, Said, duel, folder};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// A malformed row, one too long for 64 tokens, and one that fits.
fn mixed() -> String {
    let prompt = json!([{"role": "user", "content": "Say hello"}]);
    let long = "Hello there. ".repeat(60);
    format!(
        "{}\n{}\n{}\n",
        json!({"prompt": 1}),
        json!({"prompt": prompt, "chosen": long, "rejected": "No."}),
        json!({"prompt": prompt, "chosen": "Hello.", "rejected": "No."}),
    )
}

fn done(said: &Said) {
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
fn rows_of_an_evaluation_file_are_told_and_those_too_long_are_counted() {
    let folder = folder(&[("pairs.jsonl", PAIRS), ("eval.jsonl", &mixed())]);
    let arguments = |stage: &str| {
        let set = [
            "eval.files=eval.jsonl",
            "eval.skip_bad=true",
            "train.max_steps=1",
            "max_length=64",
        ];
        let set = set.map(|set| format!("{stage}.{set}"));
        let begin = [stage, "--model", "quickstart", "--data", "pairs.jsonl"].map(String::from);
        let set = set.into_iter().flat_map(|set| ["--set".to_owned(), set]);
        begin.into_iter().chain(set).collect::<Vec<String>>()
    };
    for stage in ["dpo", "reward"] {
        let arguments = arguments(stage);
        let said = duel(
            &folder,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        done(&said);
        let warned = format!("{stage}: 1 of 2 held-out rows are longer than max_length 64");
        assert!(said.err.contains(&warned), "{}", said.err);
        let log = format!("runs/{stage}/logs/{stage}-eval-rows.txt");
        let log = fs::read_to_string(folder.path().join(log)).unwrap();
        assert!(log.contains("eval.jsonl:1: "), "{log}");
    }
}

/// Every stage with an evaluation file of its own.
const KEYED: &str = r#"
name = "keyed"
[model]
model_name_or_path = "quickstart"
[sft]
max_length = 64
data.files = "sft.jsonl"
eval.files = "sft-eval.jsonl"
train.max_steps = 1
[reward]
max_length = 64
data.files = "pairs.jsonl"
eval.files = "reward-eval.jsonl"
train.max_steps = 1
[dpo]
max_length = 64
data.files = "pairs.jsonl"
eval.files = "dpo-eval.jsonl"
train.max_steps = 1
"#;

/// The keys of finished stages.
fn keys(folder: &TempDir, run: &str) -> [Value; 3] {
    ["sft", "reward", "dpo"].map(|stage| {
        let path = folder.path().join(format!("runs/{run}/{stage}.done.json"));
        serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap()["key"].take()
    })
}

#[test]
fn an_edited_evaluation_file_redoes_its_stage_and_no_other() {
    let talk = |word: &str| {
        let turn = |role: &str| json!({"role": role, "content": word});
        json!({"messages": [turn("user"), turn("assistant")]}).to_string()
    };
    let folder = folder(&[
        ("recipe.toml", KEYED),
        ("sft.jsonl", &talk("Hello")),
        ("sft-eval.jsonl", &talk("Goodbye")),
        ("pairs.jsonl", PAIRS),
        ("reward-eval.jsonl", PAIRS),
        ("dpo-eval.jsonl", PAIRS),
    ]);
    let run = |redo: &[&str]| {
        let words = [&["run", "recipe.toml", "--quiet"], redo].concat();
        done(&duel(&folder, &words));
    };
    run(&[]);
    let reference = folder.path().join("runs/keyed/dpo/reference-eval.jsonl");
    let first = fs::read(&reference).unwrap();
    let mut before = keys(&folder, "keyed");
    let edited = PAIRS.replace("Hello, my friend.", "Good day to you.");
    let edits = [
        ("sft-eval.jsonl", talk("Good night")),
        ("reward-eval.jsonl", edited.clone()),
        ("dpo-eval.jsonl", edited),
    ];
    for (at, (file, text)) in edits.into_iter().enumerate() {
        fs::write(folder.path().join(file), text).unwrap();
        run(&["--redo"]);
        let after = keys(&folder, "keyed");
        let changed: Vec<usize> = (0..3).filter(|&i| before[i] != after[i]).collect();
        assert_eq!(changed, [at], "after {file}");
        before = after;
    }
    assert!(fs::read(&reference).unwrap() != first);
}

/// Preferences and an evaluation; the judge stands in the text that follows.
const JUDGED: &str = r#"
[model]
model_name_or_path = "quickstart"
[reward]
max_length = 64
data.files = "pairs.jsonl"
train.max_steps = 1
[dpo]
max_length = 64
data.files = "pairs.jsonl"
train.max_steps = 1
[eval]
max_length = 64
prompts.files = "quickstart:eval"
prompts.max_rows = 2
generate.max_new_tokens = 4
"#;

const RULE: &str = "rule.formula = \"sentence\"\n";

#[test]
fn offline_dpo_is_judged_by_the_reward_models_of_its_recipe() {
    let folder = folder(&[
        ("pairs.jsonl", PAIRS),
        ("alone.toml", &format!("name = \"alone\"{JUDGED}")),
        ("ruled.toml", &format!("name = \"ruled\"{JUDGED}{RULE}")),
        ("both.toml", &format!("name = \"both\"{JUDGED}{RULE}")),
    ]);
    let judges = |recipe: &str, run: &str| {
        let said = duel(&folder, &["dpo", recipe, "--json"]);
        done(&said);
        assert!(
            said.json().last().unwrap()["win_rate"].is_f64(),
            "{}",
            said.out
        );
        let run = folder.path().join("runs").join(run);
        let text = fs::read_to_string(run.join("eval/result.json")).unwrap();
        let result: Value = serde_json::from_str(&text).unwrap();
        let opinions = result["opinions"].as_array().unwrap().iter();
        let judges: Vec<String> = opinions
            .map(|o| o["judge"].as_str().unwrap().to_owned())
            .collect();
        (judges, run.join("reward.done.json").exists())
    };
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    // Nobody else judges: the model is trained for it.
    assert_eq!(judges("alone.toml", "alone"), (of(&["reward"]), true));
    // A rule is enough; hours of training are not spent unasked.
    assert_eq!(judges("ruled.toml", "ruled"), (of(&["rule"]), false));
    // What lies there is used.
    done(&duel(&folder, &["reward", "both.toml"]));
    assert_eq!(judges("both.toml", "both"), (of(&["rule", "reward"]), true));

    // And the model it trained measures text as the chat it was trained on.
    let text = "{\"prompt\": \"Hi\", \"chosen\": \"Hello.\", \"rejected\": \"No.\"}\n";
    fs::write(folder.path().join("text.jsonl"), text).unwrap();
    let model = "runs/alone/reward/checkpoint";
    let plain = ["eval", "--model", model, "--data", "text.jsonl"];
    let said = duel(&folder, &plain);
    done(&said);
    assert!(said.err.contains("--text-as-chat"), "{}", said.err);
    let said = duel(&folder, &[&plain[..], &["--text-as-chat"]].concat());
    done(&said);
    assert!(!said.err.contains("--text-as-chat"), "{}", said.err);
}

const OFFLINE: &str = r#"
name = "offline"
[model]
model_name_or_path = "quickstart"
[online]
rounds = 1
prompts_per_round = 4
max_length = 64
prompts.files = "quickstart:prompts"
prompts.max_rows = 4
offline.files = "fixed.jsonl"
offline.skip_bad = true
generate.num_generations = 4
generate.max_new_tokens = 16
judge.rule.formula = "0.6*feelings + 0.2*sentence + 0.2*no_repeats"
pairs.min_margin = 0.0
train.max_steps = 1
"#;

#[test]
fn pairs_of_a_fixed_file_are_told_and_counted_in_every_round() {
    let folder = folder(&[("recipe.toml", OFFLINE), ("fixed.jsonl", &mixed())]);
    let said = duel(&folder, &["run", "recipe.toml"]);
    done(&said);
    let log = folder
        .path()
        .join("runs/offline/logs/online-offline-rows.txt");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("fixed.jsonl:1: "), "{log}");
    assert!(
        said.err
            .contains("round-1/checkpoint: 1 rows left out for their length"),
        "{}",
        said.err
    );
}

#[test]
fn a_cut_response_stays_cut_from_judge_to_pairs() {
    let row = json!({"prompt": "Hi", "responses": ["I am so happy today.", "I am"], "finish": ["length", "stop"]});
    let folder = folder(&[("rows.json", &json!([row]).to_string())]);
    let judge = [
        "judge",
        "--rule",
        "length:5",
        "--data",
        "rows.json",
        "--out",
        "judged.jsonl",
    ];
    done(&duel(&folder, &judge));
    let pairs = ["pairs", "--data", "judged.jsonl", "--out", "pairs.jsonl"];
    done(&duel(&folder, &pairs));
    let pair = fs::read_to_string(folder.path().join("pairs.jsonl")).unwrap();
    let pair: Value = serde_json::from_str(pair.trim()).unwrap();
    assert_eq!(
        (&pair["chosen_finish"], &pair["rejected_finish"]),
        (&json!("length"), &json!("stop"))
    );
    let said = duel(
        &folder,
        &["pairs", "--data", "rows.json", "--out", "none.jsonl"],
    );
    assert!(
        said.err
            .contains("rows.json, row 1: the row has no `rewards`"),
        "{}",
        said.err
    );
    assert_eq!(
        (said.code, folder.path().join("none.jsonl").exists()),
        (1, false)
    );
}

#[test]
fn prompts_of_token_ids_go_through_generate_judge_and_pairs() {
    let folder = folder(&[("ids.jsonl", "{\"prompt_ids\": [5, 6, 7]}\n")]);
    let generate = [
        "generate",
        "--model",
        "quickstart",
        "--prompts",
        "ids.jsonl",
        "--out",
        "drawn.jsonl",
    ];
    done(&duel(
        &folder,
        &[&generate[..], &["-k", "4", "--max-new-tokens", "8"]].concat(),
    ));
    let judge = [
        "judge",
        "--rule",
        "length:5",
        "--data",
        "drawn.jsonl",
        "--out",
        "judged.jsonl",
    ];
    done(&duel(&folder, &judge));
    done(&duel(
        &folder,
        &["pairs", "--data", "judged.jsonl", "--out", "pairs.jsonl"],
    ));
    let score = ["score", "--model", "quickstart", "--data", "pairs.jsonl"];
    let said = duel(&folder, &score);
    done(&said);
    assert_eq!(said.json().last().unwrap()["pairs"], 1);
}
