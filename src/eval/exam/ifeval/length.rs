//! `length_constraints:*`: how many sentences, paragraphs and words.

use super::super::gsm8k::pattern;
use super::Check;
use super::arguments::Arguments;
use super::sentences;
use crate::error::Result;

pub(super) fn sentences(given: &Arguments) -> Result<Check> {
    let (number, relation) = (given.number("num_sentences")?, given.relation("relation")?);
    Ok(Box::new(move |response| {
        relation.holds(sentences::count(response), number)
    }))
}

/// Words are runs of letters, digits and underscores.
pub(super) fn words(given: &Arguments) -> Result<Check> {
    let (number, relation) = (given.number("num_words")?, given.relation("relation")?);
    let word = pattern(r"\w+")?;
    Ok(Box::new(move |response| {
        relation.holds(word.find_iter(response).count(), number)
    }))
}

/// Exactly `num_paragraphs`, divided by `***`; only the first and the last may be empty, and do not count then.
pub(super) fn paragraphs(given: &Arguments) -> Result<Check> {
    let number = given.number("num_paragraphs")?;
    let divider = pattern(r"\s?\*\*\*\s?")?;
    Ok(Box::new(move |response| {
        let parts: Vec<&str> = divider.split(response).collect();
        let last = parts.len() - 1;
        let empty = |at: usize| parts[at].trim().is_empty();
        let inside = (1..last).any(empty);
        !inside && (0..=last).filter(|at| !empty(*at)).count() == number
    }))
}

/// Exactly `num_paragraphs`, divided by an empty line, of which number `nth_paragraph` begins with `first_word`.
pub(super) fn first_word(given: &Arguments) -> Result<Check> {
    let (number, nth) = (
        given.number("num_paragraphs")?,
        given.number("nth_paragraph")?,
    );
    let wanted = given.text("first_word")?.to_lowercase();
    Ok(Box::new(move |response| {
        let parts: Vec<&str> = response.split("\n\n").collect();
        let full = parts.iter().filter(|part| !part.trim().is_empty()).count();
        // As in the original, the nth is counted with the empty ones.
        let Some(paragraph) = nth
            .checked_sub(1)
            .filter(|_| nth <= full)
            .and_then(|at| parts.get(at))
        else {
            return false;
        };
        let Some(word) = paragraph.split_whitespace().next() else {
            return false;
        };
        let word = word.trim_start_matches('\'').trim_start_matches('"');
        let word = word
            .split(['.', ',', '?', '!', '\'', '"'])
            .next()
            .unwrap_or_default();
        full == number && word.to_lowercase() == wanted
    }))
}

#[cfg(test)]
mod tests {
    use super::super::of;

    #[test]
    fn words_and_sentences_are_counted() {
        let few = of(
            "length_constraints:number_words",
            r#"{"num_words": 4, "relation": "less than"}"#,
        );
        assert!(few("Well-known words"));
        assert!(!few("Well-known words here"));
        let two = of(
            "length_constraints:number_sentences",
            r#"{"num_sentences": 2, "relation": "at least"}"#,
        );
        assert!(two("It rains. Dr. Who stays in."));
        assert!(!two("Dr. Who stays in."));
    }

    #[test]
    fn paragraphs_are_divided_and_none_between_is_empty() {
        let two = of(
            "length_constraints:number_paragraphs",
            r#"{"num_paragraphs": 2}"#,
        );
        assert!(two("One.\n***\nTwo."));
        assert!(two("***\nOne.\n***\nTwo.\n***\n"));
        assert!(!two("One.\n***\n***\nTwo."));
        assert!(!two("One."));
    }

    #[test]
    fn the_second_paragraph_begins_with_a_word() {
        let second = of(
            "length_constraints:nth_paragraph_first_word",
            r#"{"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"}"#,
        );
        assert!(second("First this.\n\n'Then, that."));
        assert!(!second("First this.\n\nAnd then that."));
        assert!(!second("First this.\n\nThen that.\n\nAnd more."));
    }
}
