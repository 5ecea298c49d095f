//! The final answer of a solution, and whether two say the same.

/// What a solution says it comes to: the last `\boxed{..}`, else what follows the last `####`, else what follows the last
/// "answer is", else the last number.
pub fn final_answer(text: &str) -> Option<String> {
    let tidy = |answer: &str| {
        let answer = answer
            .trim()
            .trim_matches('$')
            .trim_end_matches(['.', ','])
            .trim();
        (!answer.is_empty()).then(|| answer.to_owned())
    };
    if let Some(at) = text.rfind("\\boxed{")
        && let Some(inner) = braced(&text[at + "\\boxed".len()..])
    {
        return tidy(inner);
    }
    let line_after = |marker: &str| {
        let at = text.rfind(marker)? + marker.len();
        tidy(text[at..].trim_start_matches([':', ' ']).lines().next()?)
    };
    line_after("####")
        .or_else(|| line_after("answer is"))
        .or_else(|| last_number(text))
}

/// The final answer of a reference: of a solution that marks one (`####`, `\\boxed{..}`) that one, else the text as it stands.
pub fn reference_answer(text: &str) -> String {
    let marked = text.contains("####") || text.contains("\\boxed{");
    let found = if marked { final_answer(text) } else { None };
    found.unwrap_or_else(|| text.trim().to_owned())
}

/// What stands in the braces at the start of a text.
fn braced(text: &str) -> Option<&str> {
    let mut depth = 0usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return text.get(1..at);
                }
            }
            _ => {}
        }
    }
    None
}

fn last_number(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-');
    let mut words = text.split(|c: char| !is_part(c)).rev();
    let found = words.find(|word| word.contains(|c: char| c.is_ascii_digit()))?;
    let found = found.trim_end_matches(['.', ',', '-']);
    Some(found.trim_start_matches([',', '.']).replace(',', ""))
}

/// Whether two final answers are the same: as numbers where both are, else letter by letter without white space.
pub fn equivalent(a: &str, b: &str) -> bool {
    let plain = |text: &str| -> String {
        let marks = |c: &char| !c.is_whitespace() && !matches!(c, '$' | ',' | '%');
        text.chars()
            .filter(marks)
            .collect::<String>()
            .to_lowercase()
    };
    let (a, b) = (plain(a), plain(b));
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_statement_of_a_result_counts() {
        let of = |text: &str| final_answer(text).unwrap_or_default();
        assert_eq!(of("so \\boxed{\\frac{1}{2}} and 3"), "\\frac{1}{2}");
        assert_eq!(of("4 + 5 = 9\n#### 1,009"), "1,009");
        assert_eq!(of("The answer is 7.\nStep 9"), "7");
        assert_eq!(of("It makes 3 apples and 4 pears."), "4");
        assert_eq!(final_answer("I do not know."), None);
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert!(equivalent("1,009", "1009.0"));
        assert!(equivalent("$ x + 1$", "x+1"));
        assert!(!equivalent("12", "1.2"));
    }
}
