//! `duel runs`: found by name or path, shown and compared.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, command, duel, folder};
use insta::assert_snapshot;
use serde_json::json;
use std::fs;
use std::process::Stdio;
use tempfile::TempDir;

#[test]
fn no_runs_are_no_error() {
    let folder = folder(&[]);
    let said = duel(&folder, &["runs", "list"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert_snapshot!(said.err, @"
    no runs in runs

    hint: `duel quickstart` makes one; `--output-dir` names another folder
    ");
    let said = duel(&folder, &["runs", "list", "--json"]);
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (0, "", "")
    );
    let said = duel(&folder, &["runs", "show", "mine"]);
    assert_eq!(said.code, 2);
    assert_snapshot!(said.err, @"
    error: no run called `mine` in runs

    hint: `duel runs list` shows the runs there are
    ");
}

/// A finished run of one stage.
fn run(folder: &TempDir, name: &str, beta: f64) {
    let path = folder.path().join("runs").join(name);
    let mut run =
        duel::run::RunDir::create(&path, &format!("seed = 1\n[dpo]\nbeta = {beta}\n")).unwrap();
    let key = duel::run::stage_key(&beta, &[]).unwrap();
    let stage = run
        .stage(&run.layout().round(1).stage("eval"), key)
        .unwrap();
    let round = duel::run::RoundSummary {
        round: 1,
        win_rate: Some(0.625),
        low: Some(0.5),
        high: Some(0.75),
        ..duel::run::RoundSummary::default()
    };
    stage.complete(|_| run.write_round(&round)).unwrap();
    run.end(Ok(())).unwrap();
}

#[test]
fn runs_are_found_by_name_or_path_and_compared() {
    let folder = folder(&[]);
    run(&folder, "mine", 0.1);
    run(&folder, "other", 0.05);
    let listed = duel(&folder, &["runs", "list"]).out;
    assert!(
        listed.contains("mine") && listed.contains("62 % (50 to 75)"),
        "{listed}"
    );
    for name in ["mine", "runs/mine"] {
        let said = duel(&folder, &["runs", "show", name, "--json"]);
        assert_eq!(
            said.json()[0]["stages_done"],
            json!(["round-1/eval"]),
            "{}",
            said.err
        );
    }
    let table = duel(&folder, &["runs", "compare", "mine", "other"]).out;
    let beta = table
        .lines()
        .find(|line| line.contains("dpo.beta"))
        .expect("what differs");
    assert!(beta.contains("0.1") && beta.contains("0.05"), "{beta}");
    assert!(!table.contains("seed"), "{table}");
    let report = duel(&folder, &["runs", "report", "mine"]).out;
    assert!(folder.path().join(report.trim()).is_file(), "{report}");
    let typo = duel(&folder, &["runs", "show", "mina"]);
    assert_eq!(typo.code, 2);
    assert_eq!(
        typo.err,
        "error: no run called `mina` in runs\n\nhint: did you mean `mine`?\n"
    );
}

/// The report knows nothing of `eval`: it reads what `eval` writes.
#[test]
fn the_accuracy_of_a_reward_model_stands_in_the_report_as_it_was_written() {
    let folder = folder(&[]);
    run(&folder, "mine", 0.1);
    let pair = |id: usize| duel::eval::ScoredPair {
        id: id.to_string(),
        subset: None,
        chosen_score: f64::from(u8::from(id < 6)),
        rejected_score: 0.5,
        chosen_chars: 9,
        rejected_chars: id,
    };
    let pairs: Vec<_> = (0..8).map(pair).collect();
    let report = duel::eval::AccuracyReport::of(&pairs, 0.9, 0).unwrap();
    let path = folder.path().join("runs/mine");
    let text = serde_json::to_vec(&report).unwrap();
    std::fs::write(duel::run::Layout::new(&path).accuracy("reward"), text).unwrap();
    let page = std::fs::read_to_string(duel::run::write_report(&path).unwrap()).unwrap();
    for shown in [
        "<th>reward</th><td>75.0\u{202f}%</td>",
        "<th>the longer response</th><td>100.0\u{202f}%</td>",
        "<th>90 % interval</th>",
    ] {
        assert!(page.contains(shown), "not on the page: {shown}");
    }
    assert!(!page.contains("What could not be read"));
}

#[test]
fn a_command_without_its_table_is_refused_with_what_there_is() {
    let recipe = "name = \"r\"\nmodel.model_name_or_path = \"quickstart\"\n[dpo.data]\nfiles = [\"pairs.jsonl\"]\n";
    let folder = folder(&[("pairs.jsonl", PAIRS), ("r.toml", recipe)]);
    let said = duel(&folder, &["sft", "r.toml"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.err.contains("the recipe has no [sft]; it has dpo"),
        "{}",
        said.err
    );
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn an_error_that_nobody_reads_keeps_its_exit_code() {
    let folder = folder(&[]);
    let mut child = command(folder.path(), &["recipe", "check", "none.toml"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn changed_data_does_not_cost_a_finished_model() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let again = |more: &[&str]| {
        let train = "dpo.train.max_steps=1";
        let base = [
            "dpo",
            "--model",
            "quickstart",
            "--data",
            "pairs.jsonl",
            "--name",
            "precious",
            "--set",
            train,
        ];
        duel(&folder, &[&base[..], more].concat())
    };
    let first = again(&[]);
    assert_eq!(first.code, 0, "{}", first.err);
    let weights = folder
        .path()
        .join("runs/precious/dpo/checkpoint/model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(
        folder.path().join("pairs.jsonl"),
        format!("{PAIRS}no row\n"),
    )
    .unwrap();
    let refused = again(&[]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(
        refused.err.contains("the stage `dpo` is finished"),
        "{}",
        refused.err
    );
    assert_eq!(fs::read(&weights).unwrap(), whole);
    let status = || duel(&folder, &["runs", "list", "--json"]).json()[0]["status"].clone();
    assert_eq!(
        status(),
        "done",
        "a call that was refused has changed nothing"
    );
    let broken = again(&["--redo"]);
    assert_eq!(broken.code, 1, "{}", broken.err);
    assert!(broken.err.contains("pairs.jsonl:7"), "{}", broken.err);
    assert_eq!(
        fs::read(&weights).unwrap(),
        whole,
        "given up for no mistake in a file"
    );
    assert_eq!(status(), "done");

    let one_less: String = PAIRS
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(folder.path().join("pairs.jsonl"), one_less).unwrap();
    assert_eq!(again(&["--redo"]).code, 0);
    assert_ne!(fs::read(&weights).unwrap(), whole);
}
