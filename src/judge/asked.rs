//! Prompts with a response as sequences that mark where the question ends, for judges that weigh by the prompt.

use crate::error::Result;
use crate::text::{Chat, Encoded, Fit, Limits, Prompt};
use crate::trie::Sequence;

/// The place of the question's last token after a cut of the prompt from `whole` tokens to `left`.
///
/// # Errors
/// A prompt that cannot be rendered.
pub fn question(chat: &Chat, prompt: &Prompt, whole: usize, left: usize) -> Result<usize> {
    let end = chat.question_end(prompt)?.min(whole.saturating_sub(1));
    Ok(end.saturating_sub(whole - left).min(left.saturating_sub(1)))
}

/// A prompt with a response under the limits, or why it does not fit.
///
/// # Errors
/// A prompt that cannot be rendered.
pub fn asked(
    chat: &Chat,
    prompt: &Prompt,
    mut row: Encoded,
    limits: &Limits,
) -> Result<std::result::Result<Sequence, &'static str>> {
    let whole = row.prompt.len();
    if let Fit::Dropped(why) = limits.response(&mut row) {
        return Ok(Err(why));
    }
    let question = question(chat, prompt, whole, row.prompt.len())?;
    let tokens = [row.prompt, row.answer].concat();
    Ok(match tokens.len() {
        0 | 1 => Err("too short to mark a question in"),
        _ => Ok(Sequence::asked(tokens, question)),
    })
}
