//! Process and outcome reward models: steps labelled by drawing, a model trained on them, and the best of N picked by it.
#![allow(clippy::unwrap_used)]

use super::{duel, folder};
use serde_json::{Value, json};
use std::fs;

/// Problems with solutions of two and three steps, right and wrong.
const ANSWERS: &str = r#"{"prompt": "Tom has 2 cats and gets 1 more. How many?", "responses": ["He has 2.\n\nOne more makes 3.\n\nThe answer is 3.", "He has 2.\n\nThe answer is 2."], "answer": "3"}
{"prompt": "Sue has 5 hats and loses 1. How many?", "responses": ["She loses 1.\n\nThe answer is 4.", "She has 5.\n\nOne more is 6.\n\nThe answer is 6."], "answer": 4}
"#;

/// The same in steps with labels.
const STEPS: &str = r#"{"prompt": "Tom has 2 cats and gets 1 more. How many?", "completions": ["He has 2.", "One more makes 3.", "The answer is 3."], "labels": [true, true, true]}
{"prompt": "Tom has 2 cats and gets 1 more. How many?", "completions": ["He has 2.", "The answer is 2."], "labels": ["+", "-"]}
{"conversations": [{"role": "user", "content": "Sue has 5 hats and loses 1. How many? Step 1: She loses 1."}, {"role": "assistant", "content": "+"}, {"role": "user", "content": "Step 2: The answer is 4."}, {"role": "assistant", "content": "+"}]}
{"prompt": "Sue has 5 hats and loses 1. How many?", "completions": ["She has 5.", "One more is 6.", "The answer is 6."], "labels": [1, 0.25, null]}
"#;

const SMALL: &str = r#"
name = "v"
[model]
model_name_or_path = "quickstart"
[verifier]
data = { files = "steps.jsonl" }
max_length = 512
[verifier.eval]
files = "steps.jsonl"
[verifier.train]
learning_rate = 1e-3
gradient_accumulation_steps = 1
max_steps = 3
"#;

#[test]
fn each_kind_is_trained_measured_and_picks_of_n() {
    let files = [
        ("answers.jsonl", ANSWERS),
        ("steps.jsonl", STEPS),
        ("r.toml", SMALL),
    ];
    for (kind, flag, labels) in [
        ("process", "--process", 8),
        ("outcome", "--outcome", 3),
        ("scalar", "--model", 3),
    ] {
        let folder = folder(&files);
        let set = format!("verifier.kind={kind:?}");
        let said = duel(&folder, &["verifier", "r.toml", "--set", &set]);
        assert_eq!(said.code, 0, "{}", said.err);
        let eval = fs::read(folder.path().join("runs/v/verifier-eval.json")).unwrap();
        let eval: Value = serde_json::from_slice(&eval).unwrap();
        // The label 0.25 decides nothing, and null is none; of an outcome the last step's label counts.
        assert_eq!(eval["labels"], labels, "{kind}: {eval}");
        let model = "runs/v/verifier/checkpoint";
        let arguments = [
            "best-of",
            flag,
            model,
            "--data",
            "answers.jsonl",
            "--out",
            "s.jsonl",
            "--json",
        ];
        let found = duel(&folder, &arguments);
        assert_eq!(found.code, 0, "{}", found.err);
        let found = &found.json()[0];
        let two = &found["curve"][1];
        assert_eq!((&two["n"], &two["problems"]), (&json!(2), &json!(2)));
        assert_eq!(
            (&two["one"]["mean"], &two["best"]["mean"]),
            (&json!(0.5), &json!(1.0))
        );
        // What was picked is what the scores say.
        let scores = fs::read_to_string(folder.path().join("s.jsonl")).unwrap();
        let rows: Vec<Value> = scores
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let right = |row: &&Value| {
            let of = |key: &str, i: usize| row[key][i].as_f64().unwrap();
            let pick = usize::from(of("scores", 1) > of("scores", 0));
            of("gold", pick) == 1.0
        };
        let right = rows.iter().filter(right).count();
        assert_eq!(
            two["judges"][0]["mean"],
            json!(right as f64 / 2.0),
            "{found}"
        );
        let steps: Vec<usize> = rows
            .iter()
            .flat_map(|row| row["steps"].as_array().cloned().unwrap_or_default())
            .map(|steps| steps.as_array().unwrap().len())
            .collect();
        if kind == "scalar" {
            let wrong = duel(
                &folder,
                &["judge", "--process", model, "--data", "answers.jsonl"],
            );
            assert!(
                wrong.err.contains("has a score head") && wrong.err.contains("`--model`"),
                "{}",
                wrong.err
            );
        }
        let wanted: &[usize] = match kind {
            "process" => &[3, 2, 2, 3],
            "outcome" => &[1; 4],
            _ => &[],
        };
        assert_eq!(steps, wanted);
    }
}

/// What the right answer says of solutions is a label like any other.
#[test]
fn solutions_with_the_right_answer_need_no_labels() {
    let folder = folder(&[("answers.jsonl", ANSWERS), ("r.toml", SMALL)]);
    let said = duel(
        &folder,
        &[
            "verifier",
            "r.toml",
            "--set",
            "verifier.kind=\"outcome\"",
            "--set",
            "verifier.data.files=answers.jsonl",
            "--set",
            "verifier.eval.files=answers.jsonl",
        ],
    );
    assert_eq!(said.code, 0, "{}", said.err);
    let eval = fs::read(folder.path().join("runs/v/verifier-eval.json")).unwrap();
    let eval: Value = serde_json::from_slice(&eval).unwrap();
    assert_eq!(
        (&eval["labels"], &eval["positive"]),
        (&json!(4), &json!(2)),
        "{eval}"
    );
}

#[test]
fn steps_are_labelled_by_drawing_and_a_second_call_draws_nothing() {
    let folder = folder(&[("answers.jsonl", ANSWERS)]);
    let arguments = [
        "steps",
        "--model",
        "quickstart",
        "--data",
        "answers.jsonl",
        "--out",
        "steps.jsonl",
        "-k",
        "2",
        "--max-new-tokens",
        "8",
        "--soft",
    ];
    let said = duel(&folder, &arguments);
    assert_eq!(said.code, 0, "{}", said.err);
    let path = folder.path().join("steps.jsonl");
    let before = fs::read_to_string(&path).unwrap();
    let rows: Vec<Value> = before
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // The last label of each says whether the solution itself is right.
    let last: Vec<&Value> = rows
        .iter()
        .map(|row| row["labels"].as_array().unwrap().last().unwrap())
        .collect();
    assert_eq!(last, [1.0, 0.0, 1.0, 0.0]);
    for row in &rows {
        assert_eq!(
            row["labels"].as_array().unwrap().len(),
            row["completions"].as_array().unwrap().len()
        );
        let labels = row["labels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|label| label.as_f64().unwrap());
        assert!(
            labels
                .into_iter()
                .all(|label| [0.0, 0.5, 1.0].contains(&label)),
            "{row}"
        );
    }
    assert_eq!(duel(&folder, &arguments).code, 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    // A torn end is drawn again, to the same labels.
    fs::write(&path, &before[..before.len() - 30]).unwrap();
    assert_eq!(duel(&folder, &arguments).code, 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    let trained = duel(
        &folder,
        &[
            "verifier",
            "--model",
            "quickstart",
            "--data",
            "steps.jsonl",
            "--set",
            "verifier.train.max_steps=1",
            "--set",
            "verifier.train.gradient_accumulation_steps=1",
        ],
    );
    assert_eq!(trained.code, 0, "{}", trained.err);
}

#[test]
fn rows_that_do_not_say_what_is_right_are_refused_with_what_to_do() {
    let bare = "{\"prompt\": \"1 + 1?\", \"responses\": [\"2\", \"3\"]}\n";
    let folder = folder(&[
        ("bare.jsonl", bare),
        ("answers.jsonl", ANSWERS),
        ("steps.jsonl", STEPS),
        ("r.toml", SMALL),
    ]);
    let refused = |arguments: &[&str], words: &str| {
        let said = duel(&folder, arguments);
        assert_ne!(said.code, 0, "{}", said.out);
        assert!(said.err.contains(words), "{}", said.err);
    };
    refused(
        &["best-of", "--data", "bare.jsonl"],
        "nobody says which of the answers are right",
    );
    refused(
        &["best-of", "--data", "steps.jsonl"],
        "one solution in steps",
    );
    refused(
        &[
            "steps",
            "--model",
            "quickstart",
            "--data",
            "bare.jsonl",
            "--out",
            "o.jsonl",
        ],
        "no `answer`",
    );
    // The answer of a whole solution says nothing of its steps.
    let whole = [
        "verifier",
        "r.toml",
        "--set",
        "verifier.data.files=answers.jsonl",
        "--set",
        "verifier.eval=false",
    ];
    refused(&whole, "duel steps");
    refused(
        &["judge", "--rule", "answer", "--data", "bare.jsonl"],
        "has no `answer`",
    );
    refused(
        &["judge", "--rule", "matches:(", "--data", "bare.jsonl"],
        "no regular expression",
    );
    refused(
        &[
            "best-of",
            "--model",
            "quickstart",
            "--data",
            "answers.jsonl",
        ],
        "duel reward",
    );
}

/// A round of the online loop, ranked by the verifier that the run trained, and the same by hand.
#[test]
fn a_round_is_ranked_by_the_runs_own_verifier() {
    let more = "[online]\nrounds = 1\nprompts_per_round = 4\nmax_length = 64\nprompts.files = \"quickstart:prompts\"\n\
                generate.num_generations = 2\ngenerate.max_new_tokens = 16\njudge.verifier.aggregate = \"min\"\n\
                train.learning_rate = 1e-4\ntrain.gradient_accumulation_steps = 1\n";
    let recipe = format!("{SMALL}{more}");
    let folder = folder(&[("steps.jsonl", STEPS), ("r.toml", &recipe)]);
    let said = duel(&folder, &["online", "r.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let scores = folder.path().join("runs/v/round-1/scores.jsonl");
    let model = "runs/v/verifier/checkpoint";
    let rows = fs::read_to_string(&scores).unwrap();
    let judged = duel(
        &folder,
        &[
            "judge",
            "--process",
            model,
            "--aggregate",
            "min",
            "--data",
            "runs/v/round-1/responses.jsonl",
        ],
    );
    assert_eq!(judged.code, 0, "{}", judged.err);
    assert_eq!((rows.lines().count(), judged.json().len()), (4, 4));
    let all: Vec<Value> = judged
        .json()
        .iter()
        .map(|row| row["rewards"].clone())
        .collect();
    assert!(all.iter().any(|rewards| rewards != &all[0]), "{all:?}");
    for (line, by_hand) in rows.lines().zip(judged.json()) {
        let row: Value = serde_json::from_str(line).unwrap();
        for i in 0..2 {
            let [a, b] = [&row, &by_hand].map(|row| row["rewards"][i].as_f64().unwrap());
            assert!((0.0..=1.0).contains(&a) && (a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}
