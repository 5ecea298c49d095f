//! Rows that do not say what somebody asks of them: found before a run, skipped and counted where that is wanted, never a
//! silent zero.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, Said, duel, folder};
use serde_json::{Value, json};

const VERIFIER: &str = "name = \"v\"\nmodel.model_name_or_path = \"quickstart\"\n[verifier]\nmax_length = 256\n\
                        train = { max_steps = 1, gradient_accumulation_steps = 1 }\n[verifier.data]\nfiles = \"rows.jsonl\"\n";

/// A recipe that a rule over the right answer judges.
const RULE: &str = "name = \"r\"\nmodel.model_name_or_path = \"quickstart\"\n[online]\njudge.rule.formula = \"0.5*answer + 0.5*sentence\"\n\
                    [online.prompts]\nfiles = \"rows.jsonl\"\n";

/// Of three rows the second has no answer.
const ANSWERS: &str = r#"{"prompt": "1 + 1?", "responses": ["2", "It is 3."], "answer": "2"}
{"prompt": "1 + 2?", "responses": ["3", "2"]}
{"prompt": "1 + 3?", "responses": ["4", ""], "answer": 4}
"#;

fn checked(rows: &str, recipe: &str) -> Said {
    let folder = folder(&[("rows.jsonl", rows), ("r.toml", recipe)]);
    duel(&folder, &["recipe", "check", "r.toml"])
}

#[test]
fn a_recipe_is_checked_for_labels_and_answers_that_its_rows_lack() {
    let unlabelled =
        "{\"prompt\": \"1 + 1?\", \"completions\": [\"It is 2.\"], \"labels\": [null]}\n";
    let whole = "{\"prompt\": \"1 + 1?\", \"responses\": [\"It is 2.\"], \"answer\": 2}\n";
    let seven = "{\"prompt\": \"1 + 1?\", \"completions\": [\"It is 2.\"], \"labels\": [7]}\n";
    for (rows, recipe, words) in [
        (unlabelled, VERIFIER, "no solution has a label"),
        (
            whole,
            VERIFIER,
            "rows.jsonl:1: the label is of the whole solution",
        ),
        (seven, VERIFIER, "`labels[0]` is the number 7"),
        (ANSWERS, RULE, "rows.jsonl:2: the row has no `answer`"),
    ] {
        let said = checked(rows, recipe);
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        assert!(said.err.contains(words), "{}", said.err);
        assert!(said.err.contains("hint: "), "{}", said.err);
    }
    let skipping = checked(ANSWERS, &format!("{RULE}skip_bad = true\n"));
    assert_eq!(skipping.code, 0, "{}", skipping.err);
}

#[test]
fn rows_without_the_answer_that_is_asked_for_are_skipped_and_counted() {
    let folder = folder(&[("rows.jsonl", ANSWERS)]);
    let rule = ["judge", "--rule", "answer", "--data", "rows.jsonl"];
    let refused = duel(&folder, &rule);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("`--skip-bad`"), "{}", refused.err);
    let said = duel(&folder, &[&rule[..], &["--skip-bad"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let rows = said.json();
    assert_eq!(rows[0]["rewards"], json!([1.0, 0.0]));
    assert_eq!(rows[1]["line"], 2);
    assert!(rows[1]["error"].as_str().unwrap().contains("`answer`"));
    assert_eq!(rows[2]["rewards"], json!([1.0, 0.0]));

    let best = ["best-of", "--data", "rows.jsonl", "--json"];
    assert_eq!(duel(&folder, &best).code, 1);
    let said = duel(&folder, &[&best[..], &["--skip-bad"]].concat());
    assert_eq!(said.json()[0]["curve"][0]["problems"], 2, "{}", said.err);
    assert!(said.err.contains("2 rows, 1 malformed"), "{}", said.err);
}

#[test]
fn a_label_that_is_none_is_skipped_and_counted_and_labels_of_one_kind_are_warned_of() {
    let rows = r#"{"prompt": "1 + 1?", "completions": ["It is 2."], "labels": [1]}
{"prompt": "1 + 1?", "completions": ["It is 3."], "labels": ["maybe"]}
{"prompt": "1 + 2?", "completions": ["It is 3.", "Yes."], "labels": [-100, true]}
"#;
    let recipe = format!("{VERIFIER}skip_bad = true\n");
    let folder = folder(&[("rows.jsonl", rows), ("r.toml", &recipe)]);
    let said = duel(&folder, &["verifier", "r.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("2 rows, 1 malformed"), "{}", said.err);
    assert!(said.err.contains("every label is 1: "), "{}", said.err);
}

#[test]
fn a_failed_call_leaves_no_note_and_responses_that_say_nothing_are_counted() {
    let folder = folder(&[("rows.jsonl", ANSWERS)]);
    let steps = [
        "steps",
        "--model",
        "quickstart",
        "--data",
        "rows.jsonl",
        "--out",
        "o.jsonl",
        "-k",
        "1",
        "--max-new-tokens",
        "4",
    ];
    assert_eq!(duel(&folder, &steps).code, 1);
    assert!(!folder.path().join("o.jsonl.key").exists());
    let said = duel(&folder, &[&steps[..], &["--skip-bad"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    for words in ["1 malformed", "1 solutions say nothing"] {
        assert!(said.err.contains(words), "{}", said.err);
    }
}

#[test]
fn a_rule_says_why_and_who_cannot_say_it_is_not_asked() {
    let folder = folder(&[("rows.jsonl", ANSWERS)]);
    let judge = |more: &[&str]| {
        duel(
            &folder,
            &[&["judge", "--data", "rows.jsonl", "--explain"], more].concat(),
        )
    };
    let said = judge(&["--rule", "sentence"]);
    assert!(
        said.out
            .contains("row 1, response 2, score 1.0000 (a whole sentence): It is 3."),
        "{}{}",
        said.out,
        said.err
    );
    let said = judge(&["--rule", "sentence", "--json"]);
    assert_eq!(said.json()[0]["explained"][1], "a whole sentence");
    for other in ["--process", "--outcome", "--pairwise"] {
        assert_eq!(judge(&[other, "quickstart"]).code, 2);
    }
    let said = duel(
        &folder,
        &["judge", "--data", "rows.jsonl", "--rule", "matches:"],
    );
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(
        said.err.contains("wants a regular expression"),
        "{}",
        said.err
    );
}

#[test]
fn a_check_of_data_knows_steps_and_ratings() {
    let steps = r#"{"prompt": "1 + 1?", "completions": ["It is 2.", "Yes."], "labels": [1, 1]}
{"prompt": "1 + 2?", "completions": ["It is 4."], "labels": [null]}
"#;
    let ratings = "{\"prompt\": \"Hi\", \"response\": \"Hello\", \"help\": 1}\n\
                   {\"prompt\": \"Hi\", \"response\": \"No\", \"help\": 0}\n";
    let folder = folder(&[
        ("steps.jsonl", steps),
        ("ratings.jsonl", ratings),
        ("answers.jsonl", ANSWERS),
    ]);
    let check = |file: &str| -> Value {
        let arguments = ["data", "check", file, "--model", "quickstart", "--json"];
        let said = duel(&folder, &arguments);
        assert_eq!(said.code, 0, "{}", said.err);
        said.json().remove(0)
    };
    let found = check("steps.jsonl");
    assert_eq!(found["kind"], "steps");
    assert_eq!(
        found["notes"],
        json!([
            "2 solutions with 2 labels",
            "1 of 2 solutions have no label and teach nothing",
            "every label is 1: a verifier learns to say the same of all",
        ])
    );
    assert_eq!(found["tokens"]["lengths"][1]["of"], "learned");
    let found = check("ratings.jsonl");
    assert_eq!(found["kind"], "ratings");
    assert_eq!(found["notes"], json!(["ratings of help"]));
    let found = check("answers.jsonl");
    assert_eq!(found["kind"], "prompt");
    assert!(
        found["notes"][0]
            .as_str()
            .unwrap()
            .starts_with("1 of 3 rows have no `answer`")
    );
}

/// D2, D17: in the released code a row without just as many responses as the script was told of is skipped, and one process alone
/// cannot judge.
#[test]
fn d2_d17_rows_of_any_number_of_responses_are_judged_and_make_pairs_by_one_process() {
    let rows = r#"{"prompt": "a", "responses": ["One.", "two", "Three!"]}
{"prompt": "b", "responses": ["Yes.", "no"]}
{"prompt": "c", "responses": ["yes", "No.", "so", "Or so?", "well"]}
"#;
    let folder = folder(&[("rows.jsonl", rows)]);
    let judge = [
        "judge",
        "--rule",
        "sentence",
        "--data",
        "rows.jsonl",
        "--out",
        "s.jsonl",
    ];
    assert_eq!(duel(&folder, &judge).code, 0);
    let file = std::fs::read_to_string(folder.path().join("s.jsonl")).unwrap();
    let counts: Vec<usize> = file
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| row["rewards"].as_array().unwrap().len())
        .collect();
    assert_eq!(counts, [3, 2, 5]);
    let said = duel(&folder, &["pairs", "--data", "s.jsonl", "--out", "p.jsonl"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let pairs = std::fs::read_to_string(folder.path().join("p.jsonl")).unwrap();
    assert_eq!(pairs.lines().count(), 3, "{}", said.err);
}

/// D29: nothing in the released code keeps the judges' training rows apart from RewardBench.
#[test]
fn d29_rows_with_a_prompt_of_what_is_measured_on_are_counted() {
    let bench = "{\"prompt\": \"Say hello\", \"chosen\": \"Hi.\", \"rejected\": \"No.\", \"subset\": \"shp\"}\n";
    let said = "[{\"role\": \"user\", \"content\": \"Say hello\"}, {\"role\": \"assistant\", \"content\": \"Hello!\"}]";
    let sft = format!("{{\"messages\": {said}}}\n");
    let folder = folder(&[
        ("pairs.jsonl", PAIRS),
        ("sft.jsonl", &sft),
        ("bench.jsonl", bench),
    ]);
    let notes = |file: &str, other: &str| -> Value {
        let found = duel(
            &folder,
            &["data", "check", file, "--apart-from", other, "--json"],
        );
        assert_eq!(found.code, 0, "{}", found.err);
        found.json().remove(0)["notes"][0].clone()
    };
    for (file, rows) in [("pairs.jsonl", 6), ("sft.jsonl", 1)] {
        let told = notes(file, "bench.jsonl");
        let told = told.as_str().unwrap();
        let wanted = format!("1 of {rows} rows have a prompt of bench.jsonl");
        assert!(told.starts_with(&wanted), "{told}");
    }
    let one = PAIRS.lines().nth(1).unwrap();
    std::fs::write(folder.path().join("other.jsonl"), one).unwrap();
    let told = notes("bench.jsonl", "other.jsonl");
    assert_eq!(told, "no row has a prompt of other.jsonl");
}

#[test]
fn answers_that_come_to_nothing_are_wrong_and_counted() {
    let row = |texts: &[&str]| {
        format!(
            "{}\n",
            serde_json::json!({"prompt": "2+2?", "responses": texts, "answer": "4"})
        )
    };
    let folder = folder(&[
        ("half.jsonl", &row(&["I do not know", "It is 4."])),
        (
            "asked.jsonl",
            "{\"question\": \"How many?\", \"answer\": \"2*2=4\\n#### 4\"}\n",
        ),
    ]);
    let judged = ["judge", "--rule", "answer", "--data", "half.jsonl"];
    let judged = duel(&folder, &judged);
    assert_eq!(judged.json()[0]["rewards"], serde_json::json!([0.0, 1.0]));
    let fact = "1 of 2 responses come to no answer, and count as wrong";
    assert!(judged.err.contains(fact), "{}", judged.err);
    let picked = ["best-of", "--rule", "answer", "--data", "half.jsonl"];
    let picked = duel(&folder, &picked);
    let fact = "1 of 2 answers come to no result";
    assert!(picked.err.contains(fact), "{}", picked.err);
    let wordless = [
        "exam",
        "gsm8k",
        "--model",
        "quickstart",
        "--data",
        "asked.jsonl",
    ];
    let wordless = duel(
        &folder,
        &[&wordless[..], &["--max-new-tokens", "4", "--json"]].concat(),
    );
    assert_eq!(wordless.json()[0]["without_result"], 1, "{}", wordless.out);
}
