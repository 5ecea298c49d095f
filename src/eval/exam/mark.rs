//! From marks to the result of an exam.

use super::super::statistics::{Interval, RESAMPLES, wilson};
use crate::data::{Key, summary};
use crate::error::{Error, Result};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an answer gets under one metric: `sum` of `of` points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mark {
    /// The metric.
    pub metric: &'static str,
    /// Points that it got.
    pub sum: f64,
    /// Points that there are: 1, or as many as a prompt has instructions.
    pub of: usize,
}

impl Mark {
    /// A mark from 0 to 1.
    pub fn one(metric: &'static str, sum: f64) -> Self {
        Self { metric, sum, of: 1 }
    }

    /// Right or wrong.
    pub fn right(metric: &'static str, right: bool) -> Self {
        Self::one(metric, f64::from(u8::from(right)))
    }
}

/// The marks of one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked {
    /// The question's part of the exam.
    pub part: Option<String>,
    /// One for each metric, always in the same order.
    pub marks: Vec<Mark>,
}

/// A metric over all questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Points got of points there are, from 0 to 1.
    pub mean: f64,
    /// Lower end of its interval: Wilson's where every question is right or wrong, else the percentile bootstrap of
    /// questions, each with all its points.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Points there are.
    pub count: usize,
}

/// The result of an exam.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExamReport {
    /// The exam.
    pub exam: String,
    /// Examples before each question.
    pub shots: usize,
    /// Questions that were answered.
    pub questions: usize,
    /// Questions left out, by reason.
    pub left_out: BTreeMap<String, usize>,
    /// Answers that were not finished when the model had written all that it might, where it wrote some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<usize>,
    /// Answers that come to nothing that can be marked, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_result: Option<usize>,
    /// Confidence of the intervals, 0 to 1.
    pub confidence: f64,
    /// Every metric.
    pub scores: BTreeMap<String, Score>,
    /// Every metric on each part, where the exam has parts.
    pub parts: BTreeMap<String, BTreeMap<String, Score>>,
}

impl ExamReport {
    /// Sums marks up, with intervals of that `confidence` (0.95). No question is an error.
    pub fn of(exam: &str, shots: usize, marked: &[Marked], confidence: f64) -> Result<Self> {
        if marked.is_empty() {
            return Err(Error::data("no question was answered").hint(
                "look at what was left out: --max-length and --limit say how long and how many questions may be",
            ));
        }
        let all: Vec<&Marked> = marked.iter().collect();
        let mut by_part: BTreeMap<&str, Vec<&Marked>> = BTreeMap::new();
        for one in marked {
            if let Some(part) = &one.part {
                by_part.entry(part).or_default().push(one);
            }
        }
        let parts = by_part
            .into_iter()
            .map(|(part, marked)| (part.to_owned(), scores(&marked, confidence)));
        Ok(Self {
            exam: exam.to_owned(),
            shots,
            questions: marked.len(),
            left_out: BTreeMap::new(),
            cut_off: None,
            without_result: None,
            confidence,
            scores: scores(&all, confidence),
            parts: parts.collect(),
        })
    }
}

fn scores(marked: &[&Marked], confidence: f64) -> BTreeMap<String, Score> {
    let metrics = marked.first().map_or(0, |first| first.marks.len());
    let score = |at: usize| {
        let marks: Vec<Mark> = marked.iter().map(|one| one.marks[at]).collect();
        (marks[0].metric.to_owned(), Score::of(&marks, confidence))
    };
    (0..metrics).map(score).collect()
}

impl Score {
    /// Of at least one mark.
    pub fn of(marks: &[Mark], confidence: f64) -> Self {
        let yes_or_no = |mark: &Mark| mark.of == 1 && (mark.sum == 0.0 || mark.sum == 1.0);
        if !marks.iter().all(yes_or_no) {
            return Self::drawn_again(marks, confidence);
        }
        let sum: f64 = marks.iter().map(|mark| mark.sum).sum();
        Self::with(marks, wilson(sum, marks.len(), confidence))
    }

    /// The same with the bootstrap's interval in any case: for grades, among which a 1 is no share.
    pub fn drawn_again(marks: &[Mark], confidence: f64) -> Self {
        Self::with(marks, drawn_again(marks, confidence))
    }

    fn with(marks: &[Mark], Interval { low, high }: Interval) -> Self {
        let count: usize = marks.iter().map(|mark| mark.of).sum();
        let sum: f64 = marks.iter().map(|mark| mark.sum).sum();
        Self {
            mean: sum / count.max(1) as f64,
            low,
            high,
            count,
        }
    }
}

/// Percentile bootstrap of a ratio of sums: questions are drawn, not points, since the points of one question are not
/// independent.
fn drawn_again(marks: &[Mark], confidence: f64) -> Interval {
    let mut rng = Key::new(0).fold("exam").rng();
    let ratio = |_| {
        let (mut sum, mut of) = (0.0, 0);
        for _ in 0..marks.len() {
            let mark = marks[rng.random_range(0..marks.len())];
            sum += mark.sum;
            of += mark.of;
        }
        sum / of.max(1) as f64
    };
    let ratios: Vec<f64> = (0..RESAMPLES).map(ratio).collect();
    let tail = (1.0 - confidence) / 2.0;
    Interval {
        low: summary::quantile(&ratios, tail).unwrap_or(0.0),
        high: summary::quantile(&ratios, 1.0 - tail).unwrap_or(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::statistics::CONFIDENCE;
    use super::*;

    fn marked(part: &str, marks: &[(&'static str, f64, usize)]) -> Marked {
        let mark = |(metric, sum, of): &(&'static str, f64, usize)| Mark {
            metric,
            sum: *sum,
            of: *of,
        };
        Marked {
            part: (!part.is_empty()).then(|| part.to_owned()),
            marks: marks.iter().map(mark).collect(),
        }
    }

    /// Instructions are counted one by one, prompts as a whole.
    #[test]
    fn points_are_summed_over_questions_and_parts_stand_alone() {
        let exam = [
            marked("a", &[("prompt", 1.0, 1), ("instruction", 3.0, 3)]),
            marked("a", &[("prompt", 0.0, 1), ("instruction", 1.0, 2)]),
            marked("b", &[("prompt", 0.0, 1), ("instruction", 0.0, 1)]),
        ];
        let report = ExamReport::of("x", 0, &exam, CONFIDENCE).expect("three questions");
        let score = |name: &str| report.scores[name];
        assert_eq!(
            (score("prompt").mean, score("prompt").count),
            (1.0 / 3.0, 3)
        );
        assert_eq!(
            (score("instruction").mean, score("instruction").count),
            (4.0 / 6.0, 6)
        );
        assert_eq!(report.parts["a"]["instruction"].mean, 0.8);
        assert_eq!(report.parts["b"]["prompt"].mean, 0.0);
        let Interval { low, high } = wilson(1.0, 3, CONFIDENCE);
        assert_eq!((score("prompt").low, score("prompt").high), (low, high));
        // Three questions drawn again may all be the first, or all the last.
        assert_eq!(
            (score("instruction").low, score("instruction").high),
            (0.0, 1.0)
        );
    }

    #[test]
    fn an_exam_without_questions_has_no_result() {
        assert!(ExamReport::of("x", 0, &[], CONFIDENCE).is_err());
    }
}
