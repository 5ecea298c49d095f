//! `duel data`: what files hold, and the tokens that are learned.
#![allow(clippy::unwrap_used)]

use super::super::tiny_files;
use super::{duel, folder};
use insta::assert_snapshot;
use serde_json::{Value, json};

const PAIRS: &str = r#"{"id": "cat", "prompt": [{"role": "user", "content": "Tell me a story about a cat."}], "chosen": [{"role": "assistant", "content": "Once a cat sat on a mat."}], "rejected": [{"role": "assistant", "content": "a cat"}]}
{"prompt": "sky?", "chosen": "blue", "rejected": "blue"}
{"prompt": "sea?", "chosen": "green", "rejected": "a log"}
"#;

#[test]
fn malformed_rows_are_listed_with_file_and_line() {
    let bad = format!("{PAIRS}{{\"prompt\": \"x\", \"chosen\": \"y\"}}\n\n{{\"prompt\": \n");
    let folder = folder(&[("pairs.jsonl", &bad)]);
    let said = duel(&folder, &["data", "check", "pairs.jsonl"]);
    assert_eq!(said.code, 1);
    assert_snapshot!(said.out, @"
    pairs.jsonl: preference: 2 rows, 2 malformed, 2 dropped (chosen and rejected are equal: 1, empty line: 1)
      pairs.jsonl:2: chosen and rejected are equal
      pairs.jsonl:4: `rejected` is missing
      pairs.jsonl:5: empty line
      pairs.jsonl:6: malformed JSON at column 10: EOF while parsing a value
    ");
    assert_snapshot!(said.err, @"
    error: 2 rows are malformed

    hint: mend the rows, or leave such rows out with `--skip-bad`: they are counted and listed
    ");
    let listed = duel(
        &folder,
        &["data", "check", "pairs.jsonl", "--json", "--skip-bad"],
    );
    assert_eq!((listed.code, listed.err.as_str()), (0, ""));
    let [file] = &listed.json()[..] else {
        panic!("one line a file: {}", listed.out)
    };
    assert_eq!(
        (&file["kind"], &file["rows"]),
        (&json!("preference"), &json!(2))
    );
    let lines: Vec<&Value> = file["malformed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["line"])
        .collect();
    assert_eq!(lines, [4, 6]);
    assert_eq!(
        file["dropped"],
        json!({"chosen and rejected are equal": 1, "empty line": 1})
    );
}

#[test]
fn a_row_that_cannot_be_shown_names_its_line() {
    let folder = folder(&[(
        "pairs.jsonl",
        &format!("{PAIRS}{{\"prompt\": \"x\", \"chosen\": 7}}\n"),
    )]);
    tiny_files::model(&folder.path().join("tiny"));
    let said = duel(
        &folder,
        &[
            "data",
            "show",
            "pairs.jsonl",
            "--model",
            "tiny",
            "--rows",
            "9",
        ],
    );
    assert_eq!(said.code, 1);
    assert!(
        said.err.starts_with("error: pairs.jsonl:4: "),
        "{}",
        said.err
    );
    assert!(said.err.contains("--skip-bad"), "{}", said.err);
}

#[test]
fn the_kind_of_rows_is_seen() {
    let sft = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    let folder = folder(&[
        ("a.jsonl", "{}\n"),
        ("b.jsonl", sft),
        ("c.jsonl", "{\"prompt\": \"sky?\"}\n"),
    ]);
    let said = duel(&folder, &["data", "check", "b.jsonl", "c.jsonl", "--json"]);
    let kinds: Vec<Value> = said
        .json()
        .into_iter()
        .map(|file| file["kind"].clone())
        .collect();
    assert_eq!(kinds, ["sft", "prompt"]);
    let said = duel(&folder, &["data", "check", "a.jsonl"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("a.jsonl:1"), "{}", said.out);
    assert_snapshot!(said.err, @"
    error: a.jsonl: no row can be used

    hint: each row's reason stands above; `--json` lists all of them
    ");
    let said = duel(&folder, &["data", "check", "a.jsonl", "--json"]);
    assert_eq!((said.code, &said.json()[0]["rows"]), (1, &json!(0)));
}

#[test]
fn shown_rows_mark_what_is_learned() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    tiny_files::model(&folder.path().join("tiny"));
    let said = duel(
        &folder,
        &[
            "data",
            "show",
            "pairs.jsonl",
            "--model",
            "tiny",
            "--rows",
            "1",
        ],
    );
    assert_eq!(said.code, 0, "{}", said.err);
    assert_snapshot!(said.out, @"
    pairs.jsonl:1 (preference, id cat)
    chosen: 27 tokens, 12 learned
    ┌────┬─────┬───────────────┬─────────┐
    │ at ┆ id  ┆ token         ┆ learned │
    ╞════╪═════╪═══════════════╪═════════╡
    │ 0  ┆ 2   ┆ <|user|>      ┆         │
    │ 1  ┆ 274 ┆ Te            ┆         │
    │ 2  ┆ 283 ┆ ll            ┆         │
    │ 3  ┆ 272 ┆ ·m            ┆         │
    │ 4  ┆ 72  ┆ e             ┆         │
    │ 5  ┆ 260 ┆ ·a            ┆         │
    │ 6  ┆ 297 ┆ ·stor         ┆         │
    │ 7  ┆ 92  ┆ y             ┆         │
    │ 8  ┆ 293 ┆ ·abou         ┆         │
    │ 9  ┆ 87  ┆ t             ┆         │
    │ 10 ┆ 260 ┆ ·a            ┆         │
    │ 11 ┆ 298 ┆ ·cat          ┆         │
    │ 12 ┆ 17  ┆ .             ┆         │
    │ 13 ┆ 0   ┆ <|end|>       ┆         │
    │ 14 ┆ 3   ┆ <|assistant|> ┆         │
    │ 15 ┆ 273 ┆ On            ┆ ●       │
    │ 16 ┆ 279 ┆ ce            ┆ ●       │
    │ 17 ┆ 260 ┆ ·a            ┆ ●       │
    │ 18 ┆ 298 ┆ ·cat          ┆ ●       │
    │ 19 ┆ 294 ┆ ·sat          ┆ ●       │
    │ 20 ┆ 268 ┆ ·o            ┆ ●       │
    │ 21 ┆ 81  ┆ n             ┆ ●       │
    │ 22 ┆ 260 ┆ ·a            ┆ ●       │
    │ 23 ┆ 272 ┆ ·m            ┆ ●       │
    │ 24 ┆ 262 ┆ at            ┆ ●       │
    │ 25 ┆ 17  ┆ .             ┆ ●       │
    │ 26 ┆ 0   ┆ <|end|>       ┆ ●       │
    └────┴─────┴───────────────┴─────────┘
    rejected: 18 tokens, 3 learned; the first 15 as above
    ┌────┬─────┬─────────┬─────────┐
    │ at ┆ id  ┆ token   ┆ learned │
    ╞════╪═════╪═════════╪═════════╡
    │ 15 ┆ 68  ┆ a       ┆ ●       │
    │ 16 ┆ 298 ┆ ·cat    ┆ ●       │
    │ 17 ┆ 0   ┆ <|end|> ┆ ●       │
    └────┴─────┴─────────┴─────────┘
    ");
}

/// Pieces of a sequence of `data show --json`: all, and the scored ones.
fn pieces(sequence: &Value) -> (String, String) {
    let list = |key: &str| sequence[key].as_array().unwrap().clone();
    let all = list("pieces")
        .into_iter()
        .map(|piece| piece.as_str().unwrap().to_owned());
    let all: Vec<String> = all.collect();
    let scored = list("scored");
    let learned = all.iter().zip(scored).filter(|(_, scored)| scored == true);
    (
        all.concat(),
        learned.map(|(piece, _)| piece.as_str()).collect(),
    )
}

#[test]
fn a_row_of_json_holds_the_whole_sequences() {
    let chat = r#"{"messages": [{"role": "user", "content": "sky?"}, {"role": "assistant", "content": "blue"}, {"role": "user", "content": "sea?"}, {"role": "assistant", "content": "green"}]}"#;
    let folder = folder(&[("pairs.jsonl", PAIRS), ("chat.jsonl", chat)]);
    tiny_files::model(&folder.path().join("tiny"));
    let shown = |file: &str, rest: &[&str]| {
        let arguments = [&["data", "show", file, "--model", "tiny", "--json"], rest].concat();
        duel(&folder, &arguments).json()
    };
    let pairs = shown("pairs.jsonl", &[]);
    assert_eq!(pairs.len(), 2, "the equal pair is dropped");
    assert_eq!(
        (&pairs[1]["id"], &pairs[1]["origin"]),
        (&json!("3"), &json!("pairs.jsonl:3"))
    );
    assert_eq!(
        pieces(&pairs[0]["sequences"][1]),
        (
            "<|user|>Tell me a story about a cat.<|end|><|assistant|>a cat<|end|>".to_owned(),
            "a cat<|end|>".to_owned()
        )
    );
    let chat = shown("chat.jsonl", &[]);
    assert_eq!(chat[0]["kind"], "sft");
    assert_eq!(
        pieces(&chat[0]["sequences"][0]),
        (
            "<|user|>sky?<|end|><|assistant|>blue<|end|><|user|>sea?<|end|><|assistant|>green<|end|>".to_owned(),
            "blue<|end|>green<|end|>".to_owned()
        )
    );
    let prompt = shown("chat.jsonl", &["--as", "prompt"]);
    let (text, learned) = pieces(&prompt[0]["sequences"][0]);
    assert!(text.ends_with("sea?<|end|><|assistant|>"), "{text}");
    assert_eq!(learned, "");
}

#[test]
fn a_limit_is_held_against_the_rows() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    tiny_files::model(&folder.path().join("tiny"));
    let check = |limit: &str| {
        let arguments = [
            "data",
            "check",
            "pairs.jsonl",
            "--model",
            "tiny",
            "--json",
            "--max-length",
            limit,
        ];
        duel(&folder, &arguments).json().remove(0)["tokens"].clone()
    };
    let wide = check("100");
    let parts: Vec<&Value> = wide["lengths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["of"])
        .collect();
    assert_eq!(
        parts,
        ["prompt", "chosen", "rejected", "prompt and longer response"]
    );
    assert_eq!(
        (&wide["limit"]["over"], &wide["equal"]),
        (&json!(0), &json!(0))
    );
    let longest = wide["lengths"][3]["max"].as_f64().unwrap();
    let tight = check(&format!("{}", longest - 1.0));
    assert_eq!(tight["limit"]["over_share"], 0.5);
    assert_eq!(tight["limit"]["prompt_truncated"], 1);
    let none = check("1");
    assert_eq!(
        none["limit"]["dropped"],
        json!({"response longer than max_length": 2})
    );
    let without = duel(
        &folder,
        &["data", "check", "pairs.jsonl", "--max-length", "9"],
    );
    assert_eq!(without.code, 2, "a limit needs a tokenizer");
}

#[test]
fn a_role_that_templates_do_not_know_is_named() {
    let rows = "{\"messages\": [{\"role\": \"usr\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Ho\"}]}\n";
    let known = rows.replace("usr", "user");
    let folder = folder(&[("usr.jsonl", &rows.repeat(2)), ("user.jsonl", &known)]);
    let said = duel(&folder, &["data", "check", "usr.jsonl"]);
    assert!(
        said.out.contains("2 turns have the role `usr`"),
        "{}",
        said.out
    );
    let said = duel(&folder, &["data", "check", "user.jsonl"]);
    assert!(!said.out.contains("role"), "{}", said.out);
}
