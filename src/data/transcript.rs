//! Anthropic's transcripts: one text with `\n\nHuman: ` and `\n\nAssistant: ` before the turns.

use crate::text::{Dialogue, Message};

const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";

/// The turns of a transcript; `None` for any other text.
pub(super) fn turns(text: &str) -> Option<Dialogue> {
    let mut rest = text.strip_prefix(HUMAN)?;
    let mut role = "user";
    let mut turns = Vec::new();
    loop {
        let next = [(HUMAN, "user"), (ASSISTANT, "assistant")]
            .into_iter()
            .filter_map(|(mark, role)| Some((rest.find(mark)?, mark.len(), role)))
            .min();
        let words = next.map_or(rest, |(at, ..)| &rest[..at]);
        turns.push(Message::new(role, words.trim()));
        let Some((at, length, next_role)) = next else {
            return Some(turns);
        };
        rest = &rest[at + length..];
        role = next_role;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_becomes_turns_and_other_text_does_not() {
        let text = "\n\nHuman: Hi\n\nthere\n\nAssistant: Yes?\n\nHuman: Bye\n\nAssistant:";
        let expected = [
            Message::user("Hi\n\nthere"),
            Message::assistant("Yes?"),
            Message::user("Bye"),
            Message::assistant(""),
        ];
        assert_eq!(turns(text).as_deref(), Some(expected.as_slice()));
        assert_eq!(turns("Human: Hi"), None);
    }
}
