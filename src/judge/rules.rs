//! Judges that are plain functions of the text: no model, no randomness, and a reason for every score.
//!
//! They serve as the *gold rule* of an experiment: what the pairs are labelled by and the outcome is
//! measured with, while no stage trains on it directly. And they show what a learned judge should at
//! least notice. They do not measure quality; each measures what its line below says and nothing more.

use super::verifiable::{Pattern, answered};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

/// A rule, or a weighted sum of rules. Every score lies in [0, 1]; higher is better.
///
/// As text: `sentence`, `length:40`, `contains:thank you`, or a sum such as
/// `0.5*sentence + 0.3*feelings + 0.2*no_repeats`, whose weights are divided by their total. A phrase cannot
/// hold `+` or `*` there; build the rule in code for that.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Half for a capital at the start, half for `.`, `!` or `?` at the end (a closing quote may follow).
    Sentence,
    /// The share of three-word runs that were not said before; 0 below three words.
    NoRepeats,
    /// A third for each different feeling word, up to three; words in `FEELINGS`.
    Feelings,
    /// A half for each different courtesy, up to two; phrases in `COURTESIES`.
    Polite,
    /// 1 at this many words, falling evenly to 0 at none and at twice as many.
    Length(usize),
    /// 1 if the phrase occurs as whole words, whatever its case.
    Contains(String),
    /// 1 if the phrase does not occur, 1/2 if it occurs once, 1/3 if twice, and so on.
    Avoids(String),
    /// 1 if the regular expression is found. It takes the whole formula: it cannot stand in a sum.
    Matches(Pattern),
    /// 1 if the response comes to the row's `answer`: a rule that only rows with one can be judged by.
    Answer,
    /// Rules with their weights.
    Sum(Vec<(f64, Rule)>),
}

/// What a rule thinks of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// From 0 to 1.
    pub score: f64,
    /// Why, in a few words.
    pub why: String,
}

/// Words that `feelings` counts.
pub const FEELINGS: [&str; 40] = [
    "afraid",
    "amazed",
    "angry",
    "anxious",
    "ashamed",
    "bored",
    "brave",
    "calm",
    "cheerful",
    "curious",
    "delighted",
    "excited",
    "frightened",
    "glad",
    "grateful",
    "happy",
    "hopeful",
    "hurt",
    "jealous",
    "joy",
    "joyful",
    "kind",
    "lonely",
    "love",
    "loved",
    "nervous",
    "peaceful",
    "proud",
    "relieved",
    "sad",
    "scared",
    "shy",
    "sorry",
    "surprised",
    "tired",
    "upset",
    "warm",
    "weary",
    "wonder",
    "worried",
];

/// Phrases that `polite` counts.
pub const COURTESIES: [&str; 8] = [
    "please",
    "thank",
    "sorry",
    "welcome",
    "glad to",
    "happy to",
    "of course",
    "i appreciate",
];

/// The words of the rules, as a recipe writes them.
pub const WORDS: [&str; 9] = [
    "sentence",
    "no_repeats",
    "feelings",
    "polite",
    "length",
    "contains",
    "avoids",
    "matches",
    "answer",
];

impl Rule {
    /// Scores `text`, of a row with that right answer where it has one, and says why. None where the rule asks for an
    /// answer and the row has none.
    pub fn opinion(&self, text: &str, answer: Option<&str>) -> Option<Opinion> {
        Some(match self {
            Self::Sentence => sentence(text.trim()),
            Self::NoRepeats => no_repeats(&words(text)),
            Self::Feelings => found("feelings", &words_of(text, &FEELINGS), 3),
            Self::Polite => found("courtesies", &phrases_of(text, &COURTESIES), 2),
            Self::Length(target) => length(words(text).len(), *target),
            Self::Contains(phrase) => contains(phrase, occurrences(text, phrase)),
            Self::Avoids(phrase) => avoids(phrase, occurrences(text, phrase)),
            Self::Matches(pattern) => pattern.opinion(text),
            Self::Answer => answered(text, answer?),
            Self::Sum(parts) => sum(parts, text, answer)?,
        })
    }

    /// Whether it compares with the row's right answer, so that no row without one can be judged by it.
    pub fn asks_for_answer(&self) -> bool {
        match self {
            Self::Answer => true,
            Self::Sum(parts) => parts.iter().any(|(_, rule)| rule.asks_for_answer()),
            _ => false,
        }
    }
}

fn sentence(text: &str) -> Opinion {
    let starts = text
        .trim_start_matches(['"', '\'', '\u{201c}', '\u{2018}'])
        .starts_with(char::is_uppercase);
    let ends = text
        .trim_end_matches(['"', '\'', ')', '\u{201d}', '\u{2019}'])
        .ends_with(['.', '!', '?']);
    let why = match (starts, ends) {
        (true, true) => "a whole sentence",
        (true, false) => "breaks off",
        (false, true) => "no capital at the start",
        (false, false) => "neither a start nor an end",
    };
    opinion(
        0.5 * f64::from(u8::from(starts)) + 0.5 * f64::from(u8::from(ends)),
        why,
    )
}

fn no_repeats(words: &[String]) -> Opinion {
    let runs = words.windows(3).count();
    if runs == 0 {
        return opinion(0.0, "fewer than three words");
    }
    let distinct = words.windows(3).collect::<HashSet<_>>().len();
    opinion(
        distinct as f64 / runs as f64,
        format!("{} of {runs} three-word runs repeat", runs - distinct),
    )
}

fn length(count: usize, target: usize) -> Opinion {
    let off = count.abs_diff(target) as f64 / target.max(1) as f64;
    opinion(1.0 - off, format!("{count} words, {target} wanted"))
}

fn contains(phrase: &str, count: usize) -> Opinion {
    match count {
        0 => opinion(0.0, format!("does not say `{phrase}`")),
        _ => opinion(1.0, format!("says `{phrase}`")),
    }
}

fn avoids(phrase: &str, count: usize) -> Opinion {
    let why = match count {
        0 => format!("does not say `{phrase}`"),
        _ => format!("says `{phrase}` {count} times"),
    };
    opinion(1.0 / (1 + count) as f64, why)
}

fn found(what: &str, found: &[&str], enough: usize) -> Opinion {
    let why = if found.is_empty() {
        format!("no {what}")
    } else {
        format!("{what}: {}", found.join(", "))
    };
    opinion(found.len() as f64 / enough as f64, why)
}

fn sum(parts: &[(f64, Rule)], text: &str, answer: Option<&str>) -> Option<Opinion> {
    let total: f64 = parts.iter().map(|(weight, _)| weight).sum();
    let mut score = 0.0;
    let mut why = Vec::with_capacity(parts.len());
    for (weight, rule) in parts {
        let part = rule.opinion(text, answer)?;
        score += weight / total * part.score;
        why.push(part.why);
    }
    Some(opinion(score, why.join("; ")))
}

fn opinion(score: f64, why: impl Into<String>) -> Opinion {
    Opinion {
        score: score.clamp(0.0, 1.0),
        why: why.into(),
    }
}

/// Lower-case words without the punctuation around them.
fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| {
        word.trim_matches(|c: char| !c.is_alphanumeric())
            .to_lowercase()
    };
    text.split_whitespace()
        .map(bare)
        .filter(|word| !word.is_empty())
        .collect()
}

/// How often `phrase` occurs as whole words. One without letters or digits is looked for as it stands.
fn occurrences(text: &str, phrase: &str) -> usize {
    let wanted = words(phrase);
    if wanted.is_empty() {
        return if phrase.is_empty() {
            0
        } else {
            text.matches(phrase).count()
        };
    }
    words(text)
        .windows(wanted.len())
        .filter(|run| *run == wanted)
        .count()
}

/// Which of `list` occur as whole words, in the order of the list.
fn words_of<'a>(text: &str, list: &[&'a str]) -> Vec<&'a str> {
    let said: HashSet<String> = words(text).into_iter().collect();
    list.iter()
        .copied()
        .filter(|word| said.contains(*word))
        .collect()
}

/// Which of `list` occur at the start of a word, in the order of the list ("thank" counts in "thanks").
fn phrases_of<'a>(text: &str, list: &[&'a str]) -> Vec<&'a str> {
    let said = format!(" {}", words(text).join(" "));
    list.iter()
        .copied()
        .filter(|phrase| said.contains(&format!(" {phrase}")))
        .collect()
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // A regular expression may hold what stands between rules.
        if let Some(("matches", pattern)) = text.trim().split_once(':') {
            return Ok(Self::Matches(Pattern::new(pattern.trim())?));
        }
        let parts: Vec<(f64, Rule)> = text
            .split('+')
            .map(|part| weighted(part.trim()))
            .collect::<Result<_>>()?;
        match <[(f64, Rule); 1]>::try_from(parts) {
            Ok([(_, rule)]) => Ok(rule),
            Err(parts) => Ok(Self::Sum(parts)),
        }
    }
}

/// `0.5*sentence`, or `sentence` with a weight of 1.
fn weighted(part: &str) -> Result<(f64, Rule)> {
    let Some((weight, rule)) = part.split_once('*') else {
        return Ok((1.0, single(part)?));
    };
    match weight.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok((number, single(rule.trim())?)),
        _ => Err(
            Error::user(format!("`{}` is no weight for a rule", weight.trim()))
                .hint("a weight is a number above 0: `0.5*sentence + 0.5*no_repeats`"),
        ),
    }
}

/// One rule by its word, with its argument after a colon.
fn single(text: &str) -> Result<Rule> {
    let (word, argument) = text
        .split_once(':')
        .map_or((text, None), |(w, a)| (w.trim(), Some(a.trim())));
    match (word, argument) {
        ("sentence", None) => Ok(Rule::Sentence),
        ("no_repeats", None) => Ok(Rule::NoRepeats),
        ("feelings", None) => Ok(Rule::Feelings),
        ("polite", None) => Ok(Rule::Polite),
        ("answer", None) => Ok(Rule::Answer),
        ("length", Some(count)) => match count.parse() {
            Ok(count) if count > 0 => Ok(Rule::Length(count)),
            _ => Err(Error::user(format!(
                "rule `length` wants a number of words, not `{count}`"
            ))
            .hint("write `length:40`")),
        },
        ("contains", Some(phrase)) if !phrase.is_empty() => Ok(Rule::Contains(phrase.to_string())),
        ("avoids", Some(phrase)) if !phrase.is_empty() => Ok(Rule::Avoids(phrase.to_string())),
        ("length", None) => {
            Err(Error::user("rule `length` wants a number of words").hint("write `length:40`"))
        }
        ("matches", _) => Err(Error::user(
            "rule `matches` takes the whole formula, a regular expression",
        )
        .hint(r"write `matches:(?i)^yes\b`, without another rule beside it")),
        ("contains" | "avoids", _) => Err(Error::user(format!("rule `{word}` wants a phrase"))
            .hint(format!("write `{word}:thank you`"))),
        (word, Some(_)) if WORDS.contains(&word) => {
            Err(Error::user(format!("rule `{word}` takes no argument"))
                .hint(format!("write `{word}`")))
        }
        _ => Err(unknown(word)),
    }
}

fn unknown(word: &str) -> Error {
    let near = WORDS
        .into_iter()
        .max_by(|a, b| strsim::jaro_winkler(a, word).total_cmp(&strsim::jaro_winkler(b, word)));
    let near = near.filter(|near| strsim::jaro_winkler(near, word) > 0.8);
    let error = Error::user(format!("no rule is called `{word}`"));
    match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!(
            "one of {}",
            WORDS.map(|w| format!("`{w}`")).join(", ")
        )),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sentence => f.write_str("sentence"),
            Self::NoRepeats => f.write_str("no_repeats"),
            Self::Feelings => f.write_str("feelings"),
            Self::Polite => f.write_str("polite"),
            Self::Length(count) => write!(f, "length:{count}"),
            Self::Contains(phrase) => write!(f, "contains:{phrase}"),
            Self::Avoids(phrase) => write!(f, "avoids:{phrase}"),
            Self::Matches(pattern) => write!(f, "matches:{pattern}"),
            Self::Answer => f.write_str("answer"),
            Self::Sum(parts) => {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|(weight, rule)| format!("{weight}*{rule}"))
                    .collect();
                f.write_str(&parts.join(" + "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().expect("a rule")
    }

    #[test]
    fn each_rule_scores_what_it_says() {
        for (rule_text, text, score) in [
            ("sentence", "Tom went home.", 1.0),
            ("sentence", "\u{201c}Come in!\u{201d}", 1.0),
            ("sentence", "Tom went", 0.5),
            ("sentence", "tom went", 0.0),
            ("sentence", "", 0.0),
            ("no_repeats", "one two three four", 1.0),
            ("no_repeats", "go on go on go", 2.0 / 3.0),
            ("no_repeats", "too short", 0.0),
            ("feelings", "She was happy, Happy and PROUD.", 2.0 / 3.0),
            ("feelings", "proud brave calm shy", 1.0),
            ("feelings", "unhappy", 0.0),
            ("polite", "Thanks! I am happy to help.", 1.0),
            ("polite", "Go away.", 0.0),
            ("length:4", "one two three four", 1.0),
            ("length:4", "one two", 0.5),
            ("length:4", "a b c d e f g h i j", 0.0),
            ("contains:Thank you", "well, thank you.", 1.0),
            ("contains:thank you", "no", 0.0),
            ("contains:sad", "sadly", 0.0),
            ("avoids:sad", "Sad, so sad.", 1.0 / 3.0),
            ("avoids:sad", "sadly", 1.0),
            ("avoids:!", "Oh! No!", 1.0 / 3.0),
            ("matches:o+h*!$", "Oh noo!", 1.0),
            ("answer", "3 and 4 make 7", 1.0),
            ("answer", "3 and 4 make 8", 0.0),
            ("0.5*answer + 0.5*sentence", "Make 7.", 1.0),
        ] {
            let opinion = rule(rule_text).opinion(text, Some("7")).expect("an answer");
            assert!(
                (opinion.score - score).abs() < 1e-12,
                "{rule_text} of `{text}`: {opinion:?}"
            );
            assert!(!opinion.why.is_empty());
        }
    }

    #[test]
    fn a_sum_is_weighted_and_stays_between_0_and_1() {
        let gold = rule("3*sentence + 1*feelings");
        let opinion = gold
            .opinion("Tom was sad", None)
            .expect("no answer is asked for");
        assert!((opinion.score - (0.75 * 0.5 + 0.25 / 3.0)).abs() < 1e-12);
        assert_eq!(opinion.why, "breaks off; feelings: sad");
        let best = gold.opinion("He was sad, brave and calm.", None);
        assert_eq!(best.map(|opinion| opinion.score), Some(1.0));
    }

    /// A row without an answer is not one that is answered wrongly.
    #[test]
    fn without_an_answer_there_is_no_opinion() {
        assert_eq!(
            rule("0.5*sentence + 0.5*answer").opinion("It is 7.", None),
            None
        );
    }

    #[test]
    fn a_rule_is_read_back_as_written() {
        for text in [
            "sentence",
            "length:40",
            "contains:thank you",
            "avoids:oh",
            "matches:a+|b*",
            "answer",
            "0.5*sentence + 0.25*no_repeats + 0.25*feelings",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
    }

    #[test]
    fn every_word_is_a_rule() {
        for word in WORDS {
            let known = ["", ":3"]
                .iter()
                .any(|argument| format!("{word}{argument}").parse::<Rule>().is_ok());
            assert!(known, "{word}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_mend() {
        for (text, expected) in [
            (
                "sentense",
                "no rule is called `sentense`\n\nhint: did you mean `sentence`?",
            ),
            (
                "length:many",
                "rule `length` wants a number of words, not `many`\n\nhint: write `length:40`",
            ),
            (
                "contains",
                "rule `contains` wants a phrase\n\nhint: write `contains:thank you`",
            ),
            (
                "polite:3",
                "rule `polite` takes no argument\n\nhint: write `polite`",
            ),
            (
                "-1*polite",
                "`-1` is no weight for a rule\n\nhint: a weight is a number above 0: `0.5*sentence + 0.5*no_repeats`",
            ),
        ] {
            let error = text.parse::<Rule>().expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
        assert!("sentence + ".parse::<Rule>().is_err());
    }
}
