//! Lines that programs read: every row is answered, in order; every reply and every end of a run is one line.
#![allow(clippy::unwrap_used)]

use super::super::tiny_files;
use super::{PAIRS, command, duel, folder};
use burn::tensor::Device;
use duel::data::Key;
use duel::model::Model;
use duel::model::files::StoreDtype;
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

#[test]
fn every_row_of_a_scored_file_has_its_line_in_order() {
    let long = format!(
        "{}\n{}\n{}\n{}\n",
        json!({"id": "a", "prompt": "Hi", "chosen": " there", "rejected": " you"}),
        json!({"id": "b", "prompt": "Hi", "chosen": " word".repeat(200), "rejected": " you"}),
        json!({"id": "c", "prompt": "Hi", "chosen": " same", "rejected": " same"}),
        json!({"id": "d", "prompt": "Hi", "chosen": " now", "rejected": " then"}),
    );
    let folder = folder(&[("pairs.jsonl", &long)]);
    let said = duel(
        &folder,
        &[
            "score",
            "--model",
            "quickstart",
            "--data",
            "pairs.jsonl",
            "--max-length",
            "64",
            "--json",
        ],
    );
    assert_eq!(said.code, 0, "{}", said.err);
    let lines = said.json();
    let shown: Vec<(Value, Value, bool)> = lines[..4]
        .iter()
        .map(|line| {
            (
                line["id"].clone(),
                line["error"].clone(),
                line["loss"].is_f64(),
            )
        })
        .collect();
    assert_eq!(shown[0], (json!("a"), Value::Null, true));
    assert_eq!(
        shown[1],
        (
            json!("b"),
            json!("a response is not shorter than the 64 tokens of the limit"),
            false
        )
    );
    assert_eq!(
        shown[2],
        (Value::Null, json!("chosen and rejected are equal"), false)
    );
    assert_eq!(lines[2]["line"], 3);
    assert_eq!(shown[3], (json!("d"), Value::Null, true));
    assert_eq!(
        (&lines[4]["pairs"], &lines[4]["errors"]),
        (&json!(2), &json!(2))
    );
    assert!(
        said.err
            .contains("1 pairs are too long: their lines say `error`"),
        "{}",
        said.err
    );
    assert!(
        said.err
            .contains("pairs.jsonl:3: chosen and rejected are equal"),
        "{}",
        said.err
    );
}

#[test]
fn a_scored_file_without_a_usable_row_has_its_lines_and_no_means() {
    let equal = json!({"prompt": "Hi", "chosen": " same", "rejected": " same"});
    let long =
        json!({"id": "b", "prompt": "Hi", "chosen": " word".repeat(200), "rejected": " you"});
    let folder = folder(&[
        ("equal.jsonl", &format!("{equal}\n")),
        ("long.jsonl", &format!("{long}\n")),
    ]);
    for (file, fault) in [
        (
            "equal.jsonl",
            json!({"line": 1, "error": "chosen and rejected are equal"}),
        ),
        (
            "long.jsonl",
            json!({"id": "b", "line": 1, "error": "a response is not shorter than the 64 tokens of the limit"}),
        ),
    ] {
        let arguments = [
            "score",
            "--model",
            "quickstart",
            "--data",
            file,
            "--max-length",
            "64",
        ];
        let said = duel(&folder, &arguments);
        assert_eq!(said.code, 0, "{}", said.err);
        let means = json!({
            "pairs": 0, "errors": 1, "chosen_logp": null, "rejected_logp": null,
            "ref_chosen_logp": null, "ref_rejected_logp": null,
            "chosen_tokens": null, "rejected_tokens": null, "loss": null,
        });
        assert_eq!(said.json(), [fault, means]);
    }
}

#[test]
fn every_row_of_a_judged_file_has_its_line_in_order() {
    let rows = [
        json!({"id": "a", "prompt": "Hi", "responses": [" there", " you"]}),
        json!({"id": "b", "prompt": "", "responses": [" there"]}),
        json!({"id": "c", "prompt": "Hi", "responses": [" ok", " word".repeat(400)]}),
        json!({"id": "d", "prompt": "Hi"}),
        json!({"id": "e", "prompt": "Hi", "chosen": " now", "rejected": " then"}),
    ];
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let folder = folder(&[("rows.jsonl", &rows)]);
    let [base, judge] = ["base", "judge"].map(|name| folder.path().join(name));
    tiny_files::model(&base);
    let model = Model::load(&base, &Device::flex()).unwrap();
    let model = model.with_score_head(Key::new(1), &Device::flex()).unwrap();
    model
        .save(&judge, &model.decoder, None, StoreDtype::F32)
        .unwrap();
    let asked = ["judge", "--model", "judge", "--data", "rows.jsonl"];
    let said = duel(&folder, &asked);
    assert_eq!(said.code, 0, "{}", said.err);
    let lines = said.json();
    assert_eq!(lines.len(), 5, "{}", said.out);
    assert!(lines[0]["id"] == "a" && lines[0]["rewards"].as_array().unwrap().len() == 2);
    assert_eq!(lines[1], json!({"line": 2, "error": "empty prompt"}));
    let error = "a response is not shorter than the 256 tokens of the limit";
    assert_eq!(lines[2], json!({"id": "c", "line": 3, "error": error}));
    let error = "the row has no responses";
    assert_eq!(lines[3], json!({"id": "d", "line": 4, "error": error}));
    assert!(lines[4]["id"] == "e" && lines[4]["chosen"].is_f64());
    assert!(
        said.err
            .contains("3 rows have no rewards: their lines say `error`\n"),
        "{}",
        said.err
    );

    let said = duel(&folder, &[&asked[..], &["--out", "out.jsonl"]].concat());
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
    assert!(
        said.err
            .contains("3 rows have no rewards: they are not in out.jsonl\n"),
        "{}",
        said.err
    );
    let written = std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    let written: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(written.len(), 2);
    let rewards =
        |row: &Value| -> Vec<f32> { serde_json::from_value(row["rewards"].clone()).unwrap() };
    assert_eq!(rewards(&written[0]), rewards(&lines[0]));

    let unusable = json!({"prompt": "", "responses": [" there"]});
    std::fs::write(folder.path().join("rows.jsonl"), unusable.to_string()).unwrap();
    let said = duel(
        &folder,
        &["judge", "--rule", "sentence", "--data", "rows.jsonl"],
    );
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.json(), [json!({"line": 1, "error": "empty prompt"})]);
}

#[test]
fn responses_of_a_model_that_was_trained_on_are_not_mixed_with_the_old_ones() {
    let folder = folder(&[(
        "p.jsonl",
        "{\"prompt\": \"Hello\"}\n{\"prompt\": \"Bye\"}\n",
    )]);
    tiny_files::model(&folder.path().join("model"));
    let draw = || {
        let asked = ["generate", "--model", "model", "--prompts", "p.jsonl"];
        let more = ["--max-new-tokens", "2", "--out", "out.jsonl"];
        duel(&folder, &[&asked[..], &more].concat())
    };
    assert_eq!([draw().code, draw().code], [0, 0], "the same call goes on");
    let weights = folder.path().join("model/model.safetensors");
    let mut trained = std::fs::read(&weights).unwrap();
    *trained.last_mut().unwrap() ^= 0x80;
    std::fs::write(&weights, trained).unwrap();
    let said = draw();
    assert_eq!(said.code, 2, "{}", said.err);
    let wanted = "error: out.jsonl was made by another call: another model, other prompts or other settings\n\n\
                  hint: give another --out, or remove out.jsonl first\n";
    assert!(said.err.ends_with(wanted), "{}", said.err);
}

/// Greedy responses of the model inside the binary: by the weights as they are, in bf16 (as its file has them: the same),
/// and in int8, which resumes its own file and no other's.
#[test]
fn weights_are_rounded_while_responses_are_drawn_and_only_then() {
    let folder = folder(&[("p.jsonl", "{\"prompt\": \"Once upon a time\"}\n")]);
    let draw = |dtype: &str, out: &str| {
        let asked = ["generate", "--model", "quickstart", "--prompts", "p.jsonl"];
        let how = ["--temperature", "0", "--max-new-tokens", "12"];
        let more = ["--dtype", dtype, "--out", out];
        duel(&folder, &[&asked[..], &how, &more].concat())
    };
    let read = |out: &str| std::fs::read_to_string(folder.path().join(out)).unwrap();
    for dtype in ["f32", "bf16", "int8"] {
        let said = draw(dtype, dtype);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    assert_eq!(read("f32"), read("bf16"));
    assert_eq!(read("int8").lines().count(), 1);
    assert_eq!(draw("f32", "int8").code, 2, "made by another call");
    let said = draw("int4", "int4");
    assert_eq!(said.code, 2);
    assert!(
        said.err
            .starts_with("error: invalid value 'int4' for '--dtype <DTYPE>'\n  [possible values: f32, bf16, int8]"),
        "{}",
        said.err
    );
}

#[test]
fn a_reward_model_is_no_reference() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let path = folder.path().join("rm");
    tiny_files::model(&path);
    let model = Model::load(&path, &Device::flex()).unwrap();
    let model = model.with_score_head(Key::new(1), &Device::flex()).unwrap();
    model
        .save(&path, &model.decoder, None, StoreDtype::F32)
        .unwrap();
    let asked = ["dpo", "--model", "quickstart", "--data", "pairs.jsonl"];
    let said = duel(
        &folder,
        &[&asked[..], &["--set", "dpo.ref_model=\"rm\""]].concat(),
    );
    assert_eq!(said.code, 2, "{}", said.err);
    let wanted = "rm is a reward model: it scores, it does not write";
    assert!(said.err.contains(wanted), "{}", said.err);
}

#[test]
fn plain_text_to_a_chat_model_is_warned_of_once_and_the_flag_wraps_it() {
    let folder = folder(&[(
        "p.jsonl",
        "{\"prompt\": \"Hello\"}\n{\"prompt\": \"Bye\"}\n",
    )]);
    let ask = |out: &str, more: &[&str]| {
        let base = [
            "generate",
            "--model",
            "quickstart",
            "--prompts",
            "p.jsonl",
            "--max-new-tokens",
            "2",
            "--out",
            out,
        ];
        duel(&folder, &[&base[..], more].concat()).err
    };
    let warned = ask("a.jsonl", &[]);
    assert_eq!(
        warned
            .matches("warning: the prompts are plain text")
            .count(),
        1,
        "{warned}"
    );
    assert!(
        warned.contains("`--text-as-chat` makes each a user's turn") && !warned.contains('\x1b'),
        "{warned}"
    );
    let wrapped = ask("b.jsonl", &["--text-as-chat"]);
    assert!(!wrapped.contains("warning"), "{wrapped}");
    let row = std::fs::read_to_string(folder.path().join("b.jsonl")).unwrap();
    assert!(row.contains("\"role\":\"user\""), "{row}");
}

#[test]
fn a_chat_in_json_answers_each_line_with_one() {
    let folder = folder(&[]);
    let mut child = command(
        folder.path(),
        &[
            "chat",
            "--max-new-tokens",
            "4",
            "--temperature",
            "0",
            "--json",
        ],
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("duel starts");
    let mut words = child.stdin.take().unwrap();
    words.write_all(b"Tell me a story\nAnd another\n").unwrap();
    drop(words);
    let output = child.wait_with_output().expect("duel exits");
    let text = String::from_utf8(output.stdout).unwrap();
    let replies: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(replies.len(), 2, "{text}");
    for reply in replies {
        assert_eq!(reply["role"], "assistant");
        assert!(
            reply["content"].is_string()
                && ["stop", "length"].contains(&reply["finish"].as_str().unwrap())
        );
        assert!(reply["tokens"].as_u64() <= Some(4), "{reply}");
    }
}

#[test]
fn a_chat_refuses_bytes_that_are_no_text() {
    let folder = folder(&[]);
    let mut child = command(folder.path(), &["chat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("duel starts");
    let mut words = child.stdin.take().unwrap();
    words.write_all(b"/new\n\xff\xfe\n").unwrap();
    drop(words);
    let output = child.wait_with_output().expect("duel exits");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("line 2 of stdin cannot be read"), "{said}");
}

#[test]
fn the_last_line_of_a_run_carries_its_losses_and_accuracies() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let run = |command: &str, more: &[&str]| {
        let table = |key: &str, value: &str| format!("{command}.{key}={value}");
        let sets = [
            table("train.max_steps", "2"),
            table("data.held_out", "0.4"),
            table("max_length", "64"),
        ];
        let mut arguments = vec![
            command,
            "--model",
            "quickstart",
            "--data",
            "pairs.jsonl",
            "--json",
        ];
        sets.iter()
            .for_each(|set| arguments.extend(["--set", set.as_str()]));
        arguments.extend(more);
        let said = duel(&folder, &arguments);
        assert_eq!(said.code, 0, "{}", said.err);
        said.json().pop().unwrap()
    };
    let reward = run("reward", &[]);
    let last = &reward["training"]["reward"];
    assert!(
        last["loss"].is_f64() && last["accuracy"].is_f64(),
        "{reward}"
    );
    assert!(
        last["eval_loss"].is_f64() && reward["eval_loss"] == last["eval_loss"],
        "{reward}"
    );
    for judge in ["judge", "length_only", "random"] {
        let accuracy = &reward["accuracy"]["reward"][judge];
        assert!(
            accuracy["low"].is_f64() && accuracy["accuracy"].is_f64(),
            "{reward}"
        );
    }
    assert!(
        reward["seconds"].is_f64() && reward["model"].as_str().unwrap().ends_with("checkpoint")
    );

    let dpo = run("dpo", &[]);
    let last = &dpo["training"]["dpo"];
    assert!(
        last["rewards/accuracies"].is_f64() && last["eval_rewards/accuracies"].is_f64(),
        "{dpo}"
    );
    assert_eq!((&last["step"], &dpo["accuracy"]), (&json!(2), &json!({})));
}

#[test]
fn rows_that_are_left_out_are_listed_where_they_stand() {
    let rows = "{\"prompt\": \"a\", \"chosen\": \"x\", \"rejected\": \"x\"}\n{\"prompt\": 1}\n"
        .to_owned()
        + PAIRS;
    let folder = folder(&[("rows.jsonl", &rows)]);
    let asked = ["data", "check", "rows.jsonl", "--skip-bad"];
    let said = duel(&folder, &asked).out;
    assert!(
        said.contains("rows.jsonl:1: chosen and rejected are equal"),
        "{said}"
    );
    assert!(said.contains("rows.jsonl:2: "), "{said}");
    let all = duel(&folder, &[&asked[..], &["--json"]].concat())
        .json()
        .remove(0);
    assert_eq!(
        all["left_out"],
        json!([{"line": 1, "reason": "chosen and rejected are equal"}])
    );
    assert_eq!(all["malformed"][0]["line"], 2);
    let arguments = [
        "dpo",
        "--model",
        "quickstart",
        "--data",
        "rows.jsonl",
        "--name",
        "mine",
        "--set",
        "dpo.data.skip_bad=true",
        "--set",
        "dpo.train.max_steps=1",
        "--set",
        "dpo.max_length=64",
    ];
    let said = duel(&folder, &arguments);
    assert_eq!(said.code, 0, "{}", said.err);
    let log = std::fs::read_to_string(folder.path().join("runs/mine/logs/dpo-rows.txt")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines[0].ends_with("rows.jsonl:1: chosen and rejected are equal") && lines.len() == 2,
        "{log}"
    );
}

#[test]
fn a_negative_number_is_refused_for_what_it_is() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let said = duel(
        &folder,
        &[
            "score",
            "--model",
            "quickstart",
            "--data",
            "pairs.jsonl",
            "--beta",
            "-1",
        ],
    );
    assert_eq!(said.code, 2);
    assert!(
        said.err.starts_with("error: beta: ") && said.err.contains("above 0"),
        "{}",
        said.err
    );
    for (arguments, reason) in [
        (
            ["pairs", "--length-penalty", "-0.1"],
            "a number from 0 is needed",
        ),
        (
            ["chat", "--max-new-tokens", "-3"],
            "a whole number above 0 is needed",
        ),
        (
            ["generate", "--temperature", "-1"],
            "a number from 0 is needed",
        ),
    ] {
        let said = duel(&folder, &arguments);
        assert_eq!(said.code, 2);
        assert!(said.err.contains(reason), "{}", said.err);
    }
    let set = [
        "dpo",
        "--model",
        "quickstart",
        "--data",
        "pairs.jsonl",
        "--set",
        "dpo.train.learning_rate=-1",
        "--dry-run",
    ];
    let said = duel(&folder, &set);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("learning_rate") && said.err.contains("above 0"),
        "{}",
        said.err
    );
}

#[test]
fn every_command_with_rows_takes_samples_other_columns_and_every_loss() {
    let rows = "{\"question\": \"sky?\", \"chosen\": \"blue\", \"rejected\": \"a log\"}\n";
    let folder = folder(&[("rows.jsonl", rows)]);
    let score = |more: &[&str]| {
        let words = ["score", "--model", "quickstart", "--json"];
        duel(&folder, &[&words[..], more].concat())
    };
    let said = score(&["--data", "rows.jsonl", "--column", "prompt=question"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let own = ["--data", "rows.jsonl", "--column", "prompt=question"];
    let simpo = score(&[&own[..], &["--loss", "simpo", "--simpo-gamma", "0"]].concat()).json();
    let wide = score(&[&own[..], &["--loss", "simpo", "--simpo-gamma", "2"]].concat()).json();
    assert!(
        wide[0]["loss"].as_f64() > simpo[0]["loss"].as_f64(),
        "{wide:?} {simpo:?}"
    );
    let both = score(
        &[
            &own[..],
            &["--loss", "sigmoid,sft", "--loss-weights", "1,0"],
        ]
        .concat(),
    )
    .json();
    assert_eq!(both[0]["loss"], said.json()[0]["loss"]);
    let tokens = |line: usize| said.json()[line]["chosen_tokens"].as_f64();
    assert_eq!(tokens(1), tokens(0));
    let wrong = score(&[&own[..], &["--loss", "sigmoidd"]].concat());
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("did you mean `sigmoid`?"),
        "{}",
        wrong.err
    );
    let sample = duel(
        &folder,
        &[
            "eval",
            "--model",
            "quickstart",
            "--data",
            "quickstart:pairs",
            "--limit",
            "2",
        ],
    );
    assert!(!sample.err.contains("not a kind of file"), "{}", sample.err);
    let known = score(&["--data", "hh-rlhf"]);
    assert_eq!(known.code, 2);
    let fact = "the data set Anthropic/hh-rlhf is not in the cache";
    assert!(known.err.contains(fact), "{}", known.err);
}
