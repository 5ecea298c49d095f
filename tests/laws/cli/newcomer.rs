//! What a new user gets wrong at first: files written over, misspelt columns, plain text, too few rows.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, duel, folder};
use std::fs;

#[test]
fn judge_and_pairs_keep_what_is_there() {
    let scored = r#"{"prompt": "a", "responses": ["b", "c d"], "rewards": [1, 2]}"#;
    let folder = folder(&[("pairs.jsonl", PAIRS), ("scored.jsonl", scored)]);
    let judge = ["judge", "--rule", "length:3", "--data", "scored.jsonl"];
    for command in [&judge[..], &["pairs", "--data", "scored.jsonl"]] {
        let said = |more: &[&str]| duel(&folder, &[command, more].concat());
        let own = said(&["--out", "scored.jsonl", "--force"]);
        assert_eq!(own.code, 2, "{}", own.err);
        assert!(
            own.err.contains("is the file that --data reads"),
            "{}",
            own.err
        );
        let other = said(&["--out", "pairs.jsonl"]);
        assert!(other.err.contains("is there already"), "{}", other.err);
        assert!(other.err.contains("--force"), "{}", other.err);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!([read("scored.jsonl"), read("pairs.jsonl")], [scored, PAIRS]);
        let fresh = said(&["--out", "fresh.jsonl"]);
        assert_eq!(fresh.code, 0, "{}", fresh.err);
        assert_eq!(said(&["--out", "fresh.jsonl", "--force"]).code, 0);
        fs::remove_file(folder.path().join("fresh.jsonl")).unwrap();
    }
}

#[test]
fn a_pair_with_a_misspelt_column_is_no_sound_prompt() {
    let rows = r#"{"prompt": "a", "choosen": "b", "rejected": "c"}"#;
    let folder = folder(&[("rows.jsonl", rows)]);
    let said = duel(&folder, &["data", "check", "rows.jsonl"]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(
        said.out.contains("did you mean `chosen` by `choosen`?"),
        "{}",
        said.out
    );
}

#[test]
fn data_check_and_show_name_text_without_a_template_and_rows_beyond_the_model() {
    let long = "a story ".repeat(1000);
    let rows = format!("{{\"prompt\": \"{long}\", \"chosen\": \"b\", \"rejected\": \"c\"}}\n");
    let folder = folder(&[("rows.jsonl", &rows)]);
    let said = duel(
        &folder,
        &["data", "check", "rows.jsonl", "--model", "quickstart"],
    );
    let fact = "longer than the 512 tokens that the model allows: 1 of 1 rows";
    assert!(said.out.contains(fact), "{}", said.out);
    assert!(said.err.contains("--text-as-chat"), "{}", said.err);
    let show = ["data", "show", "rows.jsonl", "--model", "quickstart"];
    assert!(duel(&folder, &show).err.contains("--text-as-chat"));
    let chat = duel(&folder, &[&show[..], &["--text-as-chat"]].concat());
    assert!(!chat.err.contains("--text-as-chat"), "{}", chat.err);
}

#[test]
fn every_wrong_type_is_named_and_json_has_an_answer() {
    let recipe = "seed = \"x\"\n[model]\nmodel_name_or_path = 3\n[dpo]\nmax_length = \"long\"\n[dpo.data]\nfiles = \"a.jsonl\"\nskip_bad = 1\n";
    let folder = folder(&[("mine.toml", recipe)]);
    let said = duel(&folder, &["recipe", "check", "mine.toml", "--json"]);
    for key in ["`seed`", "`dpo.max_length`", "`dpo.data.skip_bad`"] {
        assert!(said.err.contains(key), "{key}: {}", said.err);
    }
    let [answer] = &said.json()[..] else {
        panic!("one line: {}", said.out)
    };
    assert_eq!((said.code, &answer["ok"]), (2, &false.into()));
    assert!(answer["error"].as_str().unwrap().contains("mine.toml:1"));
}

#[test]
fn training_says_what_a_new_user_forgot() {
    let plain: String = (0..6)
        .map(|i| format!("{{\"prompt\": \"Count to {i}\", \"chosen\": \"One {i}.\", \"rejected\": \"No.\"}}\n"))
        .collect();
    let folder = folder(&[("mine.jsonl", &plain)]);
    let missing = duel(&folder, &["dpo", "--model", "quickstart"]);
    assert!(missing.err.contains("--data"), "{}", missing.err);
    let missing = duel(&folder, &["dpo", "--data", "mine.jsonl"]);
    assert!(missing.err.contains("--model"), "{}", missing.err);
    let said = duel(
        &folder,
        &[
            "reward",
            "--model",
            "quickstart",
            "--data",
            "mine.jsonl",
            "--backend",
            "cpu",
            "--name",
            "r",
        ],
    );
    assert_eq!(said.code, 0, "{}", said.err);
    for words in [
        "few-steps: 1 optimiser step in all",
        "--set reward.data.text_as_chat=true",
        "--set reward.data.held_out=0.1",
    ] {
        assert_eq!(said.err.matches(words).count(), 1, "{words}: {}", said.err);
    }
    assert_eq!(
        said.err.matches("reward: 6 rows\n").count(),
        1,
        "{}",
        said.err
    );
    let shown = duel(&folder, &["runs", "show", "r"]);
    assert!(shown.out.contains("nothing was held out"), "{}", shown.out);
}

#[test]
fn a_missing_file_of_a_shipped_recipe_names_its_key_and_readme() {
    let folder = folder(&[]);
    let run = ["run", "smollm2-hh/dpo"];
    let said = duel(&folder, &run);
    assert!(
        said.err.contains("--set dpo.data.files=PATH"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("recipes/smollm2-hh/README.md"),
        "{}",
        said.err
    );
    let dry = duel(&folder, &[&run[..], &["--dry-run"]].concat());
    assert!(
        dry.out.contains("no such file: dpo.data.files: "),
        "{}",
        dry.out
    );
}

/// What a run made is named at its end, whatever it is.
#[test]
fn a_run_that_trains_a_judge_alone_names_the_judge() {
    let folder = folder(&[]);
    let keys = [
        "reward.data.files=quickstart:pairs",
        "reward.data.max_rows=8",
        "reward.train.max_steps=1",
    ];
    let set = keys.iter().flat_map(|key| ["--set", key]);
    let run = ["run", "--model", "quickstart", "--name", "r", "--json"];
    let run: Vec<&str> = run.into_iter().chain(set).collect();
    let said = duel(&folder, &run);
    assert_eq!(said.code, 0, "{}", said.err);
    let model = said.json()[0]["model"].as_str().unwrap().to_owned();
    assert!(
        std::path::Path::new(&model).ends_with("reward/checkpoint"),
        "{model}"
    );
}
