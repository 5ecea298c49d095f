//! `detectable_format:*`: lists, highlights, sections, titles, JSON, and given answers.

use super::super::gsm8k::pattern;
use super::Check;
use super::arguments::Arguments;
use crate::error::Result;
use serde_json::Value;

/// Exactly `num_bullets` lines that begin with `*` or `-`.
pub(super) fn bullets(given: &Arguments) -> Result<Check> {
    let number = given.number("num_bullets")?;
    let (stars, dashes) = (pattern(r"(?m)^\s*\*[^\*].*$")?, pattern(r"(?m)^\s*-.*$")?);
    Ok(Box::new(move |response| {
        stars.find_iter(response).count() + dashes.find_iter(response).count() == number
    }))
}

/// One of three given answers.
pub(super) fn constrained(response: &str) -> bool {
    let given = [
        "My answer is yes.",
        "My answer is no.",
        "My answer is maybe.",
    ];
    given.iter().any(|answer| response.contains(answer))
}

/// At least `num_highlights` between asterisks; as in the original, one between double asterisks is found by both patterns
/// where its inside is not empty.
pub(super) fn highlights(given: &Arguments) -> Result<Check> {
    let number = given.number("num_highlights")?;
    let (single, double) = (pattern(r"\*[^\n\*]*\*")?, pattern(r"\*\*[^\n\*]*\*\*")?);
    Ok(Box::new(move |response| {
        let full = |text: &str| !text.trim_matches('*').trim().is_empty();
        let count = |of: &regex::Regex| of.find_iter(response).filter(|m| full(m.as_str())).count();
        count(&single) + count(&double) >= number
    }))
}

/// At least `num_sections` that begin with `section_spliter` and a number.
pub(super) fn sections(given: &Arguments) -> Result<Check> {
    let (splitter, number) = (
        given.text("section_spliter")?,
        given.number("num_sections")?,
    );
    let section = pattern(&format!(r"\s?{}\s?\d+\s?", regex::escape(&splitter)))?;
    Ok(Box::new(move |response| {
        section.find_iter(response).count() >= number
    }))
}

/// JSON and nothing else, in a Markdown fence or without.
pub(super) fn json(response: &str) -> bool {
    let mut text = response.trim();
    for fence in ["```json", "```Json", "```JSON", "```"] {
        text = text.strip_prefix(fence).unwrap_or(text);
    }
    let text = text.strip_suffix("```").unwrap_or(text).trim();
    serde_json::from_str::<Value>(text).is_ok()
}

/// A title in double angular brackets.
pub(super) fn title(response: &str) -> bool {
    let lines = response.lines();
    let inside = |line: &str| {
        let (_, rest) = line.split_once("<<")?;
        let (inside, _) = rest.rsplit_once(">>")?;
        Some(!inside.trim_matches(['<', '>']).trim().is_empty())
    };
    lines.filter_map(inside).any(|full| full)
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::*;

    #[test]
    fn bullets_are_counted_exactly() {
        let two = of(
            "detectable_format:number_bullet_lists",
            r#"{"num_bullets": 2}"#,
        );
        assert!(two("Such:\n* one\n  - two"));
        assert!(!two("* one"));
        assert!(!two("* one\n* two\n* three"));
        // A bold line is no bullet.
        assert!(two("**Such**\n* one\n* two"));
    }

    #[test]
    fn highlights_and_sections_are_at_least_so_many() {
        let two = of(
            "detectable_format:number_highlighted_sections",
            r#"{"num_highlights": 2}"#,
        );
        assert!(two("*one* and *two*"));
        assert!(!two("*one* and * *"));
        let sections = of(
            "detectable_format:multiple_sections",
            r#"{"section_spliter": "SECTION", "num_sections": 2}"#,
        );
        assert!(sections("SECTION 1\nA\nSECTION 2\nB"));
        assert!(!sections("Section 1\nA\nSection 2\nB"));
    }

    #[test]
    fn json_titles_and_given_answers_are_told() {
        assert!(json("```json\n{\"a\": [1, 2]}\n```"));
        assert!(!json("Here: {\"a\": 1}"));
        assert!(title("<<A title>>\ntext"));
        assert!(!title("<< >> and <<open"));
        assert!(constrained(" My answer is maybe. Or so."));
        assert!(!constrained("Maybe."));
    }
}
