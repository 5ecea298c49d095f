//! Tests of loading: every shape of row, and every way in which a row can be wrong.

mod asked;
mod hub;
mod lines;
mod noted;

use super::*;
use crate::error::{Kind, Result};
use crate::text::{Answer, Message, Prompt, SftText};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file in a folder of its own, which lives as long as the value.
struct Written {
    _dir: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

fn written(name: &str, bytes: &[u8]) -> Written {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    Written {
        _dir: dir,
        paths: vec![path],
    }
}

fn rows(rows: &[Value]) -> Written {
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    written("rows.jsonl", lines.as_bytes())
}

fn preferences(values: &[Value]) -> Result<(Vec<Preference>, Report)> {
    load_preferences(&rows(values).paths, &LoadOptions::default())
}

fn only<T>(loaded: Result<(Vec<T>, Report)>) -> T {
    let (mut rows, report) = loaded.expect("loads");
    assert_eq!(rows.len(), 1, "{}", report.summary());
    rows.remove(0)
}

fn failure<T: std::fmt::Debug>(loaded: Result<T>) -> String {
    let error = loaded.expect_err("must fail");
    assert!(error.hint.is_some(), "no hint: {error}");
    error.to_string()
}

fn say(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

fn user(content: &str) -> Value {
    say("user", content)
}

fn assistant(content: &str) -> Value {
    say("assistant", content)
}

fn answer(content: &str) -> Answer {
    Answer::Chat(vec![Message::assistant(content)])
}

#[test]
fn every_way_to_write_one_preference_gives_the_same_row() {
    let shapes = [
        json!({"prompt": [user("Hi")], "chosen": "Yes", "rejected": "No"}),
        json!({"prompt": [user("Hi")], "chosen": [assistant("Yes")], "rejected": [assistant("No")]}),
        json!({"prompt": [user("Hi")], "chosen": assistant("Yes"), "rejected": assistant("No")}),
        json!({"prompt": "Hi", "chosen": [assistant("Yes")], "rejected": [assistant("No")]}),
        json!({"prompt": [user("Hi")], "chosen": [user("Hi"), assistant("Yes")], "rejected": [user("Hi"), assistant("No")]}),
        json!({"prompt": "Hi", "chosen": [user("Hi"), assistant("Yes")], "rejected": [user("Hi"), assistant("No")]}),
        json!({"chosen": [user("Hi"), assistant("Yes")], "rejected": [user("Hi"), assistant("No")]}),
        json!({"chosen": "\n\nHuman: Hi\n\nAssistant: Yes", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}),
    ];
    for shape in shapes {
        let row = only(preferences(std::slice::from_ref(&shape)));
        assert_eq!(
            row.prompt,
            Prompt::Chat(vec![Message::user("Hi")]),
            "{shape}"
        );
        assert_eq!(
            (row.chosen, row.rejected),
            (answer("Yes"), answer("No")),
            "{shape}"
        );
        assert_eq!(
            (row.id.as_str(), row.origin.line, row.margin),
            ("1", 1, None)
        );
    }
}

#[test]
fn text_stays_text_and_ids_stay_ids() {
    let row = only(preferences(&[
        json!({"prompt": "1 + 1 =", "chosen": " 2", "rejected": " 3", "id": 7}),
    ]));
    assert_eq!(row.prompt, Prompt::Text("1 + 1 =".into()));
    assert_eq!(
        (row.chosen, row.id),
        (Answer::Text(" 2".into()), "7".to_string())
    );
    let ids = json!({"prompt_ids": [1, 2], "chosen_ids": [3], "rejected_ids": [4], "id": "x"});
    let row = only(preferences(&[ids]));
    assert_eq!(
        (row.prompt, row.rejected),
        (Prompt::Ids(vec![1, 2]), Answer::Ids(vec![4]))
    );
    let shared = only(preferences(&[
        json!({"chosen": "It is blue.", "rejected": "It is green."}),
    ]));
    assert_eq!(shared.prompt, Prompt::Text("It is".into()));
    assert_eq!(shared.chosen, Answer::Text(" blue.".into()));
}

#[test]
fn the_shared_turns_of_whole_conversations_are_the_prompt() {
    let start = [
        say("system", "Be kind"),
        user("a"),
        assistant("b"),
        user("c"),
    ];
    let whole = |end: &str| [&start[..], &[assistant(end)]].concat();
    let row = only(preferences(&[
        json!({"chosen": whole("good"), "rejected": whole("bad")}),
    ]));
    let Prompt::Chat(prompt) = row.prompt else {
        panic!("a conversation")
    };
    assert_eq!(prompt.len(), 4);
    assert_eq!((row.chosen, row.rejected), (answer("good"), answer("bad")));
}

#[test]
fn the_margin_is_named_or_the_difference_of_the_scores() {
    let base = json!({"prompt": "p", "chosen": "a", "rejected": "b"});
    let with = |extra: Value| {
        let mut row = base.clone();
        for (name, value) in extra.as_object().expect("an object") {
            row[name] = value.clone();
        }
        preferences(&[row])
    };
    assert_eq!(
        only(with(json!({"margin": 0.5, "chosen_score": 9}))).margin,
        Some(0.5)
    );
    assert_eq!(
        only(with(json!({"chosen_score": 3, "rejected_score": 1.5}))).margin,
        Some(1.5)
    );
    assert_eq!(
        only(with(json!({"score_chosen": 3, "score_rejected": 4}))).margin,
        Some(-1.0)
    );
    assert_eq!(only(with(json!({"margin": null}))).margin, None);
    let missing = failure(with(json!({"chosen_score": 3})));
    assert!(
        missing.contains("rows.jsonl:1: `rejected_score` is missing"),
        "{missing}"
    );
    let wrong = failure(with(json!({"margin": "big"})));
    assert!(
        wrong.contains("`margin` is text, should be a finite number"),
        "{wrong}"
    );
}

#[test]
fn pairs_that_teach_nothing_are_dropped_and_counted() {
    let good = json!({"prompt": "p", "chosen": "a", "rejected": "b"});
    let (kept, report) = preferences(&[
        good.clone(),
        json!({"prompt": "p", "chosen": "same", "rejected": "same"}),
        json!({"chosen": [user("p"), assistant("same")], "rejected": [user("p"), assistant("same")]}),
        json!({"prompt": "p", "chosen": "a", "rejected": " "}),
        json!({"prompt": [], "chosen": "a", "rejected": "b"}),
        json!({"chosen": [user("p"), user("q")], "rejected": [user("p"), assistant("b")]}),
        good,
    ])
    .expect("loads");
    assert_eq!(
        kept.iter().map(|row| row.origin.line).collect::<Vec<_>>(),
        [1, 7]
    );
    let dropped: Vec<_> = report
        .dropped
        .iter()
        .map(|(reason, count)| (*reason, *count))
        .collect();
    assert_eq!(
        dropped,
        [
            ("chosen and rejected are equal", 2),
            ("empty prompt", 1),
            ("empty response", 1),
            ("no assistant turn", 1),
        ]
    );
    assert_eq!((report.kept, report.total()), (2, 7));
}

#[test]
fn the_standard_format_filter_keeps_alternating_turns_only() {
    let alternating =
        json!({"prompt": [user("a"), assistant("b"), user("c")], "chosen": "y", "rejected": "n"});
    let with_system =
        json!({"prompt": [say("system", "s"), user("a")], "chosen": "y", "rejected": "n"});
    let two_users =
        json!({"prompt": [user("a"), user("b"), user("c")], "chosen": "y", "rejected": "n"});
    let written = rows(&[alternating, with_system, two_users]);
    let options = LoadOptions {
        standard_only: true,
        ..LoadOptions::default()
    };
    let (kept, report) = load_preferences(&written.paths, &options).expect("loads");
    assert_eq!((kept.len(), kept[0].origin.line), (1, 1));
    assert_eq!(report.dropped["not in the standard format"], 2);
}

#[test]
fn every_mistake_in_a_row_names_file_line_field_and_reason() {
    let good = r#"{"prompt": "p", "chosen": "a", "rejected": "b"}"#;
    let cases: [(&[u8], &str); 14] = [
        (br#"{"prompt": "p", "chosen": "a""#, "rows.jsonl:2: malformed JSON at column 29: EOF while parsing an object"),
        (br#"{"prompt": "p", "chosen": "a", "rejected": NaN}"#, "`rejected` is NaN, should be a finite number"),
        (b"{\"prompt\": \"\xff\"}", "rows.jsonl:2: not UTF-8 (byte 13 of the line)"),
        (b"[1]", "rows.jsonl:2: the row is a list of 1, should be an object"),
        (br#"{"question": "p"}"#, "the row is no preference pair: it has `question`"),
        (br#"{"prompt": "p", "choosen": "a", "rejected": "b"}"#, "`chosen` is missing: did you mean `chosen` by `choosen`?"),
        (br#"{"prompt": "p", "choosen": "a", "rejectd": "b"}"#, ": did you mean `chosen` by `choosen` and `rejected` by `rejectd`?"),
        (br#"{"prompt": "p", "chosen": "a"}"#, "`rejected` is missing"),
        (br#"{"prompt": 3, "chosen": "a", "rejected": "b"}"#, "`prompt` is the number 3, should be text or a list of messages"),
        (br#"{"prompt": [{"role": "user"}], "chosen": "a", "rejected": "b"}"#, "`prompt[0].content` is missing"),
        (br#"{"prompt": [{"content": "x"}], "chosen": "a", "rejected": "b"}"#, "`prompt[0].role` is missing"),
        (br#"{"prompt_ids": [1, -2], "chosen_ids": [1], "rejected_ids": [2]}"#, "`prompt_ids` is a list of 2, should be a list of token ids"),
        (br#"{"chosen": [{"role": "user", "content": "a"}], "rejected": [{"role": "user", "content": "b"}]}"#, "`chosen` has no assistant turn"),
        (br#"{"chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}"#, "share no first turn"),
    ];
    for (bad, expected) in cases {
        let bytes = [good.as_bytes(), b"\n", bad, b"\n", good.as_bytes(), b"\n\n"].concat();
        let file = written("rows.jsonl", &bytes);
        let message = failure(load_preferences(&file.paths, &LoadOptions::default()));
        assert!(
            message.contains("rows.jsonl:2: ") && message.contains(expected),
            "{message}"
        );
        let skipping = LoadOptions {
            skip_bad: true,
            ..LoadOptions::default()
        };
        let (kept, report) = load_preferences(&file.paths, &skipping).expect("skips");
        assert_eq!(
            (kept.len(), report.skipped.len(), report.skipped[0].0.line),
            (2, 1, 2)
        );
        let reason = expected.strip_prefix("rows.jsonl:2: ").unwrap_or(expected);
        assert!(report.skipped[0].1.contains(reason), "{:?}", report.skipped);
    }
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let load = |file: Written| failure(load_preferences(&file.paths, &LoadOptions::default()));
    assert!(load(written("rows.jsonl", b"")).contains("the file holds no row"));
    assert!(load(written("rows.jsonl", b"\n \n")).contains("the file holds no row"));
    assert!(load(written("rows.csv", b"a,b")).contains("not a kind of file that holds rows"));
    assert!(
        load(written("rows.json", b"[{\"prompt\": }]"))
            .contains("rows.json:1: malformed JSON array")
    );
    assert!(load(written("rows.jsonl.gz", b"plain text")).contains("not a gzip stream"));
    assert!(load(written("rows.parquet", b"PAR1")).contains("cannot be read as parquet"));
    assert!(
        load(rows(&[
            json!({"prompt": "p", "chosen": "a", "rejected": "a"})
        ]))
        .contains("no row can be used")
    );
    let missing = load_preferences(
        &[PathBuf::from("no/such/file.jsonl")],
        &LoadOptions::default(),
    );
    assert_eq!(missing.expect_err("missing").kind, Kind::User);
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

#[test]
fn lines_arrays_and_gzip_hold_the_same_rows() {
    let values = [
        json!({"prompt": "p", "chosen": "a", "rejected": "b"}),
        json!({"prompt": "q", "chosen": "c", "rejected": "d"}),
    ];
    let lines = format!("\u{feff}{}\n{}", values[0], values[1]);
    let array = serde_json::to_string_pretty(&values).expect("printed");
    let files = [
        written("rows.jsonl", lines.as_bytes()),
        written("rows.json", lines.as_bytes()),
        written("rows.json", array.as_bytes()),
        written("rows.jsonl.gz", &gzip(&lines)),
        written("rows.json.gz", &gzip(&array)),
    ];
    for file in files {
        let (rows, _) = load_preferences(&file.paths, &LoadOptions::default()).expect("loads");
        let prompts: Vec<_> = rows.into_iter().map(|row| row.prompt).collect();
        assert_eq!(
            prompts,
            [Prompt::Text("p".into()), Prompt::Text("q".into())],
            "{:?}",
            file.paths
        );
    }
    let whole = gzip(&format!("{lines}\n").replace('\u{feff}', "").repeat(50));
    let cut = written("rows.jsonl.gz", &whole[..whole.len() - 12]);
    let message = failure(load_preferences(&cut.paths, &LoadOptions::default()));
    assert!(message.contains("ends too early"), "{message}");
}

/// Made by tests/golden/parquet/make_parquet.py.
#[test]
fn parquet_with_nested_messages_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parquet/nested.parquet");
    let (rows, _) = load_preferences(&[path], &LoadOptions::default()).expect("loads");
    assert_eq!(rows[0].prompt, Prompt::Chat(vec![Message::user("Hi é 🦀")]));
    assert_eq!(
        (&rows[0].chosen, rows[0].margin),
        (&answer("Hello"), Some(1.5))
    );
    assert_eq!(
        (&rows[1].rejected, rows[1].margin, rows[1].origin.line),
        (&answer("What?"), None, 2)
    );
}

#[test]
fn columns_can_have_other_names() {
    let file = rows(&[json!({"question": "p", "good": "a", "rejected": "b"})]);
    let name = |usual: &str, own: &str| (usual.to_string(), own.to_string());
    let mut columns = BTreeMap::from([name("prompt", "question"), name("chosen", "good")]);
    let options = |columns: &BTreeMap<String, String>| LoadOptions {
        columns: columns.clone(),
        ..LoadOptions::default()
    };
    assert_eq!(
        only(load_preferences(&file.paths, &options(&columns))).prompt,
        Prompt::Text("p".into())
    );
    columns.extend([name("rejected", "bad")]);
    let message = failure(load_preferences(&file.paths, &options(&columns)));
    assert!(
        message.contains("`bad` (the column for `rejected`) is missing"),
        "{message}"
    );
    let spare = BTreeMap::from([
        name("prompt", "question"),
        name("chosen", "good"),
        name("margin", "gap"),
    ]);
    let message = failure(load_preferences(&file.paths, &options(&spare)));
    assert!(
        message.contains("no row has the column `gap` that `margin` is mapped to"),
        "{message}"
    );
    let unknown = BTreeMap::from([name("promt", "question")]);
    let message = failure(load_preferences(&file.paths, &options(&unknown)));
    assert!(message.contains("no column is called `promt`"), "{message}");
}

#[test]
fn several_files_keep_their_order_and_a_limit_ends_the_reading() {
    let one = rows(&[json!({"prompt": "a"}), json!({"prompt": "b"})]);
    let two = rows(&[json!({"prompt": "c", "id": "own"}), json!({"prompt": "d"})]);
    let paths = [one.paths.clone(), two.paths.clone()].concat();
    let ids = |limit| {
        let options = LoadOptions {
            limit,
            ..LoadOptions::default()
        };
        let (rows, report) = load_prompts(&paths, &options).expect("loads");
        assert_eq!(report.kept, rows.len());
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None), ["1:1", "1:2", "own", "2:2"]);
    assert_eq!(ids(Some(2)), ["1:1", "1:2"]);
    assert_eq!(ids(Some(3)), ["1:1", "1:2", "own"]);
}

#[test]
fn prompts_come_in_every_shape() {
    let chat = Prompt::Chat(vec![Message::user("Hi")]);
    let cases = [
        (json!({"prompt": "Hi"}), Prompt::Text("Hi".into()), vec![]),
        (
            json!({"prompt": [user("Hi")], "responses": ["a", "b", "b"]}),
            chat.clone(),
            vec!["a", "b", "b"],
        ),
        (
            json!({"context_messages": [user("Hi")], "dataset": "x"}),
            chat.clone(),
            vec![],
        ),
        (json!({"messages": [user("Hi")]}), chat.clone(), vec![]),
        (
            json!({"messages": [user("Hi"), assistant("gone")]}),
            chat.clone(),
            vec![],
        ),
        (
            json!({"prompt": [user("Hi")], "chosen": "y", "rejected": "n"}),
            chat.clone(),
            vec!["y", "n"],
        ),
        // Judging wants one line a row, so equal responses stay.
        (
            json!({"prompt": [user("Hi")], "chosen": "y", "rejected": "y"}),
            chat.clone(),
            vec!["y", "y"],
        ),
        (
            json!({"instruction": "Add", "input": "1 2"}),
            Prompt::Chat(vec![Message::user("Add\n\n1 2")]),
            vec![],
        ),
        (
            json!({"prompt_ids": [4, 5]}),
            Prompt::Ids(vec![4, 5]),
            vec![],
        ),
    ];
    for (row, prompt, responses) in cases {
        let loaded = only(load_prompts(
            &rows(std::slice::from_ref(&row)).paths,
            &LoadOptions::default(),
        ));
        assert_eq!(
            (loaded.prompt, loaded.responses),
            (prompt, responses.iter().map(|r| r.to_string()).collect()),
            "{row}"
        );
    }
    let as_chat = LoadOptions {
        text_as_chat: true,
        ..LoadOptions::default()
    };
    assert_eq!(
        only(load_prompts(
            &rows(&[json!({"prompt": "Hi"})]).paths,
            &as_chat
        ))
        .prompt,
        chat
    );
}

#[test]
fn conversations_to_imitate_come_in_every_shape() {
    let (hi, yes) = (Message::user("Hi"), Message::assistant("Yes"));
    let chat = SftText::Chat(vec![hi.clone(), yes.clone()]);
    let completed = SftText::ChatCompletion(vec![hi], vec![yes]);
    let cases = [
        (
            json!({"messages": [user("Hi"), assistant("Yes")]}),
            chat.clone(),
        ),
        (
            json!({"conversations": [user("Hi"), assistant("Yes")]}),
            chat.clone(),
        ),
        (
            json!({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes"}]}),
            chat.clone(),
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, assistant("Yes")]}),
            chat.clone(),
        ),
        (
            json!({"instruction": "Hi", "input": "", "output": "Yes"}),
            chat,
        ),
        (
            json!({"prompt": [user("Hi")], "completion": [assistant("Yes")]}),
            completed.clone(),
        ),
        (
            json!({"prompt": [user("Hi")], "completion": "Yes"}),
            completed.clone(),
        ),
        (
            json!({"prompt": [user("Hi")], "chosen": "Yes", "rejected": "No"}),
            completed.clone(),
        ),
        (
            json!({"prompt": "Hi", "chosen": [user("Hi"), assistant("Yes")]}),
            completed.clone(),
        ),
        (json!({"chosen": [user("Hi"), assistant("Yes")]}), completed),
        (
            json!({"prompt": "Hi", "completion": "Yes"}),
            SftText::Completion("Hi".into(), "Yes".into()),
        ),
        (json!({"text": "Once"}), SftText::Text("Once".into())),
    ];
    for (row, expected) in cases {
        let loaded = only(load_sft(
            &rows(std::slice::from_ref(&row)).paths,
            &LoadOptions::default(),
        ));
        assert_eq!(loaded.messages, expected, "{row}");
    }
    let nothing = rows(&[
        json!({"messages": [user("Hi")]}),
        json!({"text": "x"}),
        json!({"text": " "}),
    ]);
    let (kept, report) = load_sft(&nothing.paths, &LoadOptions::default()).expect("loads");
    assert_eq!(
        (
            kept.len(),
            report.dropped["no assistant turn"],
            report.dropped["empty response"]
        ),
        (1, 1, 1)
    );
}
