//! Arena-Hard (Li et al. 2024), v0.1 and v2.0: hard prompts of the Chatbot Arena. A judge compares each answer with a baseline's
//! in both orders and says by how much one is better.
//!
//! Rows: `question_id` or `uid`, `category`, and `turns` or `prompt`. Each order is a game: `[[A>B]]` is a win, `[[A=B]]` half of
//! one, `[[A>>B]]` three wins. The win rate is the mean over all wins and losses so counted, as v2.0 counts it; v0.1 fits a
//! Bradley-Terry model, which for one model against one baseline gives the same number. A question of which a game has no
//! verdict is left out, as there.

use super::{Benchmark, Kind, Task};

/// The benchmark.
pub struct ArenaHard;

/// The category of every question of v0.1, and of none of v2.0.
const V0_1: &str = "arena-hard-v0.1";

/// How many games one counts for that was won or lost by far.
const BY_FAR: usize = 3;

const TASK: &str = "You are to judge, without favour, the answers of two AI assistants, A and B, to the prompt below, and to decide \
whose is better.";

/// Left out for creative writing, where there is no right answer to find.
const OWN_ANSWER: &str = " First write your own answer to the prompt, before you judge any other. Then compare both answers with \
it: name every mistake and put it right.";

const WEIGH: &str = " Weigh whether an answer is helpful, that is, does what was asked for, or asks back where the prompt is unclear; \
whether it is relevant, every part of it; and whether it is concise. Then weigh how creative and how new it is, where that matters, \
and what important thing it leaves out.\n\n\
Explain your decision, and end with exactly one of these labels:\n\
1. Assistant A is significantly better: [[A>>B]]\n\
2. Assistant A is slightly better: [[A>B]]\n\
3. Tie, relatively the same: [[A=B]]\n\
4. Assistant B is slightly better: [[B>A]]\n\
5. Assistant B is significantly better: [[B>>A]]\n\n\
For example: \"My final verdict is tie: [[A=B]]\".";

impl Benchmark for ArenaHard {
    fn kind(&self) -> Kind {
        Kind::Versus
    }

    fn temperature(&self, _part: Option<&str>) -> f64 {
        0.0
    }

    fn max_new_tokens(&self) -> usize {
        4096
    }

    fn reply_tokens(&self) -> usize {
        4096
    }

    fn published_baseline(&self, part: Option<&str>) -> Option<&'static str> {
        match part? {
            V0_1 => Some("gpt-4-0314"),
            "hard_prompt" | "coding" | "math" => Some("o3-mini-2025-01-31"),
            "creative_writing" => Some("gemini-2.0-flash-001"),
            _ => None,
        }
    }

    /// First with the baseline as A, then with the answer as A.
    fn asks(&self, task: &Task, answers: &[String], baseline: Option<&str>) -> Vec<String> {
        let (Some(answer), Some(baseline)) = (answers.first(), baseline) else {
            return Vec::new();
        };
        let own = match task.part.as_deref() {
            Some("creative_writing") => "",
            _ => OWN_ANSWER,
        };
        let ask = |a: &str, b: &str| {
            format!(
                "{TASK}{own}{WEIGH}\n\n[User's prompt]\n{}\n\n[Assistant A's answer begins]\n{a}\n[Assistant A's answer ends]\n\n\
                 [Assistant B's answer begins]\n{b}\n[Assistant B's answer ends]",
                task.turns[0]
            )
        };
        vec![ask(baseline, answer), ask(answer, baseline)]
    }

    /// By the rule of v2.0, which reads whatever that of v0.1 reads.
    fn says(&self) -> fn(&str) -> bool {
        |reply| verdict(reply, Several::Last).is_some()
    }

    fn wanted(&self) -> &'static str {
        "verdict such as [[A>B]], and their questions count nowhere"
    }

    fn points(&self, part: Option<&str>, replies: &[String]) -> Option<Vec<Option<f64>>> {
        let [first, second] = replies else {
            return None;
        };
        let several = match part {
            Some(V0_1) => Several::None,
            _ => Several::Last,
        };
        let (as_b, as_a) = (verdict(first, several)?, verdict(second, several)?);
        let as_b = (1.0 - as_b.0, as_b.1);
        let games = [as_b, as_a].into_iter();
        Some(
            games
                .flat_map(|(credit, games)| vec![Some(credit); games])
                .collect(),
        )
    }
}

/// Which of several different labels is the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Several {
    /// v0.1: none of them.
    None,
    /// v2.0: the last one, in capitals or not. Its judges think aloud before they decide.
    Last,
}

/// What A gets of a game, and for how many games it counts. None where a reply has no label that counts.
fn verdict(reply: &str, several: Several) -> Option<(f64, usize)> {
    let reply = match several {
        Several::None => reply.to_owned(),
        Several::Last => reply.to_uppercase(),
    };
    let labels = reply.split("[[").skip(1);
    // What nothing closes was cut off: of `[[A>>B]]` it may have left half.
    let labels = labels.filter_map(|rest| Some(rest.split_once("]]")?.0));
    let is_label = |label: &&str| !label.is_empty() && label.chars().all(|c| "AB<>=".contains(c));
    let labels: Vec<&str> = labels.filter(is_label).collect();
    let last = *labels.last()?;
    if several == Several::None && labels.iter().any(|other| *other != last) {
        return None;
    }
    match last {
        "A>>B" | "B<<A" => Some((1.0, BY_FAR)),
        "A>B" | "B<A" => Some((1.0, 1)),
        "A=B" | "B=A" => Some((0.5, 1)),
        "B>A" | "A<B" => Some((0.0, 1)),
        "B>>A" | "A<<B" => Some((0.0, BY_FAR)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::task;
    use super::*;

    #[test]
    fn a_verdict_is_one_label_and_by_far_counts_three_times() {
        for (reply, wanted) in [
            ("My final verdict is: [[A>>B]]", Some((1.0, 3))),
            ("[[A>B]], as I said: [[A>B]]", Some((1.0, 1))),
            ("tie: [[A=B]]", Some((0.5, 1))),
            ("[[B>A]]", Some((0.0, 1))),
            ("[[A<<B]]", Some((0.0, 3))),
            ("[[A>B]] or [[B>A]]", None),
            ("[[a>b]]", None),
            ("[[A>B", None),
            ("[[A=B]], or rather [[A>", Some((0.5, 1))),
            ("A>B", None),
            ("[[C]]", None),
        ] {
            assert_eq!(verdict(reply, Several::None), wanted, "{reply}");
        }
    }

    #[test]
    fn of_several_labels_v2_0_takes_the_last_and_v0_1_none() {
        for (reply, wanted) in [
            ("[[A>B]]? No: [[B>>A]]", Some((0.0, 3))),
            ("[[a=b]]", Some((0.5, 1))),
            ("[[A>B", None),
            ("[[A>B]] or [[C]]", Some((1.0, 1))),
        ] {
            assert_eq!(verdict(reply, Several::Last), wanted, "{reply}");
        }
        let replies = ["[[A>B]] or [[B>A]]", "[[A=B]]"].map(str::to_owned);
        assert_eq!(ArenaHard.points(Some("arena-hard-v0.1"), &replies), None);
        let points = ArenaHard.points(Some("hard_prompt"), &replies);
        assert_eq!(points, Some(vec![Some(1.0), Some(0.5)]));
    }

    /// The answer is B in the first game and A in the second.
    #[test]
    fn both_orders_are_games_of_the_answer() {
        let points = |first: &str, second: &str| {
            let points = ArenaHard.points(None, &[first.to_owned(), second.to_owned()]);
            points.map(|points| points.into_iter().flatten().collect::<Vec<_>>())
        };
        assert_eq!(points("[[B>A]]", "[[A>>B]]"), Some(vec![1.0; 4]));
        assert_eq!(
            points("[[A>>B]]", "[[A=B]]"),
            Some(vec![0.0, 0.0, 0.0, 0.5])
        );
        // A judge who likes whatever stands first gives each half.
        assert_eq!(points("[[A>B]]", "[[A>B]]"), Some(vec![0.0, 1.0]));
        assert_eq!(points("[[A>B]]", "no idea"), None);
        let asked = ArenaHard.asks(&task(&["Why?"], &[]), &["mine".to_owned()], Some("theirs"));
        assert!(
            asked[0].contains("A's answer begins]\ntheirs"),
            "{}",
            asked[0]
        );
        assert!(
            asked[1].contains("A's answer begins]\nmine"),
            "{}",
            asked[1]
        );
    }

    #[test]
    fn creative_writing_needs_no_answer_of_the_judge() {
        let mut task = task(&["Write a song."], &[]);
        let asks = |task: &Task| ArenaHard.asks(task, &["la".to_owned()], Some("lo"))[0].clone();
        assert!(asks(&task).contains("your own answer"));
        task.part = Some("creative_writing".to_owned());
        assert!(!asks(&task).contains("your own answer"));
    }
}
