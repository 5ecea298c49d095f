//! The runs under an output folder, and how they compare. Data only: showing it is the caller's.

use super::accuracy::{accuracies, numbers};
use super::atomic::entries;
use super::info::{RunInfo, Status};
use super::layout::Layout;
use super::recipe_diff::{Keys, keys};
use super::stage::stages;
use super::summary::{Measured, RoundSummary, read_json};
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One run in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunEntry {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// What is trained, on what.
    pub about: String,
    /// When it was first started: UTC, RFC 3339.
    pub started: String,
    /// How it stands.
    pub status: Status,
    /// Its finished stages, in order.
    pub stages_done: Vec<String>,
    /// The stage that is half done.
    pub stage_open: Option<String>,
    /// Seconds of work in all stages.
    pub seconds: f64,
    /// The summary of its last evaluated round.
    pub last_round: Option<RoundSummary>,
    /// That of the evaluation after its last stage, where that is no round.
    pub evaluation: Option<RoundSummary>,
    /// What the judges that it trained are right about on held-out rows, by their stages.
    pub accuracy: BTreeMap<&'static str, Value>,
}

impl RunEntry {
    /// The last numbers of its policy: those of the last round, or of the evaluation of a run without rounds.
    pub fn measured(&self) -> Option<&RoundSummary> {
        self.last_round.as_ref().or(self.evaluation.as_ref())
    }

    /// What these are of: `round 3`, or `evaluation`.
    pub fn measured_after(&self) -> String {
        match &self.last_round {
            Some(round) => format!("round {}", round.round),
            None => "evaluation".to_owned(),
        }
    }
}

/// Runs side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The names of the runs: the columns.
    pub runs: Vec<String>,
    /// What is compared, and each run's value; `null` where a run has none. Results come first, then the
    /// recipe keys that differ.
    pub rows: Vec<(String, Vec<Value>)>,
}

/// The runs under `output_dir`, the latest first, and what could not be read of those that are broken.
///
/// A folder that is not there holds no runs.
pub fn list(output_dir: &Path) -> Result<(Vec<RunEntry>, Vec<Error>)> {
    let (mut runs, mut broken) = (Vec::new(), Vec::new());
    for path in entries(output_dir)? {
        if !Layout::new(&path).recipe().exists() {
            continue;
        }
        match show(&path) {
            Ok(run) => runs.push(run),
            Err(error) => broken.push(error),
        }
    }
    // All times are UTC and written alike: their text sorts as they do.
    runs.sort_by(|a, b| b.started.cmp(&a.started).then_with(|| a.name.cmp(&b.name)));
    Ok((runs, broken))
}

/// One run.
///
/// # Errors
///
/// A user error when the path is no run; a data error that names a file of it that is broken.
pub fn show(run: &Path) -> Result<RunEntry> {
    let layout = Layout::new(run);
    let info = RunInfo::read(&layout)?;
    let stages = stages(&layout)?;
    let fresh = || stages.iter().filter(|stage| !stage.stale);
    let mut last_round = None;
    for round in layout.rounds()? {
        let eval = round.stage("eval");
        if stages.iter().any(|stage| stage.stale && stage.name == eval) {
            continue;
        }
        last_round = RoundSummary::read(&round.eval())?.or(last_round);
    }
    let whole: Option<Measured> = match stages.iter().any(|s| s.stale && s.name == "eval") {
        true => None,
        false => read_json(&layout.evaluation("eval"))?,
    };
    Ok(RunEntry {
        name: layout.name(),
        path: run.to_path_buf(),
        about: info.about,
        started: info.started,
        status: info.status,
        stages_done: fresh().filter(|s| s.done).map(|s| s.name.clone()).collect(),
        stage_open: fresh().find(|s| !s.done).map(|s| s.name.clone()),
        seconds: fresh().map(|stage| stage.seconds).sum(),
        last_round,
        evaluation: whole.map(|measured| measured.summary()),
        accuracy: accuracies(&layout)?,
    })
}

/// Puts runs side by side: how they ended, the numbers of their last rounds, and the recipe keys in
/// which they differ.
pub fn compare(runs: &[PathBuf]) -> Result<Comparison> {
    let mut shown = Vec::with_capacity(runs.len());
    let mut recipes = Vec::with_capacity(runs.len());
    for run in runs {
        shown.push(show(run)?);
        let path = Layout::new(run).recipe();
        let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", e))?;
        recipes.push(keys(&text).map_err(|e| e.at(path.display()))?);
    }
    let mut rows = results(&shown);
    rows.extend(differing_keys(&recipes));
    Ok(Comparison {
        runs: shown.into_iter().map(|run| run.name).collect(),
        rows,
    })
}

fn results(runs: &[RunEntry]) -> Vec<(String, Vec<Value>)> {
    let row = |name: &str, of: &dyn Fn(&RunEntry) -> Value| {
        (name.to_owned(), runs.iter().map(of).collect())
    };
    let mut rows = vec![
        row("status", &|run| Value::from(run.status.to_string())),
        row("started", &|run| Value::from(run.started.as_str())),
        row("stages done", &|run| Value::from(run.stages_done.len())),
        row("seconds", &|run| Value::from(run.seconds)),
    ];
    rows.extend(accuracy_rows(runs));
    if runs.iter().all(|run| run.measured().is_none()) {
        return rows;
    }
    rows.push(row("rounds", &|run| {
        Value::from(run.last_round.as_ref().map(|r| r.round))
    }));
    for (index, (name, _)) in RoundSummary::default().numbers().iter().enumerate() {
        let number = |run: &RunEntry| run.measured()?.numbers()[index].1;
        if runs.iter().any(|run| number(run).is_some()) {
            rows.push(row(name, &|run| Value::from(number(run))));
        }
    }
    rows
}

/// How often the judges that the runs trained are right, in the order of the first run that has each.
fn accuracy_rows(runs: &[RunEntry]) -> Vec<(String, Vec<Value>)> {
    let known: Vec<Vec<(String, f64)>> = runs.iter().map(|run| numbers(&run.accuracy)).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in known.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let value = |name: &String, of: &Vec<(String, f64)>| {
        let found = of.iter().find(|(known, _)| known == name);
        Value::from(found.map(|(_, number)| *number))
    };
    let row = |name: &String| {
        let values = known.iter().map(|of| value(name, of)).collect();
        (name.clone(), values)
    };
    names.into_iter().map(row).collect()
}

fn differing_keys(recipes: &[Keys]) -> Vec<(String, Vec<Value>)> {
    let all: BTreeSet<&String> = recipes.iter().flat_map(Keys::keys).collect();
    let values = |key: &String| -> Vec<Option<&String>> {
        recipes.iter().map(|recipe| recipe.get(key)).collect()
    };
    all.into_iter()
        .map(|key| (key, values(key)))
        .filter(|(_, values)| values.windows(2).any(|pair| pair[0] != pair[1]))
        .map(|(key, values)| {
            let values = values.into_iter().map(|v| Value::from(v.cloned()));
            (key.clone(), values.collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{RunDir, stage_key};

    fn summary(round: usize, win_rate: f64) -> RoundSummary {
        RoundSummary {
            round,
            win_rate: Some(win_rate),
            low: Some(win_rate - 0.1),
            high: Some(win_rate + 0.1),
            ..RoundSummary::default()
        }
    }

    fn write(path: &Path, beta: f64, rounds: usize) {
        let mut run = RunDir::create(path, &format!("seed = 1\n[dpo]\nbeta = {beta}\n")).unwrap();
        let key = stage_key(&beta, &[]).unwrap();
        for n in 1..=rounds {
            let stage = run
                .stage(&run.layout().round(n).stage("eval"), key)
                .unwrap();
            let summary = summary(n, 0.5 + n as f64 * beta);
            stage.complete(|_| run.write_round(&summary)).unwrap();
        }
        run.stage("reward", key).unwrap();
        run.end(Ok(())).unwrap();
    }

    fn row(compared: &Comparison, name: &str) -> Option<Vec<Value>> {
        let found = compared.rows.iter().find(|(known, _)| known == name);
        found.map(|(_, values)| values.clone())
    }

    #[test]
    fn runs_are_listed_with_what_they_reached_and_broken_ones_apart() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a"), 0.1, 2);
        write(&dir.path().join("b"), 0.05, 0);
        write(&dir.path().join("c"), 0.05, 1);
        fs::write(dir.path().join("c/run.json"), "[]").unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();

        let (runs, broken) = list(dir.path()).unwrap();
        let names: BTreeSet<_> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["a", "b"]));
        assert!(
            broken[0].message.contains("run.json"),
            "{}",
            broken[0].message
        );
        let a = runs.iter().find(|run| run.name == "a").unwrap();
        assert_eq!(a.status, Status::Done);
        assert_eq!(a.stages_done, ["round-1/eval", "round-2/eval"]);
        assert_eq!(a.stage_open.as_deref(), Some("reward"));
        assert_eq!(a.last_round, Some(summary(2, 0.7)));

        assert!(list(&dir.path().join("nowhere")).unwrap().0.is_empty());
    }

    #[test]
    fn a_run_without_rounds_is_known_by_its_one_evaluation() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a"), dir.path().join("b")];
        write(&paths[0], 0.1, 2);
        write(&paths[1], 0.1, 0);
        let eval = Layout::new(&paths[1]).evaluation("eval");
        fs::create_dir_all(eval.parent().unwrap()).unwrap();
        let result = r#"{"confidence": 0.95, "opinions": [{"judge": "rule", "before": 0, "after": 1, "win_rate": 0.75,
            "low": 0.5, "high": 0.9, "counts": [3, 0, 1]}], "kl": 1.5, "length_before": 20, "length_after": 21, "samples": []}"#;
        fs::write(eval, result).unwrap();
        let compared = compare(&paths).unwrap();
        let row = |name: &str| row(&compared, name).unwrap();
        assert_eq!(row("win_rate"), [Value::from(0.7), Value::from(0.75)]);
        assert_eq!(row("kl"), [Value::Null, Value::from(1.5)]);
        assert_eq!(row("rounds"), [Value::from(2), Value::Null]);
    }

    #[test]
    fn a_comparison_holds_results_and_differing_keys_only() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a"), dir.path().join("b")];
        write(&paths[0], 0.1, 2);
        write(&paths[1], 0.05, 0);
        let compared = compare(&paths).unwrap();
        let row = |name: &str| row(&compared, name);
        assert_eq!(compared.runs, ["a", "b"]);
        assert_eq!(row("win_rate").unwrap(), [Value::from(0.7), Value::Null]);
        assert_eq!(row("rounds").unwrap(), [Value::from(2), Value::Null]);
        assert_eq!(
            row("dpo.beta").unwrap(),
            [Value::from("0.1"), Value::from("0.05")]
        );
        assert_eq!((row("seed"), row("kl")), (None, None));
    }
}
