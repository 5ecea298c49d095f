//! `duel runs`: what was run, how it stands, and how runs compare.

use super::{Global, output};
use crate::error::{Error, Result};
use crate::eval::{AccuracyReport, Classified};
use crate::run::{
    self, Layout, RANKING_STAGES, RoundSummary, RunEntry, RunInfo, StageRecord, VERIFIER_STAGE,
    read_json,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// List, show and compare runs, and write their reports
///
/// Example: duel runs list
#[derive(Debug, Args)]
pub struct Runs {
    /// The folder of runs: where a run is looked for by its name
    #[arg(long, global = true, default_value = "runs", value_name = "DIR")]
    output_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Compare(Compare),
    Report(Report),
}

/// List the runs, the latest first
///
/// With --json one line a run.
///
/// Example: duel runs list --output-dir runs
#[derive(Debug, Args)]
struct List {}

/// Show how a run stands: its stages and the numbers of its last round
///
/// Example: duel runs show quickstart
#[derive(Debug, Args)]
struct Show {
    /// A run's folder, or its name
    run: String,
}

/// Put runs side by side: their results, and the recipe keys in which they differ
///
/// Example: duel runs compare mine other
#[derive(Debug, Args)]
struct Compare {
    /// Folders or names of runs
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<String>,
}

/// Write report.html anew and print its path
///
/// Example: duel runs report quickstart
#[derive(Debug, Args)]
struct Report {
    /// A run's folder, or its name
    run: String,
}

impl Runs {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        match &self.command {
            Command::List(_) => self.list(global),
            Command::Show(command) => show(&self.find(&command.run)?, global),
            Command::Compare(command) => {
                let runs = command.runs.iter().map(|run| self.find(run));
                compare(&runs.collect::<Result<Vec<_>>>()?, global)
            }
            Command::Report(command) => {
                let path = run::write_report(&self.find(&command.run)?)?;
                match global.json {
                    true => output::json(&json!({ "report": path })),
                    false => output::print(&path.display().to_string()),
                }
            }
        }
    }

    fn list(&self, global: &Global) -> Result<()> {
        let (runs, broken) = run::list(&self.output_dir)?;
        for error in &broken {
            output::error(error);
        }
        if global.json {
            return runs.iter().try_for_each(output::json);
        }
        if runs.is_empty() {
            output::note(&format!(
                "no runs in {}\n\nhint: `duel quickstart` makes one; `--output-dir` names another folder",
                self.output_dir.display()
            ));
            return Ok(());
        }
        let lines = runs.iter().map(|run| {
            vec![
                run.name.clone(),
                run.status.to_string(),
                to_the_minute(&run.started),
                stages_reached(run),
                duration(run.seconds),
                win_rate(run),
            ]
        });
        let header = [
            "run",
            "status",
            "started (UTC)",
            "stages",
            "time",
            "win rate",
        ];
        output::print(&output::table(&header, lines.collect()))
    }

    /// The folder of a run that is named by its path or by its name.
    fn find(&self, run: &str) -> Result<PathBuf> {
        let candidates = [PathBuf::from(run), self.output_dir.join(run)];
        if let Some(path) = candidates.iter().find(|path| is_run(path)) {
            return Ok(path.clone());
        }
        let fact = match candidates[0].is_dir() {
            true => format!("{run} is no run: it holds no run.json"),
            false => format!("no run called `{run}` in {}", self.output_dir.display()),
        };
        let (known, _) = run::list(&self.output_dir)?;
        let nearest = known
            .iter()
            .map(|known| (strsim::jaro_winkler(run, &known.name), &known.name))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        Err(Error::user(fact).hint(match nearest {
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => "`duel runs list` shows the runs there are".to_owned(),
        }))
    }
}

fn is_run(path: &Path) -> bool {
    let layout = Layout::new(path);
    layout.info().exists() || layout.recipe().exists()
}

fn show(path: &Path, global: &Global) -> Result<()> {
    let run = run::show(path)?;
    if global.json {
        return output::json(&run);
    }
    let layout = Layout::new(path);
    let info = RunInfo::read(&layout)?;
    let mut facts = vec![
        ("run", run.name.clone()),
        ("folder", run.path.display().to_string()),
        ("about", run.about.clone()),
        ("status", run.status.to_string()),
        ("command", info.command),
        ("started", run.started.clone()),
        ("finished", info.finished.unwrap_or_default()),
        ("error", info.error.unwrap_or_default()),
        ("time", duration(run.seconds)),
    ];
    facts.extend(
        info.machine
            .iter()
            .map(|(name, fact)| (name.as_str(), fact.clone())),
    );
    let lines = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
    let lines = lines.map(|(name, fact)| vec![name.to_owned(), fact]);
    output::print(&output::table(&["fact", "value"], lines.collect()))?;
    let stages = run::stages(&layout)?;
    if !stages.is_empty() {
        output::print(&output::table(
            &["stage", "state", "time"],
            stages.iter().map(stage).collect(),
        ))?;
    }
    let accuracies = accuracies(&layout)?;
    if !accuracies.is_empty() {
        let header = ["judge", "right on", "pairs", "the longer one", "a coin"];
        output::print(&output::table(&header, accuracies))?;
    }
    let verdicts = verdicts(&layout)?;
    if !verdicts.is_empty() {
        let header = ["judge", "right on", "labels", "always the same", "AUC"];
        output::print(&output::table(&header, verdicts))?;
    }
    if let Some(measured) = run.measured() {
        let numbers = measured.numbers().into_iter();
        let known = numbers.filter_map(|(name, number)| Some((name, number?)));
        let lines = known.map(|(name, number)| vec![name.to_owned(), number_text(number)]);
        let header = run.measured_after();
        output::print(&output::table(&[&header, "value"], lines.collect()))?;
    }
    Ok(())
}

/// What the evaluations of judges of pairs found on held-out ones, beside the two baselines.
fn accuracies(layout: &Layout) -> Result<Vec<Vec<String>>> {
    let mut lines = Vec::new();
    for name in RANKING_STAGES {
        // `null` where there were no held-out pairs.
        let report: Option<Option<AccuracyReport>> = read_json(&layout.accuracy(name))?;
        lines.extend(report.map(|report| match report {
            Some(report) => vec![
                name.to_owned(),
                right(report.judge.accuracy, [report.judge.low, report.judge.high]),
                report.judge.pairs.to_string(),
                percent(report.length_only.accuracy),
                percent(report.random.accuracy),
            ],
            None => vec![name.to_owned(), "nothing was held out".to_owned()],
        }));
    }
    Ok(lines)
}

/// What the verifier's evaluation found on held-out labels, beside who always says the same.
fn verdicts(layout: &Layout) -> Result<Vec<Vec<String>>> {
    let report: Option<Option<Classified>> = read_json(&layout.accuracy(VERIFIER_STAGE))?;
    let line = |report: Option<Classified>| match report {
        Some(report) => vec![
            VERIFIER_STAGE.to_owned(),
            right(report.accuracy, [report.low, report.high]),
            report.labels.to_string(),
            percent(report.majority),
            report.auc.map_or("-".to_owned(), |auc| format!("{auc:.3}")),
        ],
        None => vec![VERIFIER_STAGE.to_owned(), "nothing was held out".to_owned()],
    };
    Ok(report.map(line).into_iter().collect())
}

/// A share with its interval.
fn right(share: f64, [low, high]: [f64; 2]) -> String {
    format!(
        "{} ({:.0} to {:.0})",
        percent(share),
        100.0 * low,
        100.0 * high
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn stage(stage: &StageRecord) -> Vec<String> {
    let state = match (stage.stale, stage.done) {
        (true, _) => "stale: a stage before it was redone",
        (_, true) => "done",
        (_, false) => "half done",
    };
    vec![
        stage.name.clone(),
        state.to_owned(),
        duration(stage.seconds),
    ]
}

fn compare(runs: &[PathBuf], global: &Global) -> Result<()> {
    let compared = run::compare(runs)?;
    if global.json {
        return output::json(&compared);
    }
    let names = compared.runs.iter().map(String::as_str);
    let header: Vec<&str> = std::iter::once("").chain(names).collect();
    let lines = compared.rows.iter().map(|(name, values)| {
        let cells = values.iter().map(cell);
        std::iter::once(name.clone()).chain(cells).collect()
    });
    output::print(&output::table(&header, lines.collect()))
}

/// A value of a comparison; what a run lacks is a dash.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => number_text(float),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn number_text(number: f64) -> String {
    match number.fract() == 0.0 {
        true => format!("{number:.0}"),
        false => format!("{number:.3}"),
    }
}

fn stages_reached(run: &RunEntry) -> String {
    match &run.stage_open {
        Some(open) => format!("{} done, in {open}", run.stages_done.len()),
        None => format!("{} done", run.stages_done.len()),
    }
}

/// The last win rate with its interval, in per cent.
fn win_rate(run: &RunEntry) -> String {
    match run.measured().and_then(RoundSummary::win) {
        Some(win) => format!(
            "{:.0} % ({:.0} to {:.0})",
            100.0 * win.rate,
            100.0 * win.low,
            100.0 * win.high
        ),
        None => String::new(),
    }
}

/// `2026-11-24T00:12:37Z` as `2026-11-24 00:12`.
fn to_the_minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// Seconds as a person says them.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}
