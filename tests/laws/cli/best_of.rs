//! Best-of-N: one rule for prompts with every command, and nothing that is left out in silence.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, duel, folder};
use serde_json::{Value, json};
use std::fs;

const ANSWERS: &str = r#"{"prompt": "How many?", "responses": ["The answer is 3.", "The answer is 2."], "answer": "3"}
{"prompt": "How many more?", "responses": ["The answer is 4.", "I do not know.", "It is 5."], "answer": "4"}
"#;

#[test]
fn a_plain_prompt_has_one_score_by_every_command() {
    let folder = folder(&[("pairs.jsonl", PAIRS), ("answers.jsonl", ANSWERS)]);
    let trained = [
        "reward",
        "--model",
        "quickstart",
        "--data",
        "pairs.jsonl",
        "--name",
        "r",
        "--set",
        "reward.train.max_steps=1",
    ];
    assert_eq!(duel(&folder, &trained).code, 0);
    let model = [
        "--model",
        "runs/r/reward/checkpoint",
        "--data",
        "answers.jsonl",
    ];
    let scores = |flags: &[&str]| -> [Vec<f64>; 2] {
        let judged = duel(&folder, &[&["judge"], &model[..], flags].concat());
        assert_eq!(judged.code, 0, "{}", judged.err);
        let more = ["--out", "s.jsonl", "--force"];
        let picked = duel(&folder, &[&["best-of"], &model[..], &more, flags].concat());
        assert_eq!(picked.code, 0, "{}", picked.err);
        assert_eq!(
            picked.err.contains("`--text-as-chat`"),
            flags.is_empty(),
            "{}",
            picked.err
        );
        let file = fs::read_to_string(folder.path().join("s.jsonl")).unwrap();
        let rows = file.lines().map(|line| serde_json::from_str(line).unwrap());
        let of = |row: &Value, key: &str| -> Vec<f64> {
            serde_json::from_value(row[key].clone()).unwrap()
        };
        let rows: Vec<Value> = rows.collect();
        [
            judged
                .json()
                .iter()
                .flat_map(|row| of(row, "rewards"))
                .collect(),
            rows.iter().flat_map(|row| of(row, "scores")).collect(),
        ]
    };
    let close = |[a, b]: &[Vec<f64>; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let (plain, chat) = (scores(&[]), scores(&["--text-as-chat"]));
    assert!(close(&plain) && close(&chat), "{plain:?} {chat:?}");
    assert!(!close(&[plain[0].clone(), chat[0].clone()]));
}

#[test]
fn steps_goes_on_from_the_prompt_as_it_was_asked() {
    let folder = folder(&[("answers.jsonl", ANSWERS)]);
    let written = |flags: &[&str]| -> Value {
        let steps = [
            "steps",
            "--model",
            "quickstart",
            "--data",
            "answers.jsonl",
            "--out",
            "o.jsonl",
            "-k",
            "1",
            "--limit",
            "1",
        ];
        let said = duel(&folder, &[&steps[..], flags].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        let rows = fs::read_to_string(folder.path().join("o.jsonl")).unwrap();
        let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        for file in ["o.jsonl", "o.jsonl.key"] {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
        row["prompt"].clone()
    };
    assert_eq!(written(&[]), "How many?");
    assert_eq!(written(&["--text-as-chat"])[0]["role"], "user");
}

#[test]
fn what_stands_in_no_number_is_told() {
    let folder = folder(&[("answers.jsonl", ANSWERS)]);
    let best = |more: &[&str]| {
        duel(
            &folder,
            &[&["best-of", "--data", "answers.jsonl"], more].concat(),
        )
    };
    let said = best(&["-n", "2,8,3,2", "--json"]);
    let curve = said.json()[0]["curve"].clone();
    let ns: Vec<&Value> = curve.as_array().unwrap().iter().map(|p| &p["n"]).collect();
    assert_eq!(ns, [&json!(2), &json!(3)], "each once, and 8 has nobody");
    for words in [
        "no row has 8 answers, the most is 3",
        "rows with fewer than N answers do not count for it: 1 for N = 3 of 2",
    ] {
        assert!(said.err.contains(words), "{}", said.err);
    }
    let said = best(&["--outcome", "quickstart", "--max-length", "4", "--json"]);
    assert_eq!(said.json()[0]["curve"][0]["judges"], json!([null]));
    assert!(said.err.contains("outcome picks none"), "{}", said.err);
    let said = best(&["--outcome", "quickstart", "--max-length", "4"]);
    assert_eq!(said.code, 0, "{}", said.err);
}
