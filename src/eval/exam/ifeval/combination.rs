//! `combination:*`: two responses at once, and the prompt before the answer.

use super::Check;
use super::arguments::Arguments;
use crate::error::Result;

/// Two different responses, divided by six asterisks.
pub(super) fn two_responses(response: &str) -> bool {
    let parts: Vec<&str> = response.split("******").map(str::trim).collect();
    let last = parts.len() - 1;
    let inside = (1..last).any(|at| parts[at].is_empty());
    let full: Vec<&&str> = parts.iter().filter(|part| !part.is_empty()).collect();
    !inside && full.len() == 2 && full[0] != full[1]
}

/// The response begins with `prompt_to_repeat`, whatever the case.
pub(super) fn repeat_prompt(given: &Arguments) -> Result<Check> {
    let prompt = given.text("prompt_to_repeat")?.to_lowercase();
    Ok(Box::new(move |response| {
        response.trim().to_lowercase().starts_with(&prompt)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::*;

    #[test]
    fn two_responses_are_two_and_different() {
        assert!(two_responses("Yes.\n******\nNo."));
        assert!(two_responses("******Yes.******No.******"));
        assert!(!two_responses("Yes.******Yes. "));
        assert!(!two_responses("Yes."));
        assert!(!two_responses("Yes.****** ******No."));
    }

    #[test]
    fn the_prompt_comes_first() {
        let repeat = of(
            "combination:repeat_prompt",
            r#"{"prompt_to_repeat": "Who are you? "}"#,
        );
        assert!(repeat(" who are you? A cat."));
        assert!(!repeat("A cat. Who are you?"));
    }
}
