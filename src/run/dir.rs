//! A run directory that this process owns.

use super::atomic::{create_folder, entries, write_atomic};
use super::info::{RunInfo, Start, Status};
use super::layout::Layout;
use super::lock::RunLock;
use super::metrics::Metrics;
use super::recipe_diff::{Difference, differences, keys};
use super::report::write_report;
use super::stage::{self, Stage, StageRecord, Wanted};
use super::summary::{RoundSummary, Sample};
use crate::error::{Error, Result};
use crate::recipe::without_effect;
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

/// An error lists this many differing keys.
const SHOWN_DIFFERENCES: usize = 12;

/// Keys that say where the run lies, not what it is: from another folder the same run has another path.
const PLACE: [&str; 1] = ["output_dir"];

/// A run directory, locked for this process while the value lives.
#[derive(Debug)]
pub struct RunDir {
    layout: Layout,
    info: RunInfo,
    redo: bool,
    /// How a finished run stood before this call.
    before: Option<RunInfo>,
    /// Whether this call has opened a stage.
    worked: Cell<bool>,
    _lock: RunLock,
}

/// What a panic leaves behind says so: a driver that vanishes ends in one.
impl Drop for RunDir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::device("the device or duel itself failed");
            // There is nobody left to tell of a file that cannot be written.
            let _ = self.end(Err(&error));
        }
    }
}

impl RunDir {
    /// Makes the directory of a new run, or takes up a run of the same recipe.
    ///
    /// `recipe_toml` is the resolved recipe; two recipes are the same when all their keys are.
    ///
    /// # Errors
    ///
    /// A user error when another process holds the run, when it holds another recipe (names the keys that
    /// differ), or when the folder holds something that is no run.
    pub fn create(path: &Path, recipe_toml: &str) -> Result<Self> {
        Self::create_over(path, recipe_toml, false)
    }

    /// The same; with `redo` another recipe may also replace that of a run in which no stage is finished yet, whose
    /// half-done stages then start afresh.
    ///
    /// # Errors
    ///
    /// As [`Self::create`].
    pub fn create_over(path: &Path, recipe_toml: &str, redo: bool) -> Result<Self> {
        let layout = Layout::new(path);
        refuse_foreign(&layout)?;
        create_folder(path)?;
        let lock = RunLock::take(&layout)?;
        if layout.recipe().exists() {
            refuse_other_recipe(&layout, recipe_toml, redo)?;
            return Self::take_up(layout, lock);
        }
        write_atomic(&layout.recipe(), recipe_toml.as_bytes())?;
        Self::start(layout, lock)
    }

    /// Takes up an existing run with the recipe it has.
    ///
    /// # Errors
    ///
    /// A user error when the path is no run, or when another process holds it.
    pub fn open(path: &Path) -> Result<Self> {
        let layout = Layout::new(path);
        if !layout.recipe().exists() {
            let fact = format!("{} is no run: it has no recipe.toml", path.display());
            return Err(Error::user(fact).hint("`duel runs list` shows the runs there are"));
        }
        let lock = RunLock::take(&layout)?;
        Self::take_up(layout, lock)
    }

    /// Notes the command and the machine in `run.json`, and whether finished stages may be redone. Call it once, right after the run is opened.
    pub fn begin(&mut self, start: Start) -> Result<()> {
        self.info.command = start.command;
        self.info.about = start.about;
        self.info.machine = start.machine;
        self.redo = start.redo;
        self.info.write(&self.layout)
    }

    /// Notes in `run.json` what the products of the run's models read.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn computes_in(&mut self, operands: &str) -> Result<()> {
        self.info.computes_in = Some(operands.to_owned());
        self.info.write(&self.layout)
    }

    /// Notes in `run.json` how the run ended; a failed run keeps its error's message. A call that was refused before it
    /// opened a stage leaves a run as it found it.
    pub fn end(&mut self, outcome: std::result::Result<(), &Error>) -> Result<()> {
        match self.before.take() {
            Some(before) if outcome.is_err() && !self.worked.get() => self.info = before,
            _ => self.info.end(outcome),
        }
        self.info.write(&self.layout)
    }

    /// The paths in the directory.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What `run.json` says.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// The text of the resolved recipe.
    pub fn recipe(&self) -> Result<String> {
        read_text(&self.layout.recipe())
    }

    /// Finds out how far a stage is; see [`Stage`]. `key` is the hash of everything its outputs depend
    /// on, made by [`super::stage_key`].
    ///
    /// # Errors
    ///
    /// A user error when the stage is finished with another key and [`Start::redo`] did not allow to
    /// replace it: its data or the model it began with changed.
    pub fn stage(&self, name: &str, key: blake3::Hash) -> Result<Stage> {
        self.open_stage(name, key, false)
    }

    /// The same for a stage that only measures what other stages made: with another key it is repeated
    /// without asking.
    ///
    /// # Errors
    ///
    /// Records that cannot be read or written.
    pub fn measurement(&self, name: &str, key: blake3::Hash) -> Result<Stage> {
        self.open_stage(name, key, true)
    }

    /// Whether finished stages may be thrown away because their inputs changed.
    pub fn redoes(&self) -> bool {
        self.redo
    }

    fn open_stage(&self, name: &str, key: blake3::Hash, measures: bool) -> Result<Stage> {
        let redo = self.redo;
        let wanted = Wanted {
            name,
            key,
            measures,
            redo,
        };
        let stage = stage::open(&self.layout, wanted)?;
        self.worked
            .set(self.worked.get() || matches!(stage, Stage::Open(_)));
        Ok(stage)
    }

    /// Opens `metrics.jsonl` and the TensorBoard file for going on.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::open(&self.layout)
    }

    /// Writes `round-N/eval.json`.
    pub fn write_round(&self, summary: &RoundSummary) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(summary)
            .map_err(|e| Error::internal(format!("cannot write the round's summary: {e}")))?;
        text.push(b'\n');
        write_atomic(&self.layout.round(summary.round).eval(), &text)
    }

    /// Writes the samples of a round, or of a run without rounds.
    pub fn write_samples(&self, round: Option<usize>, samples: &[Sample]) -> Result<()> {
        let path = match round {
            Some(n) => self.layout.round(n).samples(),
            None => self.layout.samples(),
        };
        let mut text = Vec::new();
        for sample in samples {
            serde_json::to_writer(&mut text, sample)
                .map_err(|e| Error::internal(format!("cannot write a sample: {e}")))?;
            text.push(b'\n');
        }
        write_atomic(&path, &text)
    }

    /// Writes `report.html` from what the directory holds now; see [`write_report`].
    pub fn write_report(&self) -> Result<PathBuf> {
        write_report(self.layout.root())
    }

    fn start(layout: Layout, lock: RunLock) -> Result<Self> {
        let info = RunInfo::new();
        info.write(&layout)?;
        create_folder(&layout.logs())?;
        Ok(Self {
            layout,
            info,
            before: None,
            worked: Cell::new(false),
            redo: false,
            _lock: lock,
        })
    }

    fn take_up(layout: Layout, lock: RunLock) -> Result<Self> {
        // A kill between recipe.toml and run.json leaves the first alone.
        if !layout.info().exists() {
            return Self::start(layout, lock);
        }
        let before = RunInfo::read(&layout)?;
        let mut info = before.clone();
        info.resume();
        info.write(&layout)?;
        Ok(Self {
            layout,
            info,
            before: (before.status == Status::Done).then_some(before),
            worked: Cell::new(false),
            redo: false,
            _lock: lock,
        })
    }
}

/// A folder with files but without a recipe is somebody else's: nothing is written there.
fn refuse_foreign(layout: &Layout) -> Result<()> {
    if layout.recipe().exists() {
        return Ok(());
    }
    let foreign = entries(layout.root())?.into_iter().find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && name != "logs"
    });
    let Some(foreign) = foreign else {
        return Ok(());
    };
    let fact = format!(
        "{} is no run (it has no recipe.toml) and is not empty: it holds {}",
        layout.root().display(),
        foreign.file_name().unwrap_or_default().to_string_lossy()
    );
    Err(Error::user(fact).hint("give the run a name of its own with --set name=NAME"))
}

fn refuse_other_recipe(layout: &Layout, recipe_toml: &str, redo: bool) -> Result<()> {
    let path = layout.recipe();
    let mut old = keys(&read_text(&path)?).map_err(|e| e.at(path.display()))?;
    let mut new = keys(recipe_toml)?;
    for key in PLACE {
        old.remove(key);
        new.remove(key);
    }
    let all = differences(&old, &new);
    if all.is_empty() {
        return Ok(());
    }
    let records = stage::stages(layout)?;
    let mut begun = Vec::new();
    for record in &records {
        if stage::holds_work(layout, record)? {
            begun.push(record.name.as_str());
        }
    }
    let matters = |found: &Difference| {
        let table = found.key.split('.').next().unwrap_or_default();
        !without_effect(&found.key) && !is_ahead(table, &begun)
    };
    let differing: Vec<Difference> = all.into_iter().filter(matters).collect();
    let half_done = |record: &&StageRecord| !record.done && begun.contains(&record.name.as_str());
    let unfinished = records.iter().rev().find(half_done);
    let finished = records.iter().any(|record| record.done);
    // Nothing that comes out changes, or nothing of worth is there yet, so that a first mistake can be mended in place:
    // nothing can be mixed up.
    if differing.is_empty() || !finished && (redo || unfinished.is_none()) {
        return write_atomic(&path, recipe_toml.as_bytes());
    }
    let half_done = match unfinished {
        Some(stage) if !finished => format!(", whose stage `{}` is half done", stage.name),
        _ => String::new(),
    };
    let fact = format!(
        "{} is a run of another recipe{half_done}; {}",
        layout.root().display(),
        describe(&differing)
    );
    let instead = match finished {
        true => "the old recipe would continue the old run",
        false => "the old recipe would continue the old run, and --redo throws away what it did",
    };
    let hint = format!(
        "give the new run a name of its own: --set name={}-2 ({instead})",
        layout.name()
    );
    Err(Error::user(fact).hint(hint))
}

/// Whether a table is a stage's that has made nothing yet, so that it may be added, changed or taken away: what the others made
/// stands, and each stage knows what it read. All begin with what `[sft]` makes: it is ahead only of a run without work.
fn is_ahead(table: &str, begun: &[&str]) -> bool {
    let holds = |own: &dyn Fn(&str) -> bool| begun.iter().any(|name| own(name));
    match table {
        "sft" => begun.is_empty(),
        "reward" | "pairwise" | "verifier" | "dpo" => !holds(&|name| name.starts_with(table)),
        "multi_objective" => !holds(&|name| name.starts_with("multi-objective")),
        "online" => !holds(&|name| name.starts_with("round-")),
        // Its stages measure, and are repeated unasked.
        "eval" => true,
        _ => false,
    }
}

fn describe(differing: &[Difference]) -> String {
    let count = differing.len();
    let mut text = match count {
        1 => "1 key differs:".to_owned(),
        _ => format!("{count} keys differ:"),
    };
    for difference in differing.iter().take(SHOWN_DIFFERENCES) {
        text.push_str(&format!("\n  {difference}"));
    }
    if count > SHOWN_DIFFERENCES {
        text.push_str(&format!("\n  and {} more", count - SHOWN_DIFFERENCES));
    }
    text
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::run::Status;

    const RECIPE: &str = "seed = 1\n[train]\nbeta = 0.1\n";

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hh");
        (dir, path)
    }

    #[test]
    fn one_process_at_a_time_and_the_other_is_named() {
        let (_dir, path) = folder();
        let run = RunDir::create(&path, RECIPE).unwrap();
        for second in [RunDir::create(&path, RECIPE), RunDir::open(&path)] {
            let error = second.unwrap_err();
            assert_eq!(error.kind, Kind::User);
            let pid = format!("process {} ", std::process::id());
            assert!(error.message.contains(&pid), "{}", error.message);
        }
        drop(run);
        assert_eq!(RunDir::open(&path).unwrap().info().resumed, 1);
    }

    #[test]
    fn another_recipe_is_refused_with_the_keys_that_differ() {
        let (_dir, path) = folder();
        // Before a stage is finished a recipe may still be mended.
        drop(RunDir::create(&path, "seed = 2").unwrap());
        let run = RunDir::create(&path, RECIPE).unwrap();
        let stage = run.stage("sft", blake3::hash(b"key")).unwrap();
        stage.complete(|_| Ok(())).unwrap();
        drop(run);
        let error = RunDir::create(&path, "seed = 1\ntrain.beta = 0.5").unwrap_err();
        assert_eq!(error.kind, Kind::User);
        assert!(
            error
                .message
                .ends_with("1 key differs:\n  train.beta: 0.1 -> 0.5")
        );
        assert!(error.hint.unwrap().contains("--set name=hh-2"));
        assert_eq!(
            fs::read_to_string(path.join("recipe.toml")).unwrap(),
            RECIPE
        );
    }

    #[test]
    fn a_half_done_stage_is_not_thrown_away_for_another_recipe_unasked() {
        let (_dir, path) = folder();
        let run = RunDir::create(&path, RECIPE).unwrap();
        let Stage::Open(open) = run.stage("dpo", blake3::hash(b"key")).unwrap() else {
            panic!("nothing was done yet");
        };
        let other = "seed = 1\ntrain.beta = 0.5";
        drop(run);
        // A stage that was only begun holds nothing to lose.
        drop(RunDir::create(&path, other).unwrap());
        drop(RunDir::create(&path, RECIPE).unwrap());
        let step = open.folder().unwrap().join("step-160");
        fs::write(&step, "the work of hours").unwrap();
        let error = RunDir::create(&path, other).unwrap_err();
        assert!(
            error.message.contains("`dpo` is half done"),
            "{}",
            error.message
        );
        assert!(error.hint.unwrap().contains("--redo"));
        assert!(step.exists());
        let mut run = RunDir::create_over(&path, other, true).unwrap();
        run.begin(Start {
            redo: true,
            ..Start::default()
        })
        .unwrap();
        assert!(matches!(
            run.stage("dpo", blake3::hash(b"other")).unwrap(),
            Stage::Open(_)
        ));
        assert!(!step.exists());
    }

    #[test]
    fn keys_that_change_no_result_may_change_at_any_time() {
        let (_dir, path) = folder();
        let run = RunDir::create(&path, RECIPE).unwrap();
        let stage = run.stage("sft", blake3::hash(b"key")).unwrap();
        stage.complete(|_| Ok(())).unwrap();
        drop(run);
        let leaner =
            format!("{RECIPE}\n[sft.train]\ngradient_checkpointing = true\nsave_steps = 5");
        let run = RunDir::create(&path, &leaner).unwrap();
        assert_eq!(run.recipe().unwrap(), leaner);
    }

    #[test]
    fn a_stage_that_made_nothing_may_be_added_mended_or_taken_away_and_no_other() {
        let (_dir, path) = folder();
        let run = RunDir::create(&path, RECIPE).unwrap();
        let stage = run.stage("sft", blake3::hash(b"key")).unwrap();
        stage.complete(|_| Ok(())).unwrap();
        drop(run);
        for rounds in [9, 2] {
            let more = format!("{RECIPE}[online]\nrounds = {rounds}\n");
            drop(RunDir::create(&path, &more).unwrap());
        }
        drop(RunDir::create(&path, RECIPE).unwrap());
        let more = format!("{RECIPE}[online]\nrounds = 2\n");
        let run = RunDir::create(&path, &more).unwrap();
        let stage = run.stage("round-1/prompts", blake3::hash(b"key")).unwrap();
        stage.complete(|_| Ok(())).unwrap();
        drop(run);
        // What the others begin with is never ahead of them.
        let below = format!("{more}[sft]\nmax_length = 5\n");
        assert!(RunDir::create(&path, &below).is_err());
        let error = RunDir::create(&path, RECIPE).unwrap_err();
        assert!(
            error.message.contains("online.rounds: 2 -> (not set)"),
            "{}",
            error.message
        );
    }

    #[test]
    fn the_same_recipe_in_other_words_continues() {
        let (_dir, path) = folder();
        drop(RunDir::create(&path, RECIPE).unwrap());
        let run = RunDir::create(&path, "seed = 1 # same\ntrain = { beta = 0.1 }").unwrap();
        assert_eq!(run.recipe().unwrap(), RECIPE);
    }

    #[test]
    fn where_a_run_is_kept_does_not_make_it_another() {
        let (_dir, path) = folder();
        let here = format!("output_dir = \"runs\"\n{RECIPE}");
        let run = RunDir::create(&path, &here).unwrap();
        let stage = run.stage("sft", blake3::hash(b"key")).unwrap();
        stage.complete(|_| Ok(())).unwrap();
        drop(run);
        let there = format!("output_dir = \"w/runs\"\n{RECIPE}");
        let run = RunDir::create(&path, &there).unwrap();
        assert_eq!(run.recipe().unwrap(), here);
    }

    #[test]
    fn somebody_elses_folder_is_left_alone() {
        let (_dir, path) = folder();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis.tex"), "x").unwrap();
        let error = RunDir::create(&path, RECIPE).unwrap_err();
        assert!(error.message.contains("thesis.tex"), "{}", error.message);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        assert_eq!(RunDir::open(&path).unwrap_err().kind, Kind::User);
    }

    #[test]
    fn a_kill_while_it_is_created_is_mended_by_the_same_command() {
        let (_dir, path) = folder();
        drop(RunDir::create(&path, RECIPE).unwrap());
        fs::remove_file(path.join("run.json")).unwrap();
        drop(RunDir::create(&path, RECIPE).unwrap());
        fs::remove_file(path.join("run.json")).unwrap();
        fs::rename(path.join("recipe.toml"), path.join(".recipe.toml.tmp")).unwrap();
        let run = RunDir::create(&path, RECIPE).unwrap();
        assert_eq!(run.info().status, Status::Running);
    }

    #[test]
    fn a_record_that_is_cut_off_is_written_again_and_no_stage_is_lost() {
        let (_dir, path) = folder();
        let run = RunDir::create(&path, RECIPE).unwrap();
        let key = blake3::hash(b"key");
        run.stage("sft", key).unwrap().complete(|_| Ok(())).unwrap();
        drop(run);
        let whole = fs::read(path.join("run.json")).unwrap();
        for rest in [&b""[..], &whole[..whole.len() / 2], &[0; 512][..]] {
            fs::write(path.join("run.json"), rest).unwrap();
            let listed = crate::run::registry::show(&path).unwrap();
            assert_eq!(
                (listed.status, &listed.stages_done[..]),
                (Status::Killed, &["sft".to_owned()][..])
            );
            let run = RunDir::create(&path, RECIPE).unwrap();
            let again = run.stage("sft", key).unwrap();
            again.complete(|_| panic!("the stage is done")).unwrap();
            drop(run);
            assert_eq!(RunInfo::read(&Layout::new(&path)).unwrap().resumed, 1);
        }
        // Whole, but something else: nobody's to write over.
        fs::write(path.join("run.json"), "{\"version\": 1}").unwrap();
        assert_eq!(RunDir::create(&path, RECIPE).unwrap_err().kind, Kind::Data);
    }

    #[test]
    fn the_status_tells_how_it_ended_and_a_kill_too() {
        let (_dir, path) = folder();
        let status = || RunInfo::read(&Layout::new(&path)).unwrap().status;
        let mut run = RunDir::create(&path, RECIPE).unwrap();
        assert_eq!(status(), Status::Running);
        drop(run);
        assert_eq!(status(), Status::Killed);

        run = RunDir::open(&path).unwrap();
        run.end(Err(&Error::interrupted("stopped at step 3")))
            .unwrap();
        assert_eq!(status(), Status::Interrupted);
        run.end(Err(&Error::device("out of memory"))).unwrap();
        assert_eq!(status(), Status::Failed);
        assert_eq!(run.info().error.as_deref(), Some("out of memory"));
        run.end(Ok(())).unwrap();
        assert_eq!(status(), Status::Done);
    }
}
