//! `change_case:*`: capital and small letters.

use super::arguments::Arguments;
use super::language::is_in;
use super::{Check, sentences};
use crate::error::Result;
use whatlang::Lang;

/// English in capital letters alone.
pub(super) fn english_capital(response: &str) -> bool {
    is_upper(response) && is_in(response, Lang::Eng)
}

/// English in small letters alone.
pub(super) fn english_lowercase(response: &str) -> bool {
    let cased = response.chars().any(char::is_lowercase);
    cased && !response.chars().any(char::is_uppercase) && is_in(response, Lang::Eng)
}

/// How many words are in capital letters alone.
pub(super) fn capital_words(given: &Arguments) -> Result<Check> {
    let (number, relation) = (
        given.number("capital_frequency")?,
        given.relation("capital_relation")?,
    );
    Ok(Box::new(move |response| {
        let words = sentences::words(response);
        relation.holds(words.filter(|word| is_upper(word)).count(), number)
    }))
}

/// As Python's `isupper`: some letter has a case, and none is small.
fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::*;

    #[test]
    fn all_letters_have_the_case() {
        assert!(english_capital(
            "THE SUN IS A STAR THAT GIVES US LIGHT, 24 HOURS A DAY."
        ));
        assert!(!english_capital("THE SUN is A STAR THAT GIVES US LIGHT."));
        assert!(!english_capital(
            "DER HUND LIEGT UNTER DEM TISCH UND SCHLÄFT SEIT HEUTE MORGEN."
        ));
        assert!(english_lowercase("the sun is a star that gives us light."));
        assert!(!english_lowercase("The sun is a star that gives us light."));
        assert!(!english_lowercase("123"));
    }

    #[test]
    fn words_in_capitals_are_counted() {
        let two = of(
            "change_case:capital_word_frequency",
            r#"{"capital_frequency": 2, "capital_relation": "at least"}"#,
        );
        // `I` of "I'm" is a word of its own.
        assert!(two("I'm at NASA."));
        assert!(!two("NASA is far"));
    }
}
