//! Scores from comparisons of two: everybody against everybody, or a knock-out whose matches are linear in the number of
//! responses.

use super::judge::{Group, Judge, Scores};
use crate::error::Result;
use crate::recipe::Rounds;

/// Two responses to one prompt.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a> {
    /// The prompt.
    pub group: &'a Group,
    /// The one whose probability of being the better is asked for.
    pub first: usize,
    /// The other one.
    pub second: usize,
}

/// Tells which of two responses is the better.
pub trait Compare {
    /// The probability that the first response of each match is the better one, whatever the order they are shown in:
    /// `P(a > b) + P(b > a) = 1`.
    ///
    /// # Errors
    /// When a match cannot be judged.
    fn prefer(&mut self, matches: &[Match]) -> Result<Vec<f32>>;
}

/// Warns of comparisons that were not made, which count as ties.
pub(super) fn tell_unread(unread: usize, why: &str, max_length: usize) {
    if unread > 0 {
        tracing::warn!(
            "judge: {unread} comparisons count as ties: {why} into {max_length} tokens; raise the judge's max_length, or draw \
             shorter responses (max_new_tokens)"
        );
    }
}

impl<C: Compare + ?Sized> Compare for Box<C> {
    fn prefer(&mut self, matches: &[Match]) -> Result<Vec<f32>> {
        (**self).prefer(matches)
    }
}

/// A judge that compares.
pub struct Tournament<C> {
    /// Who compares.
    pub compare: C,
    /// Who meets whom.
    pub rounds: Rounds,
}

/// Prompts whose matches are judged together: enough to keep an endpoint busy, few enough to lose little when stopped.
const TOGETHER: usize = 8;

impl<C: Compare> Judge for Tournament<C> {
    fn scores(&mut self, groups: &[Group], from: usize, done: &mut Scores) -> Result<()> {
        // Cut as from the beginning: whoever goes on in the middle asks the same questions.
        for (at, batch) in groups.chunks(TOGETHER).enumerate() {
            let skipped = from.saturating_sub(at * TOGETHER).min(batch.len());
            let open = &batch[skipped..];
            let scores = match self.rounds {
                Rounds::RoundRobin => round_robin(&mut self.compare, open)?,
                Rounds::KnockOut => knock_out(&mut self.compare, open)?,
            };
            open.iter()
                .zip(scores)
                .try_for_each(|(group, scores)| done(group, scores))?;
        }
        Ok(())
    }
}

/// The share of the others that a response is preferred to, in the mean: 0.5 where there is no other.
fn round_robin(compare: &mut dyn Compare, groups: &[Group]) -> Result<Vec<Vec<f32>>> {
    let pairs = |group| {
        let count = count(group);
        let of = move |first| {
            (first + 1..count).map(move |second| Match {
                group,
                first,
                second,
            })
        };
        (0..count).flat_map(of)
    };
    let matches: Vec<Match> = groups.iter().flat_map(pairs).collect();
    let mut preferred = compare.prefer(&matches)?.into_iter();
    let scores = groups.iter().map(|group| {
        let count = count(group);
        let mut wins = vec![0.0; count];
        for Match { first, second, .. } in pairs(group) {
            let p = preferred.next().unwrap_or(0.5);
            wins[first] += p;
            wins[second] += 1.0 - p;
        }
        let others = count.saturating_sub(1);
        let share = |wins: f32| match others {
            0 => 0.5,
            _ => wins / others as f32,
        };
        wins.into_iter().map(share).collect()
    });
    Ok(scores.collect())
}

/// How far each came in a knock-out: neighbours meet, and the better one goes on, with a score above whoever it beat. A tie
/// decides nothing: the earlier goes on, and both have the higher of their scores, so that a judge who finds all alike gives
/// all alike the same.
fn knock_out(compare: &mut dyn Compare, groups: &[Group]) -> Result<Vec<Vec<f32>>> {
    let mut wins: Vec<Vec<f32>> = groups.iter().map(|group| vec![0.0; count(group)]).collect();
    let mut standing: Vec<Vec<usize>> = groups
        .iter()
        .map(|group| (0..count(group)).collect())
        .collect();
    while standing.iter().any(|standing| standing.len() > 1) {
        let mut matches = Vec::new();
        for (group, standing) in groups.iter().zip(&standing) {
            for pair in standing.chunks_exact(2) {
                let (first, second) = (pair[0], pair[1]);
                matches.push(Match {
                    group,
                    first,
                    second,
                });
            }
        }
        let mut preferred = compare.prefer(&matches)?.into_iter();
        for (standing, wins) in standing.iter_mut().zip(&mut wins) {
            let meet = |pair: &[usize]| match *pair {
                [first, second] => {
                    let p = preferred.next().unwrap_or(0.5);
                    let (better, other) = if p < 0.5 {
                        (second, first)
                    } else {
                        (first, second)
                    };
                    let highest = wins[first].max(wins[second]);
                    match p == 0.5 {
                        true => (wins[better], wins[other]) = (highest, highest),
                        false => wins[better] = highest + 1.0,
                    }
                    better
                }
                // Who has no neighbour goes on.
                _ => pair[0],
            };
            *standing = standing.chunks(2).map(meet).collect();
        }
    }
    Ok(wins)
}

fn count(group: &Group) -> usize {
    group.responses.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Prompt;

    /// Prefers the longer response; remembers what it was asked.
    struct Longer(usize);

    impl Compare for Longer {
        fn prefer(&mut self, matches: &[Match]) -> Result<Vec<f32>> {
            self.0 += matches.len();
            let p = |m: &Match| {
                let length = |i: usize| m.group.responses[i].len();
                match length(m.first).cmp(&length(m.second)) {
                    std::cmp::Ordering::Less => 0.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Greater => 1.0,
                }
            };
            Ok(matches.iter().map(p).collect())
        }
    }

    fn groups(all: &[&[&str]]) -> Vec<Group> {
        let group = |(i, responses): (usize, &&[&str])| Group {
            id: i.to_string(),
            prompt: Prompt::Text("?".into()),
            responses: responses.iter().map(|r| (*r).to_owned()).collect(),
            answer: None,
        };
        all.iter().enumerate().map(group).collect()
    }

    fn scores(rounds: Rounds, groups: &[Group], from: usize) -> (Vec<Vec<f32>>, usize) {
        let mut judge = Tournament {
            compare: Longer(0),
            rounds,
        };
        let mut all = Vec::new();
        let mut keep = |_: &Group, scores| {
            all.push(scores);
            Ok(())
        };
        judge.scores(groups, from, &mut keep).expect("judged");
        (all, judge.compare.0)
    }

    #[test]
    fn everybody_meets_everybody_and_scores_are_shares_of_wins() {
        let groups = groups(&[&["a", "aaa", "aa", "aa"], &["a"]]);
        let (found, asked) = scores(Rounds::RoundRobin, &groups, 0);
        let third = |n: f32| n / 3.0;
        assert_eq!(found, [vec![0.0, 1.0, third(1.5), third(1.5)], vec![0.5]]);
        assert_eq!(asked, 6);
    }

    #[test]
    fn a_knock_out_finds_the_best_in_one_match_fewer_than_there_are_responses() {
        let groups = groups(&[&["a", "aaaa", "aaa", "aa", "aaaaa"], &["a", "aa"]]);
        let (found, asked) = scores(Rounds::KnockOut, &groups, 0);
        assert_eq!(found, [vec![0.0, 2.0, 1.0, 0.0, 3.0], vec![0.0, 1.0]]);
        assert_eq!(asked, 4 + 1);
    }

    #[test]
    fn the_best_of_any_number_in_any_place_has_the_highest_score_of_a_knock_out() {
        for count in 2..10 {
            for best in 0..count {
                let length = |i: usize| if i == best { 20 } else { 1 + i % 3 };
                let texts: Vec<String> = (0..count).map(|i| "a".repeat(length(i))).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let (found, _) = scores(Rounds::KnockOut, &groups(&[&texts]), 0);
                let mut others = (0..count).filter(|i| *i != best);
                assert!(others.all(|i| found[0][i] < found[0][best]), "{found:?}");
            }
        }
    }

    #[test]
    fn a_judge_who_finds_all_alike_gives_all_alike_the_same_score() {
        let groups = groups(&[&["a", "b", "c", "d", "e"]]);
        for rounds in [Rounds::RoundRobin, Rounds::KnockOut] {
            let (found, _) = scores(rounds, &groups, 0);
            assert!(
                found[0].iter().all(|score| *score == found[0][0]),
                "{found:?}"
            );
        }
    }

    #[test]
    fn whoever_goes_on_in_the_middle_gets_the_same_scores() {
        let rows: Vec<Vec<String>> = (0..20)
            .map(|i| vec!["a".repeat(i % 7), "a".repeat(i % 5)])
            .collect();
        let texts: Vec<Vec<&str>> = rows
            .iter()
            .map(|row| row.iter().map(String::as_str).collect())
            .collect();
        let texts: Vec<&[&str]> = texts.iter().map(Vec::as_slice).collect();
        let groups = groups(&texts);
        let (all, _) = scores(Rounds::RoundRobin, &groups, 0);
        for from in [0, 3, 8, 19, 20] {
            assert_eq!(scores(Rounds::RoundRobin, &groups, from).0, all[from..]);
        }
    }
}
