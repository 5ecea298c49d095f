//! Chat benchmarks, answered by the model inside the binary and judged by rules.

use super::*;
use crate::data::Key;
use crate::eval::judged::{AlpacaEval, ArenaHard, JudgedReport, MtBench};
use crate::eval::statistics::CONFIDENCE;
use crate::judge::{Rule, RuleJudge};
use crate::model::Model;
use crate::pipeline::embedded;
use crate::pipeline::responses::GroupRow;
use crate::run::read_rows;
use crate::text::Prompt;
use burn::tensor::Device;
use serde_json::{Value, json};
use std::fs;

const DRAWING: Drawing = Drawing {
    max_new_tokens: Some(6),
    max_length: usize::MAX,
    max_tokens_per_batch: 2048,
};

fn model() -> Model {
    Model::load(&embedded::model().expect("unpacked"), &Device::flex()).expect("loaded")
}

/// A file of rows.
fn file(folder: &tempfile::TempDir, name: &str, rows: &[Value]) -> PathBuf {
    let path = folder.path().join(name);
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(&path, lines).expect("written");
    path
}

fn read(benchmark: &dyn Benchmark, file: PathBuf) -> Vec<Task> {
    tasks(benchmark, &[file], &LoadOptions::default())
        .expect("questions")
        .0
}

/// Two questions of two turns, at two temperatures.
fn two_turns(folder: &tempfile::TempDir) -> Vec<Task> {
    let rows = [
        json!({"question_id": 81, "category": "writing", "turns": ["Say hello", "Say it again"]}),
        json!({"question_id": 111, "category": "math", "turns": ["Count to two", "And to three"], "reference": ["1 2", "1 2 3"]}),
    ];
    read(&MtBench, file(folder, "question.jsonl", &rows))
}

fn rule(formula: &str) -> Local<'static> {
    Local::of(RuleJudge::new(formula.parse::<Rule>().expect("a rule")))
}

#[test]
fn the_second_turn_is_answered_in_sight_of_the_first_and_nothing_is_drawn_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, tasks) = (model(), two_turns(&folder));
    let out = folder.path().join("answers.jsonl");
    let answers = draw(&model, &MtBench, &tasks, &DRAWING, &out).expect("answers");
    let rows: Vec<GroupRow> = read_rows(&out).expect("rows");
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["81", "111", "81 (turn 2)", "111 (turn 2)"]);
    let wanted = tasks[1].dialogue(1, &answers["111"]);
    assert_eq!(wanted.len(), 3);
    assert_eq!(rows[3].prompt, (&Prompt::Chat(wanted)).into());
    assert_eq!(answers["111"][1], rows[3].responses[0]);

    // A call that was stopped after the first turn ends with the same answers.
    let whole = fs::read_to_string(&out).expect("text");
    let first: String = whole
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&out, first).expect("cut");
    let again = draw(&model, &MtBench, &tasks, &DRAWING, &out).expect("answers");
    assert_eq!(again, answers);
    assert_eq!(fs::read_to_string(&out).expect("text"), whole);
}

#[test]
fn a_conversation_without_room_for_its_second_answer_ends_after_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, tasks) = (model(), two_turns(&folder));
    let prompt = Prompt::Chat(tasks[0].dialogue(0, &[]));
    let room = model.chat.prompt(&prompt).expect("tokens").len() + 2;
    let short = Drawing {
        max_length: room,
        ..DRAWING
    };
    let out = folder.path().join("answers.jsonl");
    let answers = draw(&model, &MtBench, &tasks[..1], &short, &out).expect("answers");
    assert_eq!(answers["81"].len(), 1);
    let by = &mut By::Here(rule("length:3"));
    let found = judge(&MtBench, &tasks[..1], &answers, None, by).expect("judged");
    assert_eq!(found.judged[0].points.len(), 1);
    assert_eq!(found.left_out.len(), 1, "{:?}", found.left_out);
}

#[test]
fn a_judge_of_duels_grades_each_turn_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = two_turns(&folder);
    let turns = |first: &str, second: &str| vec![first.to_owned(), second.to_owned()];
    let answers = TurnAnswers::from([
        ("81".to_owned(), turns("hello", "no")),
        ("111".to_owned(), turns("hello, two", "hello")),
    ]);
    let by = &mut By::Here(rule("contains:hello"));
    let found = judge(&MtBench, &tasks, &answers, None, by).expect("judged");
    let points: Vec<_> = found.judged.iter().map(|one| one.points.clone()).collect();
    assert_eq!(
        points,
        [vec![Some(1.0), Some(0.0)], vec![Some(1.0), Some(1.0)]]
    );
    let report = JudgedReport::of(
        ["mt_bench", "rule"],
        Kind::Grades,
        &found.judged,
        CONFIDENCE,
    );
    assert_eq!(report.expect("judged").scores["both_turns"].mean, 0.75);
    // Its `answer` is the reference of the turn.
    let by = &mut By::Here(rule("answer"));
    let found = judge(&MtBench, &tasks[1..], &answers, None, by).expect("judged");
    assert_eq!(found.judged.len(), 1);

    let model = model();
    let pairwise = Local::model(&model, 128, 2048).expect("a pairwise judge");
    let error = judge(&MtBench, &tasks, &answers, None, &mut By::Here(pairwise));
    let error = error.expect_err("it compares");
    assert!(error.message.contains("grades each by itself"), "{error}");
}

#[test]
fn of_two_answers_the_higher_score_has_won_and_what_is_missing_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = ["a", "b", "c", "d"].map(|id| {
        json!({"question_id": id, "category": "arena-hard-v0.1", "turns": [{"content": "Greet"}]})
    });
    let tasks = read(&ArenaHard, file(&folder, "question.jsonl", &rows));
    let row = |id: &str, text: &str| json!({"question_id": id, "model_id": "other", "choices": [{"turns": [{"content": text}]}]});
    let baseline = file(
        &folder,
        "other.jsonl",
        &[row("a", "no"), row("b", "hello"), row("d", "no")],
    );
    let (baseline, _) =
        GivenAnswers::load(&ArenaHard, &[baseline], &LoadOptions::default()).expect("read");
    let answers = ["a", "b", "c"].map(|id| (id.to_owned(), vec!["hello!".to_owned()]));
    let answers = TurnAnswers::from(answers);
    let by = &mut By::Here(rule("contains:hello"));
    let found = judge(&ArenaHard, &tasks, &answers, Some(&baseline), by).expect("judged");
    let points: Vec<_> = found.judged.iter().map(|one| one.points.clone()).collect();
    assert_eq!(points, [[Some(1.0)], [Some(0.5)]]);
    assert_eq!(found.judged[0].chars, [6, 2]);
    let missing = [("no answer", 1), ("no answer of the baseline", 1)];
    assert_eq!(
        found.left_out,
        missing.map(|(why, n)| (why.to_owned(), n)).into()
    );
    assert_eq!(found.baselines, BTreeSet::from(["other".to_owned()]));
    assert_eq!(found.published, BTreeSet::from(["gpt-4-0314".to_owned()]));
}

#[test]
fn a_turn_too_long_for_a_reward_model_leaves_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = two_turns(&folder);
    let (short, long) = ("hello".to_owned(), "hello ".repeat(400));
    let answers = TurnAnswers::from([
        ("81".to_owned(), vec![short.clone(), long.clone()]),
        ("111".to_owned(), vec![long, short]),
    ]);
    let scored = model()
        .with_score_head(Key::new(1), &Device::flex())
        .expect("a head");
    let by = &mut By::Here(Local::model(&scored, 128, 2048).expect("a judge"));
    let found = judge(&MtBench, &tasks, &answers, None, by).expect("judged");
    let points: Vec<Option<f64>> = found.judged[0].points.clone();
    assert!(
        points[0].is_some() && points.get(1).copied().flatten().is_none(),
        "{points:?}"
    );
    let read = found.judged.iter().flat_map(|one| &one.points).flatten();
    assert_eq!(
        found.left_out["longer than the judge reads"],
        4 - read.count()
    );
}

#[test]
fn a_pairwise_model_and_a_reward_model_judge_comparisons() {
    let folder = tempfile::tempdir().expect("a folder");
    let row = json!({"instruction": "Greet", "output": "Hello there.", "generator": "gpt4_1106_preview", "dataset": "x"});
    let path = file(&folder, "alpaca_eval.json", &[row]);
    let tasks = read(&AlpacaEval, path.clone());
    let (baseline, _) =
        GivenAnswers::load(&AlpacaEval, &[path], &LoadOptions::default()).expect("read");
    let answers = TurnAnswers::from([(tasks[0].id.clone(), vec!["Hello there.".to_owned()])]);
    let model = model();
    let by = &mut By::Here(Local::model(&model, 256, 2048).expect("a judge"));
    let found = judge(&AlpacaEval, &tasks, &answers, Some(&baseline), by).expect("judged");
    // Of two answers that are the same neither has won.
    assert_eq!(found.judged[0].points, [Some(0.5)]);
    assert!(found.published.is_empty());

    // Under a reward model the answer of the higher reward has won, by whichever name it goes.
    let model = self::model()
        .with_score_head(Key::new(1), &Device::flex())
        .expect("a head");
    let credit = |own: &str| {
        let answers = TurnAnswers::from([(tasks[0].id.clone(), vec![own.to_owned()])]);
        let by = &mut By::Here(Local::model(&model, 256, 2048).expect("a judge"));
        let found = judge(&AlpacaEval, &tasks, &answers, Some(&baseline), by).expect("judged");
        found.judged[0].points[0].expect("a verdict")
    };
    let reward = |text: &str| {
        let group = crate::judge::Group {
            id: "1".to_owned(),
            prompt: Prompt::Chat(tasks[0].dialogue(0, &[])),
            responses: vec![text.to_owned()],
            answer: None,
        };
        let mut found = 0.0;
        let mut judge = crate::judge::RewardJudge::new(&model, 256, 2048).expect("a judge");
        let one = &mut |_: &crate::judge::Group, scores: Vec<f32>| {
            found = scores[0];
            Ok(())
        };
        crate::judge::Judge::scores(&mut judge, &[group], 0, one).expect("a reward");
        found
    };
    let other = reward("Hello there.");
    for own in ["No.", "Good morning to you!", "42"] {
        assert_eq!(
            credit(own),
            f64::from(u8::from(reward(own) > other)),
            "{own}"
        );
    }
}

#[test]
fn responses_of_several_models_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = two_turns(&folder);
    let row = |model: &str| json!({"question_id": 81, "model": model, "turns": ["a", "b", "c"]});
    let load = |rows: &[Value]| {
        let path = file(&folder, "answers.jsonl", rows);
        GivenAnswers::load(&MtBench, &[path], &LoadOptions::default())
            .expect("read")
            .0
    };
    let found = given(&tasks, &load(&[row("m")])).expect("one model");
    assert_eq!(found["81"], ["a", "b"]);
    let error = given(&tasks, &load(&[row("m"), row("n")])).expect_err("two");
    assert_eq!(error.message, "the responses are of 2 models: m, n ...");
}

#[test]
fn a_question_that_comes_twice_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let row = json!({"question_id": 81, "turns": ["a"]});
    let path = file(&folder, "question.jsonl", &[row.clone(), row]);
    let error = tasks(&MtBench, &[path], &LoadOptions::default()).expect_err("twice");
    assert!(error.message.contains("`81` comes twice"), "{error}");
}
