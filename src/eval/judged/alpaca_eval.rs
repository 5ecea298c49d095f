//! AlpacaEval 2 (Dubois et al. 2024): 805 instructions, whose answers are compared with those of GPT-4 Turbo. The published number is
//! the length-controlled win rate.
//!
//! Rows: `instruction`, with `dataset` as the part; answers are `output` with `generator`, and go by their instruction. The judge
//! answers `m` or `M`. There it is asked once, in a random order, and the probability of its letter is the credit; here it is asked
//! in both orders, and each is a win or a loss.

use super::{Benchmark, Kind, Task, turns};
use crate::data::Fields;

/// The benchmark.
pub struct AlpacaEval;

impl Benchmark for AlpacaEval {
    fn kind(&self) -> Kind {
        Kind::Versus
    }

    fn key(&self, row: &Fields) -> Option<String> {
        self.turns(row)?.into_iter().next()
    }

    fn turns(&self, row: &Fields) -> Option<Vec<String>> {
        turns(row, &["instruction", "prompt"])
    }

    fn part(&self, row: &Fields) -> Option<String> {
        row.name("dataset")
    }

    /// AlpacaEval leaves it to each model: greedy, so that a second call draws the same.
    fn temperature(&self, _part: Option<&str>) -> f64 {
        0.0
    }

    fn max_new_tokens(&self) -> usize {
        2048
    }

    fn reply_tokens(&self) -> usize {
        64
    }

    fn rows_hold_baseline(&self) -> bool {
        true
    }

    fn published_baseline(&self, _part: Option<&str>) -> Option<&'static str> {
        Some("gpt4_1106_preview")
    }

    /// First with the baseline as `m`, then with the answer as `m`.
    fn asks(&self, task: &Task, answers: &[String], baseline: Option<&str>) -> Vec<String> {
        let (Some(answer), Some(baseline)) = (answers.first(), baseline) else {
            return Vec::new();
        };
        let ask = |m: &str, other: &str| {
            format!(
                "Two models, `m` and `M`, have answered the same instruction. Say which answer most people would prefer by its \
                 quality.\n\n[Instruction]\n{}\n\n[Model `m` begins]\n{m}\n[Model `m` ends]\n\n[Model `M` begins]\n{other}\n[Model \
                 `M` ends]\n\nReply with the name of the better model, `m` or `M`, and nothing else: no quotes, no full stop, no \
                 line break.",
                task.turns[0]
            )
        };
        vec![ask(baseline, answer), ask(answer, baseline)]
    }

    fn says(&self) -> fn(&str) -> bool {
        |reply| prefers_m(reply).is_some()
    }

    fn wanted(&self) -> &'static str {
        "verdict m or M, and their questions count nowhere"
    }

    fn points(&self, _part: Option<&str>, replies: &[String]) -> Option<Vec<Option<f64>>> {
        let [first, second] = replies else {
            return None;
        };
        let won = [!prefers_m(first)?, prefers_m(second)?];
        Some(won.map(|won| Some(f64::from(u8::from(won)))).to_vec())
    }
}

/// Whether a reply names `m`; its last line does, where a judge reasons before it decides.
fn prefers_m(reply: &str) -> Option<bool> {
    let last = reply.trim_end().lines().last()?;
    match last.trim_matches(|c: char| !c.is_alphanumeric()) {
        "m" => Some(true),
        "M" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_one_letter_whose_case_counts() {
        for (reply, wanted) in [
            ("m", Some(true)),
            ("M", Some(false)),
            ("`M`.", Some(false)),
            ("The second is vague.\n\nm\n", Some(true)),
            ("m or M", None),
            ("Model m", None),
            ("", None),
        ] {
            assert_eq!(prefers_m(reply), wanted, "{reply}");
        }
    }

    #[test]
    fn who_always_names_the_first_gives_each_half() {
        let points = |first: &str, second: &str| {
            AlpacaEval.points(None, &[first.to_owned(), second.to_owned()])
        };
        assert_eq!(points("m", "m"), Some(vec![Some(0.0), Some(1.0)]));
        assert_eq!(points("M", "m"), Some(vec![Some(1.0), Some(1.0)]));
        assert_eq!(points("M", "both"), None);
    }
}
