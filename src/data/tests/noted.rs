//! What a file says of its responses beside their words.

use super::*;

fn load(row: Value) -> Result<(Vec<PromptRow>, Report)> {
    load_prompts(&rows(&[row]).paths, &LoadOptions::default())
}

#[test]
fn it_is_kept_without_the_columns_of_duels_own_files() {
    let row = only(load(json!({
        "prompt": "p", "responses": ["a", "b"], "finish": ["stop", "length"], "rewards": [0.5, -1]
    })));
    let want = Noted {
        finished: vec![true, false],
        tokens: Vec::new(),
        rewards: vec![0.5, -1.0],
    };
    assert_eq!(row.noted, want);
    assert_eq!(
        only(load(json!({"prompt": "p", "responses": ["a"]}))).noted,
        Noted::default()
    );
}

#[test]
fn a_list_of_another_length_or_kind_is_an_error() {
    let cases = [
        (
            json!({"rewards": [0.5]}),
            "`rewards` is a list of 1, should be a list of 2, one for each",
        ),
        (
            json!({"rewards": [0.5, null]}),
            "`rewards[1]` is null, should be a finite number",
        ),
        (
            json!({"finish": ["stop", "eos"]}),
            "`finish[1]` is text, should be \"stop\" or \"length\"",
        ),
        (
            json!({"tokens": [3, -1]}),
            "`tokens[1]` is the number -1, should be a count",
        ),
    ];
    for (columns, want) in cases {
        let mut row = json!({"prompt": "p", "responses": ["a", "b"]});
        for (name, value) in columns.as_object().expect("columns") {
            row[name] = value.clone();
        }
        let said = failure(load(row));
        assert!(said.contains(want), "{said}");
    }
}
