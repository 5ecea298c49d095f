//! Where sentences and words end, close to NLTK's Punkt and Treebank tokenizers, which the original uses: without the
//! statistics that Punkt learned, so that a rare abbreviation may end a sentence here and not there.

/// Words with a full stop that ends no sentence.
const ABBREVIATIONS: [&str; 34] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "inc", "ltd", "co", "corp",
    "e.g", "i.e", "a.m", "p.m", "u.s", "u.k", "d.c", "gen", "col", "lt", "sgt", "rev", "hon",
    "ph.d", "jan", "feb", "aug", "sept", "oct", "dec",
];

/// What may stand between the end of a sentence and the blank after it.
const CLOSERS: [char; 12] = [')', '"', ';', '}', ']', '*', ':', '@', '\'', '(', '{', '['];

/// How many sentences a text has.
pub(super) fn count(text: &str) -> usize {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let ends = tokens
        .windows(2)
        .filter(|pair| ends(pair[0], pair[1]))
        .count();
    match tokens.is_empty() {
        true => 0,
        false => ends + 1,
    }
}

/// Whether a sentence ends with `token` where `next` follows.
fn ends(token: &str, next: &str) -> bool {
    let token = token.trim_end_matches(CLOSERS);
    if token.ends_with(['!', '?']) {
        return true;
    }
    let Some(word) = token.strip_suffix('.') else {
        return false;
    };
    let starts_small = next.chars().next().is_some_and(char::is_lowercase);
    if word.ends_with('.') {
        // Dots that trail off.
        return !starts_small;
    }
    let word = word
        .trim_start_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    !initial && !ABBREVIATIONS.contains(&word.as_str())
}

/// The words of a text; punctuation parts them, and what is contracted is two words (`I'm`, `CAN'T`).
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let parts = |c: char| c.is_whitespace() || "?!\"()[]{}<>;:,@#$%&".contains(c);
    text.split(parts)
        .filter(|word| !word.is_empty())
        .flat_map(|word| {
            let [first, second] = contraction(word);
            [first, second].into_iter().filter(|part| !part.is_empty())
        })
}

/// The two words of a contraction; the second is empty where there is none.
fn contraction(word: &str) -> [&str; 2] {
    let lower = word.to_ascii_lowercase();
    let ending = ["n't", "'ll", "'re", "'ve", "'s", "'m", "'d"];
    let ending = ending
        .iter()
        .find(|ending| lower.len() > ending.len() && lower.ends_with(**ending));
    let (first, second) = word.split_at(word.len() - ending.map_or(0, |ending| ending.len()));
    [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_a_reader_stops() {
        for (text, sentences) in [
            ("", 0),
            ("One", 1),
            ("It rains. It pours! Does it?", 3),
            ("Mr. J. Smith met Dr. Who at 5 p.m. in D.C. today.", 1),
            ("It costs 3.50 dollars. Cheap.", 2),
            ("He said \"no.\" Then he left.", 2),
            ("Well... it may be... It is.", 2),
            ("1. One\n2. Two", 3),
        ] {
            assert_eq!(count(text), sentences, "{text}");
        }
    }

    #[test]
    fn contractions_are_two_words() {
        let of = |text| words(text).collect::<Vec<_>>();
        assert_eq!(
            of("I'm, well-known: CAN'T!"),
            ["I", "'m", "well-known", "CA", "N'T"]
        );
        assert_eq!(of("the dogs' 's"), ["the", "dogs'", "'s"]);
    }
}
