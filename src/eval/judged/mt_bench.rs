//! MT-Bench (Zheng et al. 2023): 80 questions of two turns in eight categories. A judge grades the answer to each turn from 1 to
//! 10; the published number is the mean over all turns.
//!
//! Rows: `question_id`, `category`, `turns` (or `prompt`) and, for mathematics, reasoning and coding, `reference`. The grade of
//! the second turn is given in sight of the whole conversation. A reply without a grade is left out of the means.

use super::{Benchmark, Kind, Task};

/// The benchmark.
pub struct MtBench;

/// What both forms of the question begin with.
const TASK: &str = "You are to judge, without favour, how good an AI assistant's answer is. Weigh how helpful, relevant, accurate, \
deep, creative and detailed it is.";

/// And how its reply has to end.
const FORM: &str = "Begin with a short explanation, as objective as you can make it. Then rate the answer on a scale from 1 to 10, \
strictly in this form: \"[[rating]]\", for example: \"Rating: [[5]]\".";

impl Benchmark for MtBench {
    fn kind(&self) -> Kind {
        Kind::Grades
    }

    /// FastChat's `NEED_REF_CATS`: elsewhere its judge is shown none, even where a row has one. A row of no category is somebody's own.
    fn takes_references(&self, part: Option<&str>) -> bool {
        matches!(part, None | Some("math" | "reasoning" | "coding"))
    }

    /// FastChat's table; a category that it does not name is answered greedily.
    fn temperature(&self, part: Option<&str>) -> f64 {
        match part {
            Some("writing" | "roleplay") => 0.7,
            Some("stem" | "humanities") => 0.1,
            _ => 0.0,
        }
    }

    fn max_new_tokens(&self) -> usize {
        1024
    }

    fn reply_tokens(&self) -> usize {
        2048
    }

    fn asks(&self, task: &Task, answers: &[String], _baseline: Option<&str>) -> Vec<String> {
        let turns = task.turns.len().min(answers.len());
        let ask = |turn: usize| match turn {
            0 => first(task, &answers[0]),
            _ => later(task, turn, answers),
        };
        (0..turns).map(ask).collect()
    }

    fn says(&self) -> fn(&str) -> bool {
        |reply| rating(reply).is_some()
    }

    fn wanted(&self) -> &'static str {
        "rating [[1]] to [[10]] and count nowhere"
    }

    fn points(&self, _part: Option<&str>, replies: &[String]) -> Option<Vec<Option<f64>>> {
        let ratings: Vec<Option<f64>> = replies.iter().map(|reply| rating(reply)).collect();
        ratings.iter().any(Option::is_some).then_some(ratings)
    }
}

/// The question about the first turn.
fn first(task: &Task, answer: &str) -> String {
    let mut asked = format!("{TASK}\n");
    if let Some(reference) = task.reference(0) {
        asked += &format!(
            "You are given a reference answer. Compare the answer with it first: name every mistake and put it right.\n{FORM}\n\n\
             [Question]\n{}\n\n[Reference answer begins]\n{reference}\n[Reference answer ends]\n\n",
            task.turns[0]
        );
    } else {
        asked += &format!("{FORM}\n\n[Question]\n{}\n\n", task.turns[0]);
    }
    asked + &format!("[Assistant's answer begins]\n{answer}\n[Assistant's answer ends]")
}

/// The question about a later turn: the judge sees the whole conversation up to it.
fn later(task: &Task, turn: usize, answers: &[String]) -> String {
    let number = turn + 1;
    let mut asked = format!(
        "{TASK} You see a conversation of {number} turns: grade the assistant's answer to the user's question {number}, and \
         nothing but that.\n"
    );
    let mut shown = String::new();
    let references: Option<Vec<String>> = (0..=turn)
        .map(|turn| task.reference(turn).map(str::to_owned))
        .collect();
    if let Some(references) = references {
        asked += "You are given reference answers. Compare the answer with them first: name every mistake and put it right.\n";
        shown += "[Reference conversation begins]\n";
        shown += &conversation(&task.turns, &references, turn, "Reference answer");
        shown += "[Reference conversation ends]\n\n";
    }
    let held = conversation(&task.turns, answers, turn, "Assistant");
    format!(
        "{asked}{FORM}\n\n{shown}[Assistant's conversation with the user begins]\n{held}[Assistant's conversation with the user ends]"
    )
}

fn conversation(asked: &[String], answers: &[String], last: usize, who: &str) -> String {
    let turns = asked.iter().zip(answers).take(last + 1);
    turns
        .map(|(asked, answer)| format!("### User:\n{asked}\n\n### {who}:\n{answer}\n\n"))
        .collect()
}

/// The grade of a reply: the first number in double brackets, else the first in single ones, as in FastChat; one outside 1 to
/// 10 is no grade.
fn rating(reply: &str) -> Option<f64> {
    let within = |open: &str, close: &str| {
        let inside = reply
            .split(open)
            .skip(1)
            // What nothing closes was cut off: of `[[10]]` it may have left a 1.
            .filter_map(|rest| Some(rest.split_once(close)?.0));
        let mut numbers = inside.filter_map(|text| {
            let digits = |c: char| c.is_ascii_digit() || c == '.';
            let plain = text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(digits);
            plain.then(|| text.parse::<f64>().ok()).flatten()
        });
        numbers.next()
    };
    within("[[", "]]")
        .or_else(|| within("[", "]"))
        .filter(|rating| (1.0..=10.0).contains(rating))
}

#[cfg(test)]
mod tests {
    use super::super::tests::task;
    use super::*;

    #[test]
    fn a_grade_stands_in_brackets_and_lies_between_1_and_10() {
        for (reply, wanted) in [
            ("Good. Rating: [[8]]", Some(8.0)),
            ("[[7.5]] at first, then [[2]]", Some(7.5)),
            ("Rating: [6]", Some(6.0)),
            ("Rating: [[rating]], that is [[9]]", Some(9.0)),
            ("Rating: 8", None),
            ("[[1", None),
            ("Not [[1, but [[5]]", Some(5.0)),
            ("[[0]]", None),
            ("[[11]]", None),
            ("", None),
        ] {
            assert_eq!(rating(reply), wanted, "{reply}");
        }
    }

    #[test]
    fn the_second_turn_is_judged_in_sight_of_the_whole_conversation() {
        let task = task(&["What is 2+2?", "Twice that?"], &["4", "8"]);
        let answers = ["It is 4.".to_owned(), "It is 9.".to_owned()];
        let [first, second] = &MtBench.asks(&task, &answers, None)[..] else {
            panic!("two turns, two questions");
        };
        assert!(first.contains("[Reference answer begins]\n4\n"), "{first}");
        assert!(!first.contains("Twice that?"), "{first}");
        for shown in [
            "What is 2+2?",
            "It is 4.",
            "Twice that?",
            "It is 9.",
            "answer to the user's question 2",
        ] {
            assert!(second.contains(shown), "{shown}: {second}");
        }
        assert!(second.contains("### Reference answer:\n8\n"), "{second}");
        // A model that had no room for its second answer is asked about for the first alone.
        assert_eq!(MtBench.asks(&task, &answers[..1], None).len(), 1);
    }

    #[test]
    fn a_reference_stays_with_its_turn() {
        let mut task = task(&["What is 2+2?", "Twice that?"], &["4", "8"]);
        let answers = ["It is 4.".to_owned(), "It is 9.".to_owned()];
        task.references[0] = None;
        let asked = MtBench.asks(&task, &answers, None);
        // A conversation with a hole in it is none to compare with.
        assert!(
            asked.iter().all(|asked| !asked.contains("eference")),
            "{asked:?}"
        );
        task.references = vec![Some("4".to_owned()), None];
        let asked = MtBench.asks(&task, &answers, None);
        assert!(
            asked[0].contains("[Reference answer begins]\n4\n"),
            "{}",
            asked[0]
        );
        assert!(!asked[1].contains("eference"), "{}", asked[1]);
    }

    #[test]
    fn temperatures_are_those_of_the_categories() {
        let of = |part| MtBench.temperature(Some(part));
        assert_eq!(
            [
                "writing",
                "roleplay",
                "extraction",
                "math",
                "coding",
                "reasoning",
                "stem",
                "humanities"
            ]
            .map(of),
            [0.7, 0.7, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1]
        );
    }
}
