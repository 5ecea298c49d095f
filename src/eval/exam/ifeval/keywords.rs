//! `keywords:*`: words and letters that must, or must not, occur.

use super::Check;
use super::arguments::Arguments;
use crate::error::{Error, Result};
use regex::{Regex, RegexBuilder};

/// All of `keywords` occur, whatever their case.
pub(super) fn existence(given: &Arguments) -> Result<Check> {
    let all = given.texts("keywords")?;
    let all = all
        .iter()
        .map(|word| pattern(word))
        .collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |response| {
        all.iter().all(|word| word.is_match(response))
    }))
}

/// How often `keyword` occurs, also within words.
pub(super) fn frequency(given: &Arguments) -> Result<Check> {
    let (keyword, number) = (
        pattern(&given.text("keyword")?)?,
        given.number("frequency")?,
    );
    let relation = given.relation("relation")?;
    Ok(Box::new(move |response| {
        relation.holds(keyword.find_iter(response).count(), number)
    }))
}

/// None of `forbidden_words` occurs as a whole word.
pub(super) fn forbidden(given: &Arguments) -> Result<Check> {
    let words = given.texts("forbidden_words")?;
    let whole = |word: &String| pattern(&format!(r"\b{word}\b"));
    let words = words.iter().map(whole).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |response| {
        !words.iter().any(|word| word.is_match(response))
    }))
}

/// How often `letter` occurs in either case.
pub(super) fn letter_frequency(given: &Arguments) -> Result<Check> {
    let (letter, number) = (
        given.text("letter")?.to_lowercase(),
        given.number("let_frequency")?,
    );
    let relation = given.relation("let_relation")?;
    Ok(Box::new(move |response| {
        relation.holds(response.to_lowercase().matches(&letter).count(), number)
    }))
}

/// Keywords are patterns, as in the original; one that is none is taken as it stands.
pub(super) fn pattern(keyword: &str) -> Result<Regex> {
    let of = |text: &str| RegexBuilder::new(text).case_insensitive(true).build();
    of(keyword)
        .or_else(|_| of(&regex::escape(keyword)))
        .map_err(|e| Error::data(format!("the keyword `{keyword}`: {e}")))
}

#[cfg(test)]
mod tests {
    use super::super::of;

    #[test]
    fn keywords_occur_in_any_case_and_forbidden_ones_as_whole_words() {
        let both = of("keywords:existence", r#"{"keywords": ["cat", "c("]}"#);
        assert!(both("A Cat calls C(1)"));
        assert!(!both("A cat"));
        let forbidden = of(
            "keywords:forbidden_words",
            r#"{"forbidden_words": ["cat"]}"#,
        );
        assert!(forbidden("concatenate"));
        assert!(!forbidden("The CAT."));
    }

    #[test]
    fn occurrences_are_counted() {
        let few = of(
            "keywords:frequency",
            r#"{"keyword": "the", "frequency": 3, "relation": "less than"}"#,
        );
        assert!(few("The other"));
        assert!(!few("the the THE"));
        let many = of(
            "keywords:letter_frequency",
            r#"{"letter": "A", "let_frequency": 3, "let_relation": "at least"}"#,
        );
        assert!(many("aAa"));
        assert!(!many("aA"));
    }
}
