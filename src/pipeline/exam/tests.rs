//! Exams as lm-evaluation-harness puts them.

use super::*;
use crate::eval::exam::{EXAMS, Exam};
use crate::pipeline::embedded;
use burn::tensor::Device;
use serde_json::Value;
use std::fs;

const SETTING: Setting = Setting {
    shots: 0,
    chat: false,
    max_length: usize::MAX,
    max_tokens_per_batch: 2048,
};

fn model() -> Model {
    Model::load(&embedded::model().expect("unpacked"), &Device::flex()).expect("loaded")
}

/// A file of rows.
fn file(folder: &tempfile::TempDir, name: &str, rows: &Value) -> PathBuf {
    let rows = rows.as_array().expect("rows").iter();
    let path = folder.path().join(name);
    fs::write(
        &path,
        rows.map(|row| format!("{row}\n")).collect::<String>(),
    )
    .expect("written");
    path
}

/// The questions of an exam of that name.
fn asked(name: &str, path: PathBuf) -> (&'static dyn Choices, Vec<(String, Question)>) {
    let exam = EXAMS.iter().find(|(known, _)| *known == name);
    let Some((_, Exam::Choices(exam))) = exam else {
        panic!("{name} is no exam with choices");
    };
    let read = |row: &Fields<'_>| exam.question(row).map(Shaped::Row);
    let (asked, _) = questions(&[path], &LoadOptions::default(), read).expect("questions");
    (*exam, asked)
}

/// The harness' own prompts, letter by letter; its log-likelihoods, in f32; its marks. Every exam with choices is there.
#[test]
fn choices_are_put_computed_and_marked_as_by_the_harness() {
    let text = include_str!("../../../tests/golden/choices.json");
    let golden: Vec<Value> = serde_json::from_str(text).expect("the golden file is JSON");
    let (model, folder) = (model(), tempfile::tempdir().expect("a folder"));
    for case in &golden {
        let name = case["exam"].as_str().expect("a name");
        let (exam, rows) = asked(name, file(&folder, "rows.jsonl", &case["rows"]));
        let shots = case["shown"].as_array().expect("rows").len();
        let shown = match shots {
            0 => Vec::new(),
            _ => asked(name, file(&folder, "shown.jsonl", &case["shown"])).1,
        };
        let setting = Setting { shots, ..SETTING };
        let before = Shots::of(&shown, shots);
        let (done, left_out) = choices(&model, exam, &rows, &shown, &setting).expect("done");
        assert!(left_out.is_empty(), "{name}: {left_out:?}");
        let theirs = case["questions"].as_array().expect("questions");
        assert_eq!((done.len(), rows.len()), (theirs.len(), theirs.len()));
        for (((_, question), done), theirs) in rows.iter().zip(&done).zip(theirs) {
            let prompt = whole_prompt(exam, question, &before).expect("a prompt");
            assert_eq!(prompt, theirs["prompt"].as_str().expect("a prompt"));
            for (at, choice) in question.choices.iter().enumerate() {
                assert_eq!(
                    format!(" {choice}"),
                    theirs["choices"][at].as_str().expect("a choice")
                );
                let logp = theirs["logps"][at].as_f64().expect("a number");
                let off = (done.logps[at] - logp).abs();
                assert!(
                    off < 1e-3,
                    "{name}: {choice}: {} and {logp}",
                    done.logps[at]
                );
            }
            for mark in &done.marked.marks {
                // The harness calls mc2 `acc` too.
                let name_there = if mark.metric == "mc2" {
                    "acc"
                } else {
                    mark.metric
                };
                let mark_there = theirs["marks"][name_there].as_f64().expect("a mark");
                assert!(
                    (mark.sum - mark_there).abs() < 1e-4,
                    "{name}: {mark:?} and {mark_there}"
                );
            }
        }
    }
    let choices = EXAMS
        .iter()
        .filter(|(_, exam)| matches!(exam, Exam::Choices(_)));
    assert_eq!(golden.len(), choices.count());
}

#[test]
fn what_does_not_fit_is_counted_and_too_few_examples_are_an_error() {
    let (model, folder) = (model(), tempfile::tempdir().expect("a folder"));
    let text = include_str!("../../../tests/golden/choices.json");
    let golden: Vec<Value> = serde_json::from_str(text).expect("the golden file is JSON");
    let mmlu = golden
        .iter()
        .find(|case| case["exam"] == "mmlu")
        .expect("mmlu");
    let (exam, rows) = asked("mmlu", file(&folder, "rows.jsonl", &mmlu["rows"]));
    let short = Setting {
        max_length: 10,
        ..SETTING
    };
    let (done, left_out) = choices(&model, exam, &rows, &[], &short).expect("counted");
    assert!(done.is_empty());
    assert_eq!(
        left_out,
        BTreeMap::from([("longer than 10 tokens".to_owned(), 2)])
    );
    let three = Setting {
        shots: 3,
        ..SETTING
    };
    let error = choices(&model, exam, &rows, &rows, &three).expect_err("two rows");
    // Of the two rows one is always the question itself.
    let fact =
        "the examples of `world_things` beside the question itself are 1, and 3 are asked for";
    assert_eq!(error.message, fact);
    let shots = Shots::of(&rows, 1);
    for (at, (_, question)) in rows.iter().enumerate() {
        let prompt = whole_prompt(exam, question, &shots).expect("a prompt");
        assert_eq!(prompt.matches(&question.prompt).count(), 1, "{prompt}");
        assert!(prompt.contains(&rows[1 - at].1.prompt), "{prompt}");
    }
}
