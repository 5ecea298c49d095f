//! What a verifier reads: a problem and its solution step by step, each step answered with `+` or `-`.
//!
//! The form is that of RLHFlow's math reward models (Dong et al. 2024; the labels are Math-Shepherd's, Wang et al. 2024): the
//! first user turn is the problem, a blank and the first step, each later one a step, and the assistant's turn after each is
//! the mark. An outcome model sees one such exchange, with the whole solution in it.

use super::chat::Chat;
use super::dialogue::{Answer, Message, Prompt, SftText};
use crate::error::{Error, Result};

/// The ids of the two marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// `+`: right so far.
    pub good: u32,
    /// `-`: wrong.
    pub bad: u32,
}

/// A solution as ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The conversation, up to and with the last mark.
    pub ids: Vec<u32>,
    /// Where the mark of each step stands.
    pub at: Vec<usize>,
}

/// The steps of a solution: what stands between separators, without the white space around it.
pub fn steps(text: &str, separator: &str) -> Vec<String> {
    let steps = text.split(separator).map(str::trim);
    let steps = steps.filter(|step| !step.is_empty());
    steps.map(str::to_owned).collect()
}

impl Marks {
    /// The words of the marks.
    pub const WORDS: [&str; 2] = ["+", "-"];

    /// The tokens that the marks are where an assistant's turn begins.
    ///
    /// # Errors
    /// A model without a chat template, or whose tokenizer has no such tokens.
    pub fn of(chat: &Chat) -> Result<Self> {
        let [good, bad] = Self::WORDS;
        Ok(Self {
            good: one_token(chat, good)?,
            bad: one_token(chat, bad)?,
        })
    }

    /// The words of a mark.
    fn word(good: bool) -> &'static str {
        Self::WORDS[usize::from(!good)]
    }

    /// The conversation in which each of `steps` has its mark: whether it is good. What the model reads of a step are the
    /// marks before it, so all steps of a solution can be scored in one pass.
    ///
    /// # Errors
    /// What the template cannot render, or an answer in which the mark is not a token of its own.
    pub fn put(
        self,
        chat: &Chat,
        prompt: &Prompt,
        steps: &[String],
        good: &[bool],
    ) -> Result<Marked> {
        let mut turns = asked(chat, prompt)?;
        for (i, (step, good)) in steps.iter().zip(good).enumerate() {
            match turns.last_mut() {
                // The problem: the first step stands behind it.
                Some(problem) if i == 0 && problem.role == "user" => {
                    problem.content = format!("{} {step}", problem.content);
                }
                _ => turns.push(Message::user(step)),
            }
            turns.push(Message::assistant(Self::word(*good)));
        }
        let before = turns.len() - 2 * steps.len();
        let spans = chat.sft(&SftText::ChatCompletion(
            turns[..=before].to_vec(),
            turns[before + 1..].to_vec(),
        ))?;
        let mut at = Vec::with_capacity(steps.len());
        let starts = (1..spans.ids.len()).filter(|&i| spans.scored[i] && !spans.scored[i - 1]);
        for (start, good) in starts.zip(good) {
            let mark = if *good { self.good } else { self.bad };
            let words = (start..spans.ids.len()).take_while(|&i| spans.scored[i]);
            at.extend(words.clone().find(|&i| spans.ids[i] == mark));
        }
        if at.len() != steps.len() {
            return Err(Error::data(
                "the marks of the steps cannot be told apart in what the chat template makes of them",
            )
            .hint("take a model whose template writes every assistant turn as it is"));
        }
        let mut ids = spans.ids;
        ids.truncate(at.last().map_or(0, |last| last + 1));
        Ok(Marked { ids, at })
    }
}

/// The turns before the first step: the problem last.
fn asked(chat: &Chat, prompt: &Prompt) -> Result<Vec<Message>> {
    Ok(match prompt {
        Prompt::Chat(turns) => turns.clone(),
        Prompt::Text(text) if text.is_empty() => Vec::new(),
        Prompt::Text(text) => vec![Message::user(text)],
        Prompt::Ids(ids) => vec![Message::user(chat.decode(ids, true)?)],
    })
}

/// The token that a word is where the words of an assistant's turn begin.
///
/// # Errors
/// A model without a chat template, or to whose tokenizer the word is not one token.
pub fn one_token(chat: &Chat, word: &str) -> Result<u32> {
    Ok(begun(chat, word)?.1)
}

/// What the template itself writes in an assistant's turn before the words: Qwen3's empty thought, which a verdict stands
/// behind; of most templates nothing.
///
/// # Errors
/// As [`one_token`].
pub fn opening(chat: &Chat) -> Result<Vec<u32>> {
    Ok(begun(chat, "A")?.0)
}

/// An assistant's turn of one word: what the template writes before it, and its token.
fn begun(chat: &Chat, word: &str) -> Result<(Vec<u32>, u32)> {
    if !chat.has_template() {
        return Err(Error::data(
            "the model has no chat template, so it cannot be asked for its verdict",
        )
        .hint("take a chat model, or put a `chat_template.jinja` beside its files"));
    }
    let prompt = Prompt::Chat(vec![Message::user("?")]);
    let answer = Answer::Chat(vec![Message::assistant(word)]);
    let mut ids = chat.pair(&prompt, &answer)?.answer;
    let is_word = |id: &u32| {
        let text = chat.decode(&[*id], false);
        text.is_ok_and(|text| text.trim() == word)
    };
    if let Some(at) = ids.iter().position(is_word) {
        let token = ids[at];
        ids.truncate(at);
        let before: String = chat.decode(&ids, false)?.split_whitespace().collect();
        if ["", "<think></think>"].contains(&before.as_str()) {
            return Ok((ids, token));
        }
    }
    Err(Error::data(format!(
        "`{word}` is not one token where this model's answer begins"
    ))
    .hint("a model that judges answers with one token: take another model"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solution_falls_into_its_steps() {
        assert_eq!(steps("a\n\n b \n\n\n\nc\n", "\n\n"), ["a", "b", "c"]);
        assert_eq!(
            steps("Step 1: x ки\nStep 2: y ки", "ки"),
            ["Step 1: x", "Step 2: y"]
        );
        assert!(steps(" \n\n ", "\n\n").is_empty());
    }
}
