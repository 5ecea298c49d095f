//! Rules that check a response against a truth: the row's own answer, or a pattern.

use super::rules::Opinion;
use crate::error::{Error, Result};
use crate::text::{comes_to, final_answer, reference_answer};
use regex::Regex;

/// A regular expression, equal to another of the same text.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is no regular expression, and nothing, which is found in every text.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::user(
                "rule `matches` wants a regular expression: nothing is found everywhere",
            )
            .hint(r"write, for example, `matches:(?i)^yes\b`"));
        }
        let pattern = Regex::new(text).map_err(|error| {
            let reason = error.to_string();
            let last = reason.lines().last().unwrap_or_default();
            Error::user(format!("`{text}` is no regular expression: {last}"))
                .hint(r"write, for example, `matches:(?i)^yes\b`")
        })?;
        Ok(Self(pattern))
    }

    /// 1 if the pattern is found anywhere.
    pub fn opinion(&self, text: &str) -> Opinion {
        let found = self.0.find(text);
        Opinion {
            score: f64::from(u8::from(found.is_some())),
            why: match found {
                Some(found) => format!("`{}` matches", found.as_str()),
                None => format!("nothing matches `{self}`"),
            },
        }
    }
}

/// 1 if the response comes to the right answer. One that comes to none is wrong, and is said to.
pub fn answered(text: &str, answer: &str) -> Opinion {
    let wanted = reference_answer(answer);
    let found = final_answer(text);
    let right = comes_to(text, &wanted);
    Opinion {
        score: f64::from(u8::from(right)),
        why: match found {
            Some(found) => format!("comes to {found}, {wanted} is right"),
            None => "comes to no answer".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_right_whose_answer_is() {
        for (text, answer, right) in [
            ("2 + 3 = 5. The answer is 5.", "5", 1.0),
            ("It is \\boxed{5}", "First 2, then 3.\n#### 5", 1.0),
            ("The answer is $18 per day.", "18", 1.0),
            ("The answer is 3 + 4 = 7.", "7", 1.0),
            ("The answer is 3 x.", "3", 0.0),
            ("#### Result\nThe answer is 5.", "5", 1.0),
            ("The answer is ----------5", "5", 0.0),
            ("5 + 1 = 6", "5", 0.0),
            ("I do not know.", "5", 0.0),
        ] {
            assert_eq!(answered(text, answer).score, right, "{text}");
        }
        assert_eq!(answered("Well.", "5").why, "comes to no answer");
    }

    #[test]
    fn a_pattern_is_found_anywhere_or_refused() {
        let pattern = Pattern::new(r"^\d+ (cats|dogs)$").expect("a pattern");
        assert_eq!(pattern.opinion("12 cats").score, 1.0);
        assert_eq!(pattern.opinion("12 cats and 3 dogs").score, 0.0);
        let error = Pattern::new("(").expect_err("no pattern").to_string();
        assert!(
            error.starts_with("`(` is no regular expression: error: unclosed group"),
            "{error}"
        );
        // Found in every text, it would give all responses the same reward.
        assert!("matches: ".parse::<super::super::Rule>().is_err());
    }
}
