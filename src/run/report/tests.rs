use super::write_report;
use crate::error::Error;
use crate::run::{
    Diagnosis, Layout, Measured, Opinion, RoundSummary, RunDir, Sample, Severity, Start, stage_key,
    write_atomic,
};
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

const RECIPE: &str = "seed = 7\n\n[model]\npath = \"quickstart\"\n\n[online]\nrounds = 3\nk = 4\n";

/// A wave without chance: what noise looks like in a test.
fn wave(n: usize) -> f64 {
    (n as f64 * 1.7).sin() * 0.6 + (n as f64 * 0.31 * TAU).cos() * 0.4
}

fn train(run: &RunDir, stage: &str, steps: usize, start: f64, end: f64) {
    let mut metrics = run.metrics().unwrap();
    metrics.resume(stage, 0).unwrap();
    let pairs = stage != "sft";
    for n in 0..steps {
        let done = n as f64 / steps as f64;
        let loss = end + (start - end) * (-4.0 * done).exp() + 0.05 * wave(n);
        let rate = 5e-6 * (1.0 - done);
        let mut values = vec![
            ("loss", loss),
            ("grad_norm", 1.5 + wave(n + 3)),
            ("learning_rate", rate),
        ];
        if pairs {
            let margin = 1.2 * done + 0.1 * wave(n + 9);
            values.push(("rewards/accuracies", 0.5 + 0.25 * done + 0.08 * wave(n + 1)));
            values.push(("rewards/margins", margin));
            values.push(("rewards/chosen", margin * 0.3));
            values.push(("rewards/rejected", margin * -0.7));
            values.push(("logps/chosen", -120.0 + 4.0 * wave(n)));
        } else {
            values.push(("mean_token_accuracy", 0.3 + 0.25 * done + 0.02 * wave(n)));
        }
        if n % 20 == 19 {
            values.push(("eval_loss", loss + 0.04));
        }
        metrics.record(stage, n as u64, &values).unwrap();
    }
}

fn summary(n: usize) -> RoundSummary {
    let r = n as f64;
    RoundSummary {
        round: n,
        prompts: 96,
        reward_mean: Some(-0.4 + 0.35 * r),
        reward_top1: Some(0.3 + 0.4 * r),
        reward_spread: Some(1.4 - 0.1 * r),
        reward_length_correlation: Some(0.12 + 0.05 * r),
        kl: Some(0.8 * r * r),
        kl_samples: None,
        duplicates: Some(0.02 * r),
        truncated: Some(0.11),
        win_rate: Some(0.52 + 0.07 * r),
        low: Some(0.45 + 0.07 * r),
        high: Some(0.59 + 0.07 * r),
        confidence: Some(0.9),
        length_eval: Some(38.0 + 3.0 * r),
        length_samples: Some(35.0 + 3.0 * r),
        pairs: Some(88),
        seconds: 31.0 + r,
    }
}

fn scores(n: usize) -> String {
    let rows = (0..96).map(|p| {
        let rewards: Vec<f64> = (0..4)
            .map(|k| 0.35 * n as f64 + 1.4 * wave(p * 4 + k))
            .collect();
        let words = |k: usize| "word ".repeat(20 + 5 * n + (10.0 * wave(p * 7 + k)) as usize);
        let responses: Vec<String> = (0..4).map(words).collect();
        let row = serde_json::json!({
            "prompt": "Tell me a story.", "responses": responses, "rewards": rewards,
            "finish": ["stop", "stop", "length", "stop"],
        });
        format!("{row}\n")
    });
    rows.collect()
}

fn samples() -> Vec<Sample> {
    let sample = |prompt: &str, before: &str, after: &str, rewards: (f64, f64)| Sample {
        prompt: prompt.to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
        judge: Some("rule".to_owned()),
        score_before: Some(rewards.0),
        score_after: Some(rewards.1),
    };
    vec![
        sample(
            "How do I get a red wine stain out of a shirt?",
            "Red wine is a kind of wine that is red. Wine is made from grapes, and grapes grow on vines.\n\nWine is a kind of wine.",
            "Blot it, don't rub. Then cover the stain with salt for ten minutes, rinse it with cold water, and wash the shirt as usual.",
            (-0.82, 1.31),
        ),
        sample(
            "Write <b>one</b> line of HTML & explain it.",
            "<script>document.title = 'owned'</script>",
            "`<p>Hello</p>` is a paragraph with one word.",
            (0.40, 0.21),
        ),
        sample("What is the capital of France?", "", "Paris.", (-1.0, 0.9)),
    ]
}

/// Two judges, of which only the first is decided.
fn measured(n: usize) -> Measured {
    let r = n as f64;
    let opinion = |judge: &str, win_rate: f64, counts| Opinion {
        judge: judge.to_owned(),
        before: 0.125,
        after: 0.125 + 0.25 * r,
        win_rate,
        low: win_rate - 0.07,
        high: win_rate + 0.07,
        counts,
        length_controlled: Some([win_rate - 0.02, win_rate - 0.1, win_rate + 0.1]),
    };
    Measured {
        confidence: Some(0.9),
        opinions: vec![
            opinion("rule", 0.52 + 0.07 * r, [60 + 7 * n, 5, 31 - 7 * n]),
            opinion("org/judge<1>", 0.51, [40, 18, 38]),
        ],
        kl: Some(0.8 * r * r),
        length_before: 36.5,
        length_after: 38.0 + 3.0 * r,
        samples: samples(),
    }
}

fn write_json(path: &Path, value: &serde_json::Value) {
    write_atomic(path, value.to_string().as_bytes()).unwrap();
}

/// The content of a reward model's `-eval.json`.
fn held_out(accuracy: f64) -> serde_json::Value {
    let share = |accuracy: f64| {
        serde_json::json!({
            "accuracy": accuracy, "low": accuracy - 0.05, "high": accuracy + 0.05, "pairs": 312, "ties": 4,
        })
    };
    serde_json::json!({
        "confidence": 0.95, "judge": share(accuracy), "length_only": share(0.583), "random": share(0.497),
        "subsets": {},
    })
}

/// A run with everything a report can show; no chance in it.
fn whole_run(path: &Path) -> RunDir {
    let mut run = RunDir::create(path, RECIPE).unwrap();
    run.begin(Start {
        command: "duel quickstart --name <first>".to_owned(),
        about: "A 2 M parameter Llama, taught by SFT, a Bradley-Terry reward model and three rounds of online DPO."
            .to_owned(),
        machine: BTreeMap::from([
            ("device".to_owned(), "cpu (flex, 2 threads)".to_owned()),
            ("memory".to_owned(), "7.6 GB".to_owned()),
        ]),
        redo: true,
    })
    .unwrap();
    stage(&run, "sft", |run| train(run, "sft", 200, 4.2, 2.1));
    stage(&run, "reward", |run| train(run, "reward", 120, 0.693, 0.52));
    for (name, accuracy) in [("reward", 0.641), ("reward-second", 0.628)] {
        stage(&run, &format!("{name}-eval"), |run| {
            write_json(&run.layout().accuracy(name), &held_out(accuracy));
        });
    }
    for n in 1..=3 {
        round(&run, n);
    }
    let diagnosis = Diagnosis {
        name: "reward-follows-length".to_owned(),
        severity: Severity::Warning,
        message: "the reward's correlation with the length is 0.42 in round 3".to_owned(),
        mend: "set pairs.length_penalty = 0.01, or train the reward model on pairs of like length"
            .to_owned(),
        stage: "round-3/scores".to_owned(),
        step: 0,
    };
    run.metrics().unwrap().diagnose(&diagnosis).unwrap();
    run
}

fn round(run: &RunDir, n: usize) {
    let at = run.layout().round(n);
    stage(run, &at.stage("scores"), |_| {
        write_atomic(&at.scores(), scores(n).as_bytes()).unwrap();
    });
    let dpo = at.stage("checkpoint");
    stage(run, &dpo, |run| {
        train(run, &dpo, 60, 0.693, 0.6 - 0.02 * n as f64)
    });
    stage(run, &at.stage("eval"), |run| {
        run.write_round(&summary(n)).unwrap();
        run.write_samples(Some(n), &samples()).unwrap();
        let measured = serde_json::to_value(measured(n)).unwrap();
        write_json(&run.layout().evaluation(&at.stage("eval")), &measured);
    });
    run.metrics().unwrap().round(&summary(n)).unwrap();
}

fn stage(run: &RunDir, name: &str, work: impl FnOnce(&RunDir)) {
    let key = stage_key(&"recipe", &[]).unwrap();
    let stage = run.stage(name, key).unwrap();
    let done = stage.complete(|_| {
        work(run);
        Ok(())
    });
    done.unwrap();
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("first-run");
    (dir, path)
}

fn page(path: &Path) -> String {
    let report = write_report(path).unwrap();
    assert_eq!(report, Layout::new(path).report());
    fs::read_to_string(report).unwrap()
}

/// Every tag that is opened is closed, in order; what HTML leaves open is left out.
fn assert_well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = &html[html.find("<body>").unwrap()..];
    for (at, _) in body.match_indices('<') {
        let tag = &body[at + 1..at + body[at..].find('>').unwrap()];
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        match tag {
            tag if tag.starts_with('/') => {
                let closed = open.pop();
                assert!(
                    closed == Some(name) || name == "html",
                    "{closed:?} closed by {name}"
                );
            }
            tag if tag.ends_with('/') => {}
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn a_whole_run_is_shown_whole() {
    let (_dir, path) = folder();
    // DUEL_KEEP_RUN=<new folder> keeps the run, to be looked at in a browser and in TensorBoard.
    let path = std::env::var_os("DUEL_KEEP_RUN").map_or(path, PathBuf::from);
    let mut run = whole_run(&path);
    run.end(Ok(())).unwrap();
    let html = page(&path);
    assert_well_formed(&html);
    for shown in [
        "After 3 rounds it beats the model it started from on <b>73.0\u{202f}%</b> of the prompts.",
        "90 % interval: 66.0\u{202f}% to 80.0\u{202f}%; judge: rule</p>",
        "reward-follows-length",
        "set pairs.length_penalty = 0.01",
        "<h3>sft <small>to step 199</small></h3>",
        "implicit reward",
        "Lengths of all responses <small>words</small>",
        "Blot it, don&#39;t rub.",
        "rounds = 3",
        "cpu (flex, 2 threads)",
        "round-2/checkpoint",
    ] {
        assert!(html.contains(shown), "not on the page: {shown}");
    }
}

#[test]
fn the_page_needs_nothing_and_runs_nothing() {
    let (_dir, path) = folder();
    drop(whole_run(&path));
    let html = page(&path);
    for foreign in [
        "http", "//", "<script", "<link", "@import", "url(", "src=", "NaN",
    ] {
        assert!(!html.contains(foreign), "{foreign} is on the page");
    }
    assert!(html.contains("&lt;script&gt;document.title = &#39;owned&#39;&lt;/script&gt;"));
    assert!(html.contains("--name &lt;first&gt;"));
}

#[test]
fn the_same_run_gives_the_same_page() {
    let (_dir, path) = folder();
    drop(whole_run(&path));
    assert_eq!(page(&path), page(&path));
}

#[test]
fn a_run_that_has_just_begun_has_a_page_too() {
    let (_dir, path) = folder();
    let run = RunDir::create(&path, RECIPE).unwrap();
    let html = page(&path);
    assert_well_formed(&html);
    assert!(html.contains("Nothing has been measured yet."));
    assert!(html.contains("Still running: 0 stages done."));
    assert!(!html.contains("<svg"));
    drop(run);
    assert!(page(&path).contains("Its process ended without a word"));
}

#[test]
fn a_failed_run_with_one_stage_says_why_and_how_far() {
    let (_dir, path) = folder();
    let mut run = RunDir::create(&path, RECIPE).unwrap();
    stage(&run, "sft", |run| train(run, "sft", 30, 4.2, 2.1));
    run.stage("reward", stage_key(&1, &[]).unwrap()).unwrap();
    run.end(Err(&Error::device("out of memory: 3 < 4 GB")))
        .unwrap();
    let html = page(&path);
    assert_well_formed(&html);
    assert!(html.contains("Failed (1 stage done, now in reward): out of memory: 3 &lt; 4 GB"));
    assert!(
        html.contains("In sft the loss went from 4.220 to <b>"),
        "{}",
        &html[..9000]
    );
}

#[test]
fn a_broken_file_costs_its_section_and_is_named() {
    let (_dir, path) = folder();
    let run = whole_run(&path);
    fs::write(run.layout().round(2).eval(), "{\"round\": \"two\"").unwrap();
    let html = page(&path);
    assert_well_formed(&html);
    assert!(html.contains("What could not be read"));
    assert!(html.contains("round-2"));
    assert!(html.contains("After 3 rounds"));
}

#[test]
fn outputs_of_before_a_change_are_not_shown() {
    let (_dir, path) = folder();
    let run = whole_run(&path);
    run.stage("reward", stage_key(&"another recipe", &[]).unwrap())
        .unwrap();
    let html = page(&path);
    assert!(!html.contains("After 3 rounds"));
    assert!(html.contains("<h3>sft "));
    assert!(!html.contains("<h3>round-1/checkpoint"));
}

#[test]
fn what_is_no_run_gets_no_page() {
    let (_dir, path) = folder();
    assert!(write_report(&path).is_err());
    assert!(!path.exists());
}

fn section<'a>(html: &'a str, id: &str) -> &'a str {
    let start = html.find(&format!("<section id=\"{id}\">")).unwrap();
    let rest = &html[start..];
    &rest[..rest.find("</section>").unwrap()]
}

/// The text of the cells of the table row that holds `of`.
fn row(html: &str, of: &str) -> Vec<String> {
    let rows: Vec<&str> = html.split("<tr").filter(|row| row.contains(of)).collect();
    assert_eq!(rows.len(), 1, "rows with {of}");
    let row = rows[0].split("</tr>").next().unwrap();
    let cells = row.split("</td>").flat_map(|cell| cell.split("</th>"));
    let text = |cell: &str| -> String {
        let parts = cell
            .split('<')
            .map(|part| part.split_once('>').map_or("", |(_, text)| text));
        parts.collect()
    };
    cells.map(text).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn every_judge_has_a_row_for_every_round() {
    let (_dir, path) = folder();
    drop(whole_run(&path));
    let html = page(&path);
    assert!(html.contains("<th>90 % interval</th>"));
    for (n, won) in [(1, "67"), (2, "74"), (3, "81")] {
        let first = row(
            section(&html, "judges"),
            &format!("<th rowspan=\"2\">round {n}</th>"),
        );
        assert_eq!(first[..2], [format!("round {n}"), "rule".to_owned()]);
        assert_eq!(first[first.len() - 3], won, "{first:?}");
    }
    // A win rate whose interval leaves out the draw stands out; the other judge's does not.
    assert!(html.contains("<b>73.0\u{202f}%</b></td><td>66.0\u{202f}% to 80.0\u{202f}%"));
    assert_eq!(
        html.matches("<td class=\"judge\">org/judge&lt;1&gt;</td>")
            .count(),
        3
    );
    assert!(html.contains("<td>51.0\u{202f}%</td><td>44.0\u{202f}% to 58.0\u{202f}%</td>"));
    assert!(html.contains("<b>36.50</b> at the start, <b>41.00</b> after round 1"));
}

#[test]
fn reward_models_stand_beside_their_baselines() {
    let (_dir, path) = folder();
    let run = whole_run(&path);
    let html = page(&path);
    let of = |accuracy: [&str; 3]| accuracy.map(|share| format!("{share}\u{202f}%"));
    for (name, shares) in [
        ("<th>reward</th>", ["64.1", "59.1", "69.1"]),
        ("<th>reward-second</th>", ["62.8", "57.8", "67.8"]),
        ("<th>the longer response</th>", ["58.3", "53.3", "63.3"]),
        ("<th>a coin</th>", ["49.7", "44.7", "54.7"]),
    ] {
        let [right, low, high] = of(shares);
        let cells = row(section(&html, "reward"), name);
        assert_eq!(
            cells[1..],
            [
                right,
                format!("{low} to {high}"),
                "312".to_owned(),
                "4".to_owned()
            ]
        );
    }
    // No held-out pairs: the stage writes null, and there is nothing to show.
    for name in ["reward", "reward-second"] {
        fs::write(run.layout().accuracy(name), "null\n").unwrap();
    }
    let html = page(&path);
    assert!(!html.contains("the longer response") && !html.contains("What could not be read"));
}

#[test]
fn the_two_lengths_are_told_apart() {
    let (_dir, path) = folder();
    let run = whole_run(&path);
    let html = page(&path);
    for shown in [
        "<dt>Tokens, evaluation</dt><dd>47.00<small>from 41.00</small>",
        "<dt>Tokens, own samples</dt><dd>44.00<small>from 38.00</small>",
        "length, eval</th>",
        "length, own</th>",
        "eval</span> <b>47.00</b>",
        "samples</span> <b>44.00</b>",
    ] {
        assert!(html.contains(shown), "not on the page: {shown}");
    }
    for n in 1..=3 {
        let unmeasured = RoundSummary {
            length_eval: None,
            ..summary(n)
        };
        run.write_round(&unmeasured).unwrap();
    }
    let html = page(&path);
    assert!(!html.contains("length, eval</th>") && !html.contains("Tokens, evaluation"));
    assert!(html.contains("<span>tokens: samples</span>"));
}

#[test]
fn a_samples_score_names_its_judge() {
    let (_dir, path) = folder();
    let run = whole_run(&path);
    let html = page(&path);
    assert!(html.contains("before<span class=\"score\">rule −0.820</span>"));
    assert!(!html.contains("reward −0.820"));
    let mut unnamed = samples();
    unnamed[0].judge = None;
    run.write_samples(Some(3), &unnamed).unwrap();
    assert!(page(&path).contains("before<span class=\"score\">score −0.820</span>"));
}

#[test]
fn a_run_without_rounds_is_judged_by_its_one_evaluation() {
    let (_dir, path) = folder();
    let run = RunDir::create(&path, RECIPE).unwrap();
    stage(&run, "dpo", |run| train(run, "dpo", 30, 0.693, 0.6));
    stage(&run, "eval", |run| {
        let measured = serde_json::to_value(measured(3)).unwrap();
        write_json(&run.layout().evaluation("eval"), &measured);
    });
    let html = page(&path);
    assert_well_formed(&html);
    assert!(
        html.contains(
            ">It beats the model it started from on <b>73.0\u{202f}%</b> of the prompts."
        )
    );
    assert!(html.contains("90 % interval: 66.0\u{202f}% to 80.0\u{202f}%"));
    assert!(html.contains("<th rowspan=\"2\">training</th>"));
}

#[test]
fn a_reward_models_run_says_how_often_it_is_right() {
    let (_dir, path) = folder();
    let run = RunDir::create(&path, RECIPE).unwrap();
    stage(&run, "reward", |run| train(run, "reward", 30, 0.693, 0.6));
    stage(&run, "reward-eval", |run| {
        write_json(&run.layout().accuracy("reward"), &held_out(0.641));
    });
    assert!(page(&path).contains(
        "On 312 held-out pairs the reward model prefers the right response in <b>64.1\u{202f}%</b> of the cases; \
         preferring the longer one is right in 58.3\u{202f}%."
    ));
}

#[test]
fn shares_near_nought_have_an_axis_that_can_be_read() {
    let (_dir, path) = folder();
    let run = whole_run(&path);
    for n in 1..=3 {
        let clean = RoundSummary {
            duplicates: Some(0.0),
            truncated: Some(0.0),
            ..summary(n)
        };
        run.write_round(&clean).unwrap();
    }
    let html = page(&path);
    let figure = html
        .split("<figure>")
        .find(|f| f.contains(">responses<"))
        .unwrap();
    let labels: Vec<&str> = figure
        .split("class=\"y\">")
        .skip(1)
        .map(|rest| rest.split_once('<').unwrap().0)
        .collect();
    assert_eq!(labels, ["0%", "50%", "100%"]);
}

#[test]
fn a_verifiers_run_says_how_often_it_is_right_beside_always_the_same_answer() {
    let (_dir, path) = folder();
    let run = RunDir::create(&path, RECIPE).unwrap();
    stage(&run, "verifier-eval", |run| {
        let report = serde_json::json!({
            "confidence": 0.9, "accuracy": 0.8125, "low": 0.7, "high": 0.9, "majority": 0.75, "auc": 0.871,
            "labels": 64, "positive": 48, "undecided": 1,
        });
        write_json(&run.layout().accuracy("verifier"), &report);
    });
    let html = page(&path);
    assert_well_formed(&html);
    for part in [
        "Of 64 held-out labels the verifier is right about <b>81.2\u{202f}%</b>; always the same answer is right about \
         75.0\u{202f}%; AUC 0.871.",
        "<th>verifier</th><td>81.2\u{202f}%</td><td>70.0\u{202f}% to 90.0\u{202f}%</td><td>64</td><td>48</td>",
        "<th>90 % interval</th>",
        "1 label is between 0 and 1 and not counted.",
    ] {
        assert!(html.contains(part), "{part}");
    }
}
