//! From verdicts to the result of a chat benchmark.

use super::Kind;
use crate::data::summary;
use crate::error::{Error, Result};
use crate::eval::exam::{Mark, Score};
use crate::eval::{Bout, LengthControlled};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a judge said of one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The row's name.
    pub id: String,
    /// The part of the benchmark that it belongs to.
    pub part: Option<String>,
    /// A grade for each turn, none where it has none; or what the answer gets of each game, from 0 to 1.
    pub points: Vec<Option<f64>>,
    /// Characters of the answers, all turns together, and of the baseline's.
    pub chars: [usize; 2],
    /// What the judge wrote, where it writes.
    pub replies: Vec<String>,
}

/// The result of a chat benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedReport {
    /// The benchmark.
    pub exam: String,
    /// Who judged.
    pub judge: String,
    /// Whose answers are the baseline, where there is one and its rows name it.
    pub baseline: Vec<String>,
    /// Questions with a verdict.
    pub questions: usize,
    /// What is left out, by reason.
    pub left_out: BTreeMap<String, usize>,
    /// Confidence of the intervals, 0 to 1.
    pub confidence: f64,
    /// Every measure: `first_turn`, `second_turn` and `both_turns` in the judge's points; or `win_rate` and
    /// `length_controlled_win_rate`, from 0 to 1.
    pub scores: BTreeMap<String, Score>,
    /// Every measure on each part, where the benchmark has parts.
    pub parts: BTreeMap<String, BTreeMap<String, Score>>,
    /// Mean characters of an answer.
    pub chars: f64,
    /// Mean characters of a baseline's.
    pub baseline_chars: Option<f64>,
}

impl JudgedReport {
    /// Sums verdicts up, with intervals of that `confidence` (0.95). Without verdicts there is no result: an error.
    pub fn of(
        [exam, judge]: [&str; 2],
        kind: Kind,
        judged: &[Judgement],
        confidence: f64,
    ) -> Result<Self> {
        if judged.is_empty() {
            return Err(Error::data("no question has an answer and a verdict").hint(
                "look at what was left out, and whether the answers' ids are those of the questions",
            ));
        }
        let all: Vec<&Judgement> = judged.iter().collect();
        let mut by_part: BTreeMap<&str, Vec<&Judgement>> = BTreeMap::new();
        for one in judged {
            by_part
                .entry(one.part.as_deref().unwrap_or_default())
                .or_default()
                .push(one);
        }
        // A benchmark of one part is that part.
        let parts = by_part
            .iter()
            .filter(|(part, _)| by_part.len() > 1 && !part.is_empty());
        let mean = |side: usize| {
            let chars: Vec<f64> = judged.iter().map(|one| one.chars[side] as f64).collect();
            summary::mean(&chars).unwrap_or_default()
        };
        Ok(Self {
            exam: exam.to_owned(),
            judge: judge.to_owned(),
            baseline: Vec::new(),
            questions: judged.len(),
            left_out: BTreeMap::new(),
            confidence,
            scores: scores(kind, &all, confidence),
            parts: parts
                .map(|(part, judged)| ((*part).to_owned(), scores(kind, judged, confidence)))
                .collect(),
            chars: mean(0),
            baseline_chars: (kind == Kind::Versus).then(|| mean(1)),
        })
    }
}

fn scores(kind: Kind, judged: &[&Judgement], confidence: f64) -> BTreeMap<String, Score> {
    match kind {
        Kind::Grades => graded(judged, confidence),
        Kind::Versus => compared(judged, confidence),
    }
}

/// Mean grades by turn and over all turns. Questions are drawn again for the intervals, with all their turns.
fn graded(judged: &[&Judgement], confidence: f64) -> BTreeMap<String, Score> {
    let turns = judged.iter().map(|one| one.points.len()).max().unwrap_or(0);
    let mut found = BTreeMap::new();
    let mut add = |name: &'static str, of: &dyn Fn(&Judgement) -> Vec<f64>| {
        let mark = |one: &&Judgement| {
            let grades = of(one);
            Mark {
                metric: name,
                sum: grades.iter().sum(),
                of: grades.len(),
            }
        };
        let marks: Vec<Mark> = judged.iter().map(mark).filter(|mark| mark.of > 0).collect();
        if !marks.is_empty() {
            found.insert(name.to_owned(), Score::drawn_again(&marks, confidence));
        }
    };
    let names = ["first_turn", "second_turn", "third_turn", "fourth_turn"];
    for (turn, name) in names.into_iter().enumerate().take(turns) {
        add(name, &|one| {
            one.points
                .get(turn)
                .copied()
                .flatten()
                .into_iter()
                .collect()
        });
    }
    if turns > 1 {
        add("both_turns", &|one| {
            one.points.iter().flatten().copied().collect()
        });
    }
    found
}

/// The win rate over all games, and the one at equal length over questions.
fn compared(judged: &[&Judgement], confidence: f64) -> BTreeMap<String, Score> {
    let games = |one: &Judgement| one.points.iter().flatten().copied().collect::<Vec<f64>>();
    let mark = |one: &&Judgement| {
        let games = games(one);
        Mark {
            metric: "win_rate",
            sum: games.iter().sum(),
            of: games.len(),
        }
    };
    let marks: Vec<Mark> = judged.iter().map(mark).collect();
    let mut found = BTreeMap::from([("win_rate".to_owned(), Score::of(&marks, confidence))]);
    let bout = |one: &&Judgement| Bout {
        credit: summary::mean(&games(one)).unwrap_or(0.5),
        longer: one.chars[0] as f64 - one.chars[1] as f64,
    };
    let bouts: Vec<Bout> = judged.iter().map(bout).collect();
    if let Some(equal) = LengthControlled::of(&bouts, confidence, 0) {
        let LengthControlled {
            win_rate,
            low,
            high,
            ..
        } = equal;
        let count = bouts.len();
        let score = Score {
            mean: win_rate,
            low,
            high,
            count,
        };
        found.insert("length_controlled_win_rate".to_owned(), score);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::statistics::CONFIDENCE;

    fn judgement(id: usize, part: &str, points: &[Option<f64>], chars: [usize; 2]) -> Judgement {
        Judgement {
            id: id.to_string(),
            part: Some(part.to_owned()),
            points: points.to_vec(),
            chars,
            replies: Vec::new(),
        }
    }

    fn report(kind: Kind, judged: &[Judgement]) -> JudgedReport {
        JudgedReport::of(["x", "j"], kind, judged, CONFIDENCE).expect("judged")
    }

    /// FastChat's mean over both turns is over grades, so that a turn without one weighs nothing.
    #[test]
    fn grades_are_averaged_by_turn_by_part_and_over_all() {
        let judged = [
            judgement(1, "math", &[Some(4.0), Some(2.0)], [3, 0]),
            judgement(2, "math", &[Some(6.0), None], [5, 0]),
            judgement(3, "writing", &[Some(8.0), Some(10.0)], [7, 0]),
        ];
        let report = report(Kind::Grades, &judged);
        let mean = |scores: &BTreeMap<String, Score>, name: &str| scores[name].mean;
        assert_eq!(mean(&report.scores, "first_turn"), 6.0);
        assert_eq!(mean(&report.scores, "second_turn"), 6.0);
        assert_eq!(mean(&report.scores, "both_turns"), 6.0);
        assert_eq!(mean(&report.parts["math"], "both_turns"), 4.0);
        assert_eq!(report.parts["math"]["second_turn"].count, 1);
        assert_eq!((report.chars, report.baseline_chars), (5.0, None));
        // The worst grade is a grade, not a share of wins: its interval does not reach below it.
        let ones = [judgement(1, "math", &[Some(1.0)], [1, 0])];
        let score = self::report(Kind::Grades, &ones).scores["first_turn"];
        assert_eq!((score.mean, score.low, score.high), (1.0, 1.0, 1.0));
    }

    #[test]
    fn games_are_averaged_over_all_and_questions_are_what_is_drawn_again() {
        let judged = [
            judgement(
                1,
                "a",
                &[Some(1.0), Some(1.0), Some(1.0), Some(0.5)],
                [10, 10],
            ),
            judgement(2, "a", &[Some(0.0), Some(0.0)], [30, 10]),
        ];
        let report = report(Kind::Versus, &judged);
        let score = report.scores["win_rate"];
        assert!((score.mean - 3.5 / 6.0).abs() < 1e-12);
        assert_eq!((score.low, score.high, score.count), (0.0, 0.875, 6));
        assert!(report.scores.contains_key("length_controlled_win_rate"));
        assert!(report.parts.is_empty(), "one part is the whole");
        assert_eq!((report.chars, report.baseline_chars), (20.0, Some(10.0)));
    }

    #[test]
    fn nothing_judged_is_no_result() {
        assert!(JudgedReport::of(["x", "j"], Kind::Versus, &[], CONFIDENCE).is_err());
    }
}
