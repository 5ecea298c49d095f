//! The numbers of a run: `metrics.jsonl`, and the same as TensorBoard events.
//!
//! One JSON object a line: `{"stage": "sft", "step": 10, "time": 1763.., "loss": 2.31, "grad_norm": 1.2, ...}`
//! with the names TRL gives them, or `{"event": "diagnosis", "stage", "step", "time", "name", ...}`. `null` is a
//! number that was not finite. In TensorBoard the tag is `<stage>/train/<name>`, or `<stage>/eval/<name>` for the names
//! that begin with `eval_`.
//!
//! The law: a stage that resumes at a step drops what it had recorded from that step on and records it again,
//! so that the file of a resumed run is that of an undisturbed one, but for the times. The event file is
//! rebuilt from it at every opening and cannot disagree.

use super::atomic::{entries, write_atomic};
use super::layout::Layout;
use super::lines::{LineWriter, numbered, read_complete};
use super::summary::{Diagnosis, RoundSummary};
use super::tensorboard;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The stage name under which [`Metrics::round`] records.
const ROUNDS: &str = "rounds";

/// The writing end of the metrics of a run.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    events_path: PathBuf,
    /// None while they are written anew: some systems replace no file that is open.
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    lines: LineWriter,
    events: File,
}

/// The numbers of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The stage that recorded it.
    pub stage: String,
    /// The step within the stage.
    pub step: u64,
    /// Seconds since 1970.
    pub time: f64,
    /// Names and numbers in the order they were recorded; not a number where the file has `null`.
    pub values: Vec<(String, f64)>,
}

/// All that was recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The steps, in the order of the file.
    pub records: Vec<Record>,
    /// The diagnoses, in the order of the file.
    pub diagnoses: Vec<Diagnosis>,
}

impl Metrics {
    /// Opens or creates the metrics of a run: cuts a torn last line and rebuilds the event file.
    pub(super) fn open(layout: &Layout) -> Result<Self> {
        let path = layout.metrics();
        let (lines, kept) = LineWriter::open(&path)?;
        let events_path = events_path(layout)?;
        let events = rebuild_events(&events_path, &parse(&path, &kept)?)?;
        Ok(Self {
            path,
            events_path,
            files: Some(Files { lines, events }),
        })
    }

    fn files(&mut self) -> Result<&mut Files> {
        let lost = || Error::internal("the metrics could not be written anew, and are closed");
        self.files.as_mut().ok_or_else(lost)
    }

    /// Drops what a stage recorded at `step` and after: `step` is the first that will be done again.
    ///
    /// Call it whenever a stage begins (step 0) or resumes.
    pub fn resume(&mut self, stage: &str, step: u64) -> Result<()> {
        let bytes = read_complete(&self.path)?;
        let mut kept = Vec::with_capacity(bytes.len());
        for (number, line) in numbered(&bytes) {
            let object = object(&self.path, number, line)?;
            let from_stage = object.get("stage").and_then(Value::as_str) == Some(stage);
            let later = object.get("step").and_then(Value::as_u64) >= Some(step);
            if !(from_stage && later) {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        }
        if kept.len() == bytes.len() {
            return Ok(());
        }
        self.files = None;
        write_atomic(&self.path, &kept)?;
        let (lines, _) = LineWriter::open(&self.path)?;
        let events = rebuild_events(&self.events_path, &parse(&self.path, &kept)?)?;
        self.files = Some(Files { lines, events });
        Ok(())
    }

    /// Records the numbers of one step. Numbers that are not finite become `null`.
    pub fn record(&mut self, stage: &str, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let record = Record {
            stage: stage.to_owned(),
            step,
            time: now(),
            values: values
                .iter()
                .map(|(name, number)| ((*name).to_owned(), *number))
                .collect(),
        };
        let mut object = head(stage, step, record.time);
        for (name, number) in values {
            // Value::from makes null of what JSON has no number for.
            object.insert((*name).to_owned(), Value::from(*number));
        }
        self.append(&object)?;
        let written = self.files()?.events.write_all(&scalars(&record));
        written.map_err(|e| Error::io(&self.events_path, "write", e))
    }

    /// Records a round's numbers under the stage `rounds`, the round being the step. Recording a round
    /// again replaces it.
    pub fn round(&mut self, summary: &RoundSummary) -> Result<()> {
        let step = summary.round as u64;
        self.resume(ROUNDS, step)?;
        let measured = summary.numbers().into_iter();
        let known: Vec<_> = measured.filter_map(|(name, n)| Some((name, n?))).collect();
        self.record(ROUNDS, step, &known)
    }

    /// Records a diagnosis.
    pub fn diagnose(&mut self, diagnosis: &Diagnosis) -> Result<()> {
        let mut object = Map::new();
        object.insert("event".to_owned(), Value::from("diagnosis"));
        object.extend(head(&diagnosis.stage, diagnosis.step, now()));
        let fields = [
            ("name", diagnosis.name.clone()),
            ("severity", diagnosis.severity.to_string()),
            ("message", diagnosis.message.clone()),
            ("mend", diagnosis.mend.clone()),
        ];
        for (key, text) in fields {
            object.insert(key.to_owned(), Value::from(text));
        }
        self.append(&object)
    }

    /// Waits until all records are on the disk. Call it before a checkpoint that counts on them is
    /// written.
    pub fn sync(&self) -> Result<()> {
        self.files
            .as_ref()
            .map_or(Ok(()), |files| files.lines.sync())
    }

    fn append(&mut self, object: &Map<String, Value>) -> Result<()> {
        let line = serde_json::to_vec(object)
            .map_err(|e| Error::internal(format!("cannot write metrics: {e}")))?;
        self.files()?.lines.append(line)
    }
}

impl History {
    /// Reads the metrics of a run, also while another process writes them. A run without any has an
    /// empty history.
    pub fn read(layout: &Layout) -> Result<Self> {
        let path = layout.metrics();
        parse(&path, &read_complete(&path)?)
    }
}

fn head(stage: &str, step: u64, time: f64) -> Map<String, Value> {
    Map::from_iter([
        ("stage".to_owned(), Value::from(stage)),
        ("step".to_owned(), Value::from(step)),
        ("time".to_owned(), Value::from(time)),
    ])
}

fn parse(path: &Path, bytes: &[u8]) -> Result<History> {
    let mut history = History::default();
    for (number, line) in numbered(bytes) {
        let object = object(path, number, line)?;
        if object
            .get("event")
            .is_some_and(|event| event == "diagnosis")
        {
            let diagnosis = serde_json::from_value(Value::Object(object));
            let broken = |e: serde_json::Error| broken(path, number, &e.to_string());
            history.diagnoses.push(diagnosis.map_err(broken)?);
        } else {
            let record = record(object);
            history
                .records
                .push(record.ok_or_else(|| broken(path, number, "`stage` or `step` is missing"))?);
        }
    }
    Ok(history)
}

fn record(object: Map<String, Value>) -> Option<Record> {
    let mut record = Record {
        stage: object.get("stage")?.as_str()?.to_owned(),
        step: object.get("step")?.as_u64()?,
        time: object.get("time").and_then(Value::as_f64).unwrap_or(0.0),
        values: Vec::with_capacity(object.len()),
    };
    for (name, value) in object {
        if ["stage", "step", "time"].contains(&name.as_str()) {
            continue;
        }
        match value {
            Value::Number(number) => record.values.push((name, number.as_f64()?)),
            Value::Null => record.values.push((name, f64::NAN)),
            _ => {}
        }
    }
    Some(record)
}

fn object(path: &Path, number: usize, line: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(line).map_err(|e| broken(path, number, &e.to_string()))
}

fn broken(path: &Path, number: usize, fact: &str) -> Error {
    Error::data(fact)
        .at(format_args!("{}:{number}", path.display()))
        .hint("delete that line: duel reads the others")
}

/// The run's event file: the one there is, or a new name as TensorBoard wants it.
fn events_path(layout: &Layout) -> Result<PathBuf> {
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("events.out.tfevents.")
    };
    if let Some(path) = entries(layout.root())?.into_iter().find(ours) {
        return Ok(path);
    }
    let name = format!("events.out.tfevents.{:.0}.duel", now().floor());
    Ok(layout.root().join(name))
}

fn rebuild_events(path: &Path, history: &History) -> Result<File> {
    let begun = history.records.first().map_or_else(now, |r| r.time);
    let mut bytes = tensorboard::file_header(begun);
    for record in &history.records {
        bytes.extend(scalars(record));
    }
    write_atomic(path, &bytes)?;
    let file = OpenOptions::new().append(true).open(path);
    file.map_err(|e| Error::io(path, "open", e))
}

fn scalars(record: &Record) -> Vec<u8> {
    let tags: Vec<String> = record
        .values
        .iter()
        .map(|(name, _)| match name.strip_prefix("eval_") {
            Some(name) => format!("{}/eval/{name}", record.stage),
            None if record.stage == ROUNDS => format!("{ROUNDS}/{name}"),
            None => format!("{}/train/{name}", record.stage),
        })
        .collect();
    // What the file holds as null must come out the same when the events are rebuilt.
    let numbers = record.values.iter().map(|(_, number)| match number {
        number if number.is_finite() => *number,
        _ => f64::NAN,
    });
    let values = tags.iter().map(String::as_str).zip(numbers);
    tensorboard::scalars(record.time, record.step, values)
}

/// Seconds since 1970, to the millisecond.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |passed| passed.as_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::summary::Severity;
    use crate::run::tensorboard::tests::decode;
    use std::fs;

    fn run() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        (dir, layout)
    }

    /// Two stages of four steps; from `stage` and `step` on, as a resumed process does it.
    fn train(layout: &Layout, stage: &str, step: u64) {
        let mut metrics = Metrics::open(layout).unwrap();
        metrics.resume(stage, step).unwrap();
        for n in step..4 {
            let values = [("loss", 1.0 / (n + 1) as f64), ("eval_loss", f64::NAN)];
            metrics.record(stage, n, &values).unwrap();
            if n == 2 {
                metrics.diagnose(&diagnosis(stage, n)).unwrap();
            }
        }
        metrics.sync().unwrap();
    }

    fn diagnosis(stage: &str, step: u64) -> Diagnosis {
        Diagnosis {
            name: "loss-stuck-at-ln2".to_owned(),
            severity: Severity::Warning,
            message: "the loss is 0.693".to_owned(),
            mend: "raise the learning rate".to_owned(),
            stage: stage.to_owned(),
            step,
        }
    }

    /// The file with its times taken out.
    fn timeless(layout: &Layout) -> Vec<Map<String, Value>> {
        let bytes = fs::read(layout.metrics()).unwrap();
        let objects = numbered(&bytes).map(|(_, line)| {
            let mut object: Map<String, Value> = serde_json::from_slice(line).unwrap();
            object.shift_remove("time").unwrap();
            object
        });
        objects.collect()
    }

    #[test]
    fn killed_at_any_byte_the_resumed_file_equals_the_undisturbed_one() {
        let (_dir, layout) = run();
        train(&layout, "sft", 0);
        train(&layout, "reward", 0);
        let whole = fs::read(layout.metrics()).unwrap();
        let undisturbed = timeless(&layout);
        let third_last = whole.len() - 400;
        for cut in third_last..whole.len() {
            fs::write(layout.metrics(), &whole[..cut]).unwrap();
            train(&layout, "reward", 1);
            assert_eq!(timeless(&layout), undisturbed, "cut at {cut}");
        }
    }

    #[test]
    fn numbers_come_back_and_what_is_not_finite_is_null() {
        let (_dir, layout) = run();
        train(&layout, "sft", 0);
        let text = fs::read_to_string(layout.metrics()).unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with(r#"{"stage":"sft","step":0,"time":"#));
        assert!(
            first.ends_with(r#","loss":1.0,"eval_loss":null}"#),
            "{first}"
        );
        let history = History::read(&layout).unwrap();
        assert_eq!(history.records[3].values[0], ("loss".to_owned(), 0.25));
        assert!(history.records[3].values[1].1.is_nan());
        assert_eq!(history.diagnoses, [diagnosis("sft", 2)]);
    }

    #[test]
    fn the_event_file_says_the_same_also_after_it_is_rebuilt() {
        let (_dir, layout) = run();
        train(&layout, "sft", 0);
        let path = events_path(&layout).unwrap();
        let events = decode(&fs::read(&path).unwrap());
        assert_eq!(events[0].version, "brain.Event:2");
        assert_eq!((events[4].step, events.len()), (3, 5));
        let tags: Vec<_> = events[4]
            .values
            .iter()
            .map(|(tag, _)| tag.as_str())
            .collect();
        assert_eq!(tags, ["sft/train/loss", "sft/eval/loss"]);
        assert_eq!(events[4].values[0].1, 0.25);

        let appended = fs::read(&path).unwrap();
        fs::write(&path, &appended[..appended.len() - 7]).unwrap();
        drop(Metrics::open(&layout).unwrap());
        // As text, because a NaN equals nothing.
        let scalars = |bytes: &[u8]| format!("{:?}", &decode(bytes)[1..]);
        assert_eq!(scalars(&fs::read(&path).unwrap()), scalars(&appended));
        assert_eq!(entries(layout.root()).unwrap().len(), 2, "one event file");
    }

    #[test]
    fn a_round_recorded_again_is_replaced() {
        let (_dir, layout) = run();
        let mut metrics = Metrics::open(&layout).unwrap();
        for kl in [1.0, 2.0] {
            let summary = RoundSummary {
                round: 1,
                kl: Some(kl),
                ..RoundSummary::default()
            };
            metrics.round(&summary).unwrap();
        }
        let records = History::read(&layout).unwrap().records;
        assert_eq!(records.len(), 1);
        let want = [("kl".to_owned(), 2.0)];
        assert_eq!(records[0].values, want);
    }
}
