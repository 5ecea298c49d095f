//! Whether a judge is worth its training: what the evaluation of a stage wrote, beside the best guess that reads nothing.

use super::context::Context;
use crate::error::Result;
use crate::eval::{AccuracyReport, Classified};
use crate::run::read_json;
use crate::trainer::diagnose::HeldOut;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Says it of a judge of pairs, whose report lies in `file`.
///
/// # Errors
/// A file that cannot be read, or metrics that cannot be written.
pub(super) fn of_pairs(cx: &mut Context, stage: &str, file: &Path) -> Result<()> {
    tell(cx, stage, file, |report: &AccuracyReport| {
        let longer = report.length_only.accuracy;
        let guesses = [
            ("a coin", 0.5),
            ("the longer response", longer),
            ("the shorter response", 1.0 - longer),
        ];
        let best = guesses.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let (guess, guessed) = best.unwrap_or(guesses[0]);
        HeldOut {
            accuracy: report.judge.accuracy,
            interval: [report.judge.low, report.judge.high],
            count: report.judge.pairs,
            of: "pairs",
            guess,
            guessed,
        }
    })
}

/// The same of a verifier.
///
/// # Errors
/// As [`of_pairs`].
pub(super) fn of_labels(cx: &mut Context, stage: &str, file: &Path) -> Result<()> {
    tell(cx, stage, file, |report: &Classified| HeldOut {
        accuracy: report.accuracy,
        interval: [report.low, report.high],
        count: report.labels,
        of: "labels",
        guess: "always the same answer",
        guessed: report.majority,
    })
}

/// From the file, as whoever goes on with a run that is measured already shall hear of it, too.
fn tell<T: DeserializeOwned>(
    cx: &mut Context,
    stage: &str,
    file: &Path,
    held_out: fn(&T) -> HeldOut<'static>,
) -> Result<()> {
    // `null` where nothing was held out.
    let report: Option<Option<T>> = read_json(file)?;
    let found = report
        .flatten()
        .and_then(|report| held_out(&report).diagnosis());
    cx.diagnose_again(stage, found.into_iter().collect())
}
