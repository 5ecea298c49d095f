//! Plain text for a model that speaks in a chat template: read as it stands, it is rarely what was meant.

use super::{Chat, Prompt, SftText};
use crate::error::Result;

/// Prompts that are looked at for special tokens.
const LOOKED_AT: usize = 100;

impl Prompt {
    /// Its text, where it is plain text.
    pub fn plain(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Chat(_) | Self::Ids(_) => None,
        }
    }
}

impl SftText {
    /// Its prompt, where that is plain text. Running text has none: it is read as it stands by right.
    pub fn plain(&self) -> Option<&str> {
        match self {
            Self::Completion(prompt, _) => Some(prompt),
            Self::Chat(_) | Self::ChatCompletion(..) | Self::Text(_) => None,
        }
    }
}

/// Whether the model has a chat template and yet all prompts are plain text (`Some`) without a special token of their
/// own. Other tools take such text as it stands too; that it was meant is not certain.
///
/// # Errors
/// Text that the tokenizer refuses.
pub fn lacks_template<'a>(
    chat: &Chat,
    prompts: impl Iterator<Item = Option<&'a str>>,
) -> Result<bool> {
    if !chat.has_template() {
        return Ok(false);
    }
    let tokenizer = chat.tokenizer();
    let mut any = false;
    for prompt in prompts.take(LOOKED_AT) {
        let Some(text) = prompt else {
            return Ok(false);
        };
        let ids = tokenizer.encode(text)?;
        if ids.iter().any(|id| tokenizer.is_special(*id)) {
            return Ok(false);
        }
        any = true;
    }
    Ok(any)
}
