//! What a judge is worth on rows that it was not trained on.

use super::{Diagnosis, problem, warning};

/// How often a judge is right, beside the best guess that knows nothing of the text. Shares are from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOut<'a> {
    /// How often it is right.
    pub accuracy: f64,
    /// The ends of the interval.
    pub interval: [f64; 2],
    /// What it was measured on: so many.
    pub count: usize,
    /// Pairs or labels.
    pub of: &'a str,
    /// What is guessed without reading: `the longer response`.
    pub guess: &'a str,
    /// How often that is right.
    pub guessed: f64,
}

impl HeldOut<'_> {
    /// A judge whose interval does not lie above the guess.
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        let [low, high] = self.interval;
        if low > self.guessed {
            return None;
        }
        let [accuracy, low_percent, high_percent, guessed] =
            [self.accuracy, low, high, self.guessed].map(|share| 100.0 * share);
        let message = format!(
            "it is right on {accuracy:.1} % of {} held-out {} ({low_percent:.1} to {high_percent:.1}), which is not above {} with \
             {guessed:.1} %",
            self.count, self.of, self.guess
        );
        let of = if high < self.guessed {
            problem
        } else {
            warning
        };
        Some(of(
            "judge-not-above-guess",
            message,
            "hold out more rows if the interval is wide; else train on more rows or with a larger learning rate, and look with \
             `duel data show` whether the rows say what is better",
        ))
    }
}

/// A judge that sees no difference between a policy and its start on any of `prompts` prompts.
pub fn ties_everything(judge: &str, prompts: usize) -> Option<Diagnosis> {
    (prompts > 1).then(|| {
        problem(
            "judge-ties-everything",
            format!("`{judge}` finds the two models' responses to all {prompts} prompts equally good"),
            "look at the samples: is something written, and not the same? else try the judge on two plainly different responses \
             with `duel judge`",
        )
    })
}
