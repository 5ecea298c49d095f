//! Best-of-N: how good the answer is that a judge picks of N, beside a random one, the most frequent and the best.

use super::statistics::{Interval, best_of_n_kl, normal_quantile, wilson};
use crate::text::{final_answer, meaning};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A problem with answers, and how good each is.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempts {
    /// The answers, in the order in which they were drawn.
    pub texts: Vec<String>,
    /// How good each is: 0 or 1 where an answer is right or wrong, or the reward of a gold judge.
    pub gold: Vec<f64>,
}

/// What each way to pick one of the first N answers comes to, in the mean over the problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestOf {
    /// N.
    pub n: usize,
    /// The most that picking the best of N can move a policy, in nats (Stiennon et al. 2020).
    pub kl: f64,
    /// Problems with at least N answers.
    pub problems: usize,
    /// A random answer: pass@1 where answers are right or wrong.
    pub one: Picked,
    /// Majority vote over the final answers; none where gold is not right or wrong.
    pub majority: Option<Picked>,
    /// What each judge picks, in the order they were given; none where it scored no answer of any problem.
    pub judges: Vec<Option<Picked>>,
    /// The best of the N: pass@N.
    pub best: Picked,
}

/// The mean gold of what was picked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Picked {
    /// The mean.
    pub mean: f64,
    /// The interval over problems: Wilson's where answers are right or wrong, else the mean's by the normal.
    pub interval: Interval,
}

impl BestOf {
    /// The first `n` answers of each problem. `scores`: of each judge, of each problem, of each answer; an answer without a score
    /// is not picked. None without a problem that has `n` answers.
    pub fn of(
        n: usize,
        problems: &[Attempts],
        scores: &[Vec<Vec<Option<f64>>>],
        confidence: f64,
    ) -> Option<Self> {
        let enough: Vec<usize> = (0..problems.len())
            .filter(|&i| problems[i].texts.len() >= n)
            .collect();
        if enough.is_empty() || n == 0 {
            return None;
        }
        let binary = problems
            .iter()
            .flat_map(|p| &p.gold)
            .all(|gold| *gold == 0.0 || *gold == 1.0);
        let mean = |values: Vec<f64>| Picked::of(&values, binary, confidence);
        let each =
            |pick: &dyn Fn(usize) -> f64| enough.iter().map(|&i| pick(i)).collect::<Vec<f64>>();
        let first = |i: usize| &problems[i].gold[..n];
        let judges = scores.iter().map(|of_judge| {
            if enough.iter().all(|&i| best(&of_judge[i][..n]).is_none()) {
                return None;
            }
            let pick = |i: usize| match best(&of_judge[i][..n]) {
                Some(at) => problems[i].gold[at],
                // Nothing was scored: any answer is as good.
                None => first(i).iter().sum::<f64>() / n as f64,
            };
            Some(mean(each(&pick)))
        });
        let majority =
            |i: usize| majority(&problems[i].texts[..n]).map_or(0.0, |at| problems[i].gold[at]);
        Some(Self {
            n,
            kl: best_of_n_kl(n),
            problems: enough.len(),
            one: mean(each(&|i| first(i).iter().sum::<f64>() / n as f64)),
            majority: binary.then(|| mean(each(&majority))),
            judges: judges.collect(),
            best: mean(each(&|i| {
                first(i).iter().copied().fold(f64::NEG_INFINITY, f64::max)
            })),
        })
    }
}

impl Picked {
    fn of(values: &[f64], binary: bool, confidence: f64) -> Self {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let interval = match binary {
            true => wilson(values.iter().sum(), count, confidence),
            false => {
                let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
                // A single problem has no spread to tell.
                let error = (squares / (count as f64 - 1.0).max(1.0) / count as f64).sqrt();
                let half = error * normal_quantile(0.5 + confidence / 2.0);
                Interval {
                    low: mean - half,
                    high: mean + half,
                }
            }
        };
        Self { mean, interval }
    }
}

/// The answer with the highest score, the first of equal ones.
fn best(scores: &[Option<f64>]) -> Option<usize> {
    let scored = scores
        .iter()
        .enumerate()
        .filter_map(|(i, score)| Some((i, (*score)?)));
    scored
        .fold(None, |best: Option<(usize, f64)>, (i, score)| match best {
            Some((_, top)) if top >= score => best,
            _ => Some((i, score)),
        })
        .map(|(i, _)| i)
}

/// An answer that says what most say, the first of them; answers without a result have no vote.
fn majority(texts: &[String]) -> Option<usize> {
    // Of each meaning: where it was first said, and how often.
    let mut votes: HashMap<String, (usize, usize)> = HashMap::new();
    for (i, text) in texts.iter().enumerate() {
        if let Some(said) = final_answer(text).as_deref().and_then(meaning) {
            votes.entry(said).or_insert((i, 0)).1 += 1;
        }
    }
    let most = votes
        .into_values()
        .max_by_key(|(first, count)| (*count, std::cmp::Reverse(*first)));
    most.map(|(first, _)| first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(answers: &[&str], right: &str) -> Attempts {
        let gold = |text: &&str| f64::from(u8::from(*text == right));
        Attempts {
            texts: answers
                .iter()
                .map(|answer| format!("So the answer is {answer}."))
                .collect(),
            gold: answers.iter().map(gold).collect(),
        }
    }

    #[test]
    fn each_way_to_pick_has_its_mean() {
        let problems = [
            attempts(&["3", "2", "2", "1"], "2"),
            attempts(&["5", "6", "7", "7"], "5"),
        ];
        let judge = vec![
            vec![Some(0.1), Some(0.9), Some(0.9), Some(0.2)],
            vec![Some(0.3), None, Some(0.8), Some(0.1)],
        ];
        let of = |n| BestOf::of(n, &problems, std::slice::from_ref(&judge), 0.95).expect("answers");
        let four = of(4);
        assert_eq!((four.one.mean, four.best.mean), (3.0 / 8.0, 1.0));
        // The vote is right of the first, and 7 of the second; so is the judge.
        assert_eq!(four.majority.expect("right or wrong").mean, 0.5);
        assert_eq!(four.judges[0].expect("scores").mean, 0.5);
        // Of the first two answers the judge takes the second of the first problem and, the other having no score, the first of the second.
        assert_eq!(of(2).judges[0].expect("scores").mean, 1.0);
        assert!((four.kl - (4f64.ln() - 0.75)).abs() < 1e-12);
        assert_eq!(BestOf::of(5, &problems, &[], 0.95), None);
    }

    #[test]
    fn equal_scores_pick_the_first_and_none_pick_at_random() {
        assert_eq!(best(&[Some(1.0), Some(1.0)]), Some(0));
        assert_eq!(best(&[None, Some(-1.0)]), Some(1));
        assert_eq!(best(&[None, None]), None);
        // Of a problem without a score any answer is as good; a judge that scored nothing at all has no number.
        let problems = [attempts(&["1", "2"], "2"), attempts(&["2", "1"], "2")];
        let of = |scores: Vec<Vec<Option<f64>>>| {
            let of = BestOf::of(2, &problems, &[scores], 0.95).expect("answers");
            of.judges[0].map(|picked| picked.mean)
        };
        let silent = vec![None, None];
        let spoken = vec![Some(1.0), Some(0.0)];
        assert_eq!(of(vec![silent.clone(), spoken]), Some(0.75));
        assert_eq!(of(vec![silent.clone(), silent]), None);
    }

    /// As many answers as one may draw: comparing each with each would take hours.
    #[test]
    fn a_vote_over_many_answers_takes_time_in_their_number_alone() {
        let mut texts: Vec<String> = (0..20_000).map(|i| format!("The answer is {i}.")).collect();
        assert_eq!(majority(&texts), Some(0), "the first of equally many");
        texts.push("The answer is 14/2.".into());
        texts.push("The answer is $7$.".into());
        assert_eq!(majority(&texts), Some(7));
    }

    /// R16: the exact KL of best-of-n over `m` equally likely answers without ties, whose k-th best is picked with probability
    /// `(k/m)^n - ((k-1)/m)^n`: below the bound, and at it as the answers become many.
    #[test]
    fn r16_picking_the_best_moves_a_policy_by_no_more_than_the_bound() {
        for n in [1usize, 2, 4, 16] {
            let kl = |m: usize| -> f64 {
                let up_to = |k: usize| (k as f64 / m as f64).powi(n as i32);
                let term = |k: usize| {
                    let picked = up_to(k) - up_to(k - 1);
                    picked * (picked * m as f64).ln()
                };
                (1..=m).map(term).filter(|term| term.is_finite()).sum()
            };
            let bound = best_of_n_kl(n);
            assert!(kl(3) <= bound + 1e-12 && kl(40) <= bound + 1e-12);
            assert!(
                (kl(100_000) - bound).abs() < 1e-3,
                "{n}: {} {bound}",
                kl(100_000)
            );
        }
    }

    /// With a gold reward there is no vote, and more samples never make the best worse.
    #[test]
    fn a_gold_reward_has_no_vote() {
        let problem = Attempts {
            texts: vec!["a".into(), "b".into(), "c".into()],
            gold: vec![0.2, 0.7, 0.4],
        };
        let of = |n| BestOf::of(n, std::slice::from_ref(&problem), &[], 0.95).expect("answers");
        assert_eq!(
            (of(3).majority, of(3).best.mean, of(1).best.mean),
            (None, 0.7, 0.2)
        );
    }
}
