//! Lines that hold no row, and how places in files are called.

use super::*;

#[test]
fn empty_lines_between_rows_are_counted_with_their_places() {
    let row = |id: &str| format!(r#"{{"prompt": "{id}", "chosen": "a", "rejected": "b"}}"#);
    let text = format!("\n{}\n \n\n{}\n\n", row("x"), row("y"));
    let file = written("rows.jsonl", text.as_bytes());
    let (rows, report) = load_preferences(&file.paths, &LoadOptions::default()).expect("loads");
    assert_eq!([rows[0].origin.line, rows[1].origin.line], [2, 5]);
    let places = report
        .left_out
        .iter()
        .map(|(origin, why)| (origin.line, *why));
    let want = [1, 3, 4].map(|line| (line, EMPTY_LINE));
    assert_eq!(
        places.collect::<Vec<_>>(),
        want,
        "the last one is the file's end"
    );
}

#[test]
fn what_python_calls_a_number_and_json_does_not_is_named_with_its_column() {
    let cases = [
        (
            r#"{"prompt": "p", "chosen": "a", "rejected": "b", "margin": NaN}"#,
            "`margin` is NaN",
        ),
        (
            r#"{"margin":-Infinity, "prompt": "p"}"#,
            "`margin` is -Infinity",
        ),
        (r#"{"margin": Infinity}"#, "`margin` is Infinity"),
        (
            r#"{"responses": ["a", "b"], "rewards": [0.5,NaN]}"#,
            "`rewards` is NaN",
        ),
    ];
    for (line, want) in cases {
        let file = written("rows.jsonl", line.as_bytes());
        let said = failure(load_preferences(&file.paths, &LoadOptions::default()));
        assert!(said.contains(want), "{line}: {said}");
        assert!(said.contains("rows.jsonl:1"), "{said}");
    }
    let word = written("rows.jsonl", br#"{"prompt": "NaN", "chosen": oops}"#);
    let said = failure(load_preferences(&word.paths, &LoadOptions::default()));
    assert!(said.contains("malformed JSON"), "{said}");
}

#[test]
fn rows_of_an_array_are_counted_and_not_called_lines() {
    let text = r#"[{"prompt": "p", "chosen": "a", "rejected": "b"},

        {"prompt": "p", "chosen": "a"}]"#;
    let file = written("rows.json", text.as_bytes());
    let said = failure(load_preferences(&file.paths, &LoadOptions::default()));
    assert!(said.contains("rows.json, row 2"), "{said}");
}

#[test]
fn what_a_template_would_be_given_and_is_not_is_refused() {
    let row = |name: &str, value: Value| {
        let mut row = json!({"messages": [user("Hi"), assistant("Hello")]});
        row[name] = value;
        load_sft(&rows(&[row]).paths, &LoadOptions::default())
    };
    let said = failure(row("tools", json!([{"name": "search"}])));
    assert!(said.contains("`tools` is not supported"), "{said}");
    let said = failure(row("chat_template_kwargs", json!({"thinking": true})));
    assert!(said.contains("`chat_template_kwargs`"), "{said}");
    only(row("tools", json!([])));
    only(row("tools", Value::Null));
}

#[test]
fn an_answer_that_was_not_liked_is_not_imitated() {
    let row = |label: Value| json!({"prompt": "p", "completion": "c", "label": label});
    let all = [
        row(json!(true)),
        row(json!(false)),
        row(json!(1)),
        row(json!(0)),
    ];
    let (kept, report) = load_sft(&rows(&all).paths, &LoadOptions::default()).expect("loads");
    assert_eq!(
        kept.iter().map(|row| row.origin.line).collect::<Vec<_>>(),
        [1, 3]
    );
    assert_eq!(
        report.dropped.values().sum::<usize>(),
        2,
        "{}",
        report.summary()
    );
    let said = failure(load_sft(
        &rows(&[row(json!("yes"))]).paths,
        &LoadOptions::default(),
    ));
    assert!(
        said.contains("`label` is text, should be true or false"),
        "{said}"
    );
}
