//! What a pairwise preference model reads: a prompt with two responses side by side, to be answered with the letter of
//! the better one.
//!
//! The words are those of RLHFlow's pair-preference models (Dong et al. 2024, "RLHF Workflow", section 3.2), to the byte as
//! their scripts rendered conversations of user and assistant. Two things differ: their scorer takes away the BOS that the
//! chat template writes, as their training did not, and a system turn, which their models never saw, stands before the words
//! of the user's turn after it.

use super::chat::Chat;
use super::dialogue::{Answer, Message, Prompt};
use super::fit::{Limits, Overflow};
use super::solution::{one_token, opening};
use crate::error::Result;

/// A prompt with two responses, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The turns before the response, rendered: see [`context`].
    pub context: String,
    /// The response in the first place.
    pub first: String,
    /// The response in the second place.
    pub second: String,
}

/// A comparison as ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What the letter follows.
    pub ids: Vec<u32>,
    /// The context lost its beginning.
    pub truncated: bool,
}

/// The ids of the two answers to a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letters {
    /// `A`: the response in the first place is the better one.
    pub a: u32,
    /// `B`: the one in the second place.
    pub b: u32,
}

/// The context of a comparison. Every turn stands on lines of its own under its role:
/// `"\n\n<turn> user\n Hi\n<turn> assistant\n Yo\n"`. What the system says, the user says first.
pub fn context(turns: &[Message]) -> String {
    let under = |role: &str, words: &str| format!("\n<turn> {role}\n {words}");
    let mut text = String::new();
    let mut rules: Vec<&str> = Vec::new();
    for turn in turns {
        if turn.role == "system" {
            rules.push(&turn.content);
            continue;
        }
        let mut words = std::mem::take(&mut rules);
        if turn.role != "user" && !words.is_empty() {
            text += &under("user", &words.join("\n\n"));
            words.clear();
        }
        words.push(&turn.content);
        text += &under(&turn.role, &words.join("\n\n"));
    }
    if !rules.is_empty() {
        text += &under("user", &rules.join("\n\n"));
    }
    format!("\n{text}\n")
}

impl Comparison {
    /// The comparison of two answers to a prompt; ids are decoded.
    ///
    /// # Errors
    /// Ids that are no text.
    pub fn of(chat: &Chat, prompt: &Prompt, first: &Answer, second: &Answer) -> Result<Self> {
        let context = match prompt {
            Prompt::Chat(turns) => context(turns),
            Prompt::Text(text) => context(&[Message::user(text)]),
            Prompt::Ids(ids) => context(&[Message::user(chat.decode(ids, true)?)]),
        };
        Ok(Self {
            context,
            first: words(chat, first)?,
            second: words(chat, second)?,
        })
    }

    /// The same with the responses in each other's place.
    pub fn turned(&self) -> Self {
        Self {
            context: self.context.clone(),
            first: self.second.clone(),
            second: self.first.clone(),
        }
    }

    /// The user turn that asks for the letter.
    pub fn question(&self) -> String {
        let Self {
            context,
            first,
            second,
        } = self;
        format!("[CONTEXT] {context} [RESPONSE A] {first} [RESPONSE B] {second} \n")
    }

    /// The ids that the letter follows, with room for it within the limits; none where the comparison is too long. The
    /// responses are never cut: what gives way is the oldest part of the context, if anything may.
    ///
    /// # Errors
    /// What the chat template cannot render: a model without one cannot be asked.
    pub fn encode(&self, chat: &Chat, limits: &Limits) -> Result<Option<Asked>> {
        let mut cut = self.clone();
        let opening = opening(chat)?;
        loop {
            let mut ids = chat.prompt(&Prompt::Chat(vec![Message::user(cut.question())]))?;
            ids.extend(&opening);
            let excess = (ids.len() + 1).saturating_sub(limits.max_length);
            if excess == 0 {
                let truncated = cut.context.len() < self.context.len();
                return Ok(Some(Asked { ids, truncated }));
            }
            if limits.overflow == Overflow::Drop || cut.context.is_empty() {
                return Ok(None);
            }
            cut.context = without_oldest(chat, &cut.context, excess)?;
        }
    }
}

impl Letters {
    /// The tokens that `A` and `B` are where an assistant's turn begins.
    ///
    /// # Errors
    /// A model without a chat template, or whose tokenizer has no such tokens.
    pub fn of(chat: &Chat) -> Result<Self> {
        Ok(Self {
            a: one_token(chat, "A")?,
            b: one_token(chat, "B")?,
        })
    }
}

/// A response's words; the turns of a longer one are written as in a context.
fn words(chat: &Chat, answer: &Answer) -> Result<String> {
    Ok(match answer {
        Answer::Text(text) => text.clone(),
        Answer::Ids(ids) => chat.decode(ids, true)?,
        Answer::Chat(turns) => match &turns[..] {
            [only] => only.content.clone(),
            [first, rest @ ..] => format!("{}{}", first.content, context(rest).trim_end()),
            [] => String::new(),
        },
    })
}

/// The context without its first `count` tokens; nothing where it has no more.
fn without_oldest(chat: &Chat, context: &str, count: usize) -> Result<String> {
    let tokens = chat.tokenizer().encode_with_ranges(context)?;
    let from = match tokens.get(count) {
        // A character of several tokens is kept or cut whole.
        Some((_, range)) => (range.start..=context.len()).find(|at| context.is_char_boundary(*at)),
        None => None,
    };
    Ok(from.map_or(String::new(), |at| match at {
        // A range that begins at 0 would cut nothing, and never end.
        0 => String::new(),
        at => context[at..].to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_released_models() {
        let turns = |texts: &[&str]| -> Vec<Message> {
            let role = |i: usize| {
                if i.is_multiple_of(2) {
                    "user"
                } else {
                    "assistant"
                }
            };
            let turns = texts.iter().enumerate();
            turns
                .map(|(i, text)| Message::new(role(i), *text))
                .collect()
        };
        assert_eq!(context(&turns(&["Hi"])), "\n\n<turn> user\n Hi\n");
        assert_eq!(
            context(&turns(&["Hi", "Yo", "Q"])),
            "\n\n<turn> user\n Hi\n<turn> assistant\n Yo\n<turn> user\n Q\n"
        );
        let with_rules = [vec![Message::new("system", "Be brief.")], turns(&["Hi"])].concat();
        assert_eq!(context(&with_rules), "\n\n<turn> user\n Be brief.\n\nHi\n");
        let alone = [
            Message::new("system", "Be brief."),
            Message::assistant("Yo"),
        ];
        assert_eq!(
            context(&alone),
            "\n\n<turn> user\n Be brief.\n<turn> assistant\n Yo\n"
        );
        let comparison = Comparison {
            context: context(&turns(&["Hi"])),
            first: "yes".into(),
            second: "no".into(),
        };
        let asked = "[CONTEXT] \n\n<turn> user\n Hi\n [RESPONSE A] yes [RESPONSE B] no \n";
        assert_eq!(comparison.question(), asked);
        let turned = "[CONTEXT] \n\n<turn> user\n Hi\n [RESPONSE A] no [RESPONSE B] yes \n";
        assert_eq!(comparison.turned().question(), turned);
        assert_eq!(comparison.turned().turned(), comparison);
    }
}
