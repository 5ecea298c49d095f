use super::write_report;
use crate::error::Error;
use crate::run::{
    Diagnosis, Layout, RoundSummary, RunDir, Sample, Severity, Start, stage_key, write_atomic,
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
        duplicates: Some(0.02 * r),
        truncated: Some(0.11),
        win_rate: Some(0.52 + 0.07 * r),
        low: Some(0.45 + 0.07 * r),
        high: Some(0.59 + 0.07 * r),
        length_mean: Some(38.0 + 3.0 * r),
        pairs: 88,
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
        reward_before: Some(rewards.0),
        reward_after: Some(rewards.1),
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
    })
    .unwrap();
    stage(&run, "sft", |run| train(run, "sft", 200, 4.2, 2.1));
    stage(&run, "reward", |run| train(run, "reward", 120, 0.693, 0.52));
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
        "95 % interval: 66.0\u{202f}% to 80.0\u{202f}%",
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
