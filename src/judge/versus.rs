//! Two sides, response by response: how an evaluation compares two policies with a judge that compares.

use super::judge::{Group, Judge, Scores};
use super::tournament::{Compare, Match};
use crate::error::Result;

/// A judge of groups whose first half is one side's responses and whose second half is the other's. A response's score is
/// the probability, in the mean over the other side's responses, that it is the better one: the two sides' means are 1
/// together.
pub struct Versus<C> {
    /// Who compares.
    pub compare: C,
}

/// Prompts whose matches are judged together.
const TOGETHER: usize = 8;

impl<C: Compare> Judge for Versus<C> {
    fn scores(&mut self, groups: &[Group], from: usize, done: &mut Scores) -> Result<()> {
        for batch in groups[from..].chunks(TOGETHER) {
            let matches: Vec<Match> = batch.iter().flat_map(matches).collect();
            let mut preferred = self.compare.prefer(&matches)?.into_iter();
            for group in batch {
                let side = group.responses.len() / 2;
                let mut scores = vec![0.0; 2 * side];
                for m in matches_of(side) {
                    let p = preferred.next().unwrap_or(0.5);
                    scores[m.0] += p / side as f32;
                    scores[m.1] += (1.0 - p) / side as f32;
                }
                done(group, scores)?;
            }
        }
        Ok(())
    }
}

fn matches(group: &Group) -> impl Iterator<Item = Match<'_>> {
    matches_of(group.responses.len() / 2).map(move |(first, second)| Match {
        group,
        first,
        second,
    })
}

/// Everybody of the first side against everybody of the second.
fn matches_of(side: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..side).flat_map(move |first| (side..2 * side).map(move |second| (first, second)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Prompt;

    /// Prefers `good` to all else.
    struct Good;

    impl Compare for Good {
        fn prefer(&mut self, matches: &[Match]) -> Result<Vec<f32>> {
            let good = |m: &Match, at: usize| f32::from(u8::from(m.group.responses[at] == "good"));
            let p = |m: &Match| 0.5 + 0.5 * (good(m, m.first) - good(m, m.second));
            Ok(matches.iter().map(p).collect())
        }
    }

    #[test]
    fn a_response_is_measured_against_the_other_side_only() {
        let group = Group {
            id: "1".into(),
            prompt: Prompt::Text("?".into()),
            responses: ["good", "bad", "good", "good"].map(String::from).to_vec(),
            answer: None,
        };
        let mut found = Vec::new();
        let mut keep = |_: &Group, scores: Vec<f32>| {
            found.push(scores);
            Ok(())
        };
        let mut judge = Versus { compare: Good };
        judge.scores(&[group], 0, &mut keep).expect("judged");
        assert_eq!(found, [vec![0.5, 0.0, 0.75, 0.75]]);
    }
}
