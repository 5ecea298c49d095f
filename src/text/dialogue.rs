//! Who said what.

use serde::{Deserialize, Serialize};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or whatever else the chat template knows.
    pub role: String,
    /// The words, exactly as they were written.
    pub content: String,
}

impl Message {
    /// A turn by `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }

    /// A turn by the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A turn by the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

/// A conversation, oldest turn first.
pub type Dialogue = Vec<Message>;

/// What comes before the response.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// A conversation; the chat template turns it into text.
    Chat(Dialogue),
    /// Plain text, tokenised as it stands.
    Text(String),
    /// Token ids, used as they stand.
    Ids(Vec<u32>),
}

/// A response, in the same form as its prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One assistant turn (or several, after a chat prompt).
    Chat(Dialogue),
    /// Plain text; the end-of-text token is appended when it is tokenised.
    Text(String),
    /// Token ids, used as they stand.
    Ids(Vec<u32>),
}

impl Prompt {
    /// Plain text as one user turn; other prompts as they are.
    pub fn into_chat(self) -> Self {
        match self {
            Self::Text(text) => Self::Chat(vec![Message::user(text)]),
            other => other,
        }
    }

    /// Whether there is nothing to respond to.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Chat(turns) => turns.iter().all(|turn| turn.content.trim().is_empty()),
            Self::Text(text) => text.trim().is_empty(),
            Self::Ids(ids) => ids.is_empty(),
        }
    }
}

impl Answer {
    /// Plain text as one assistant turn; other answers as they are.
    pub fn into_chat(self) -> Self {
        match self {
            Self::Text(text) => Self::Chat(vec![Message::assistant(text)]),
            other => other,
        }
    }

    /// Whether nothing is said.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Chat(turns) => turns.iter().all(|turn| turn.content.trim().is_empty()),
            Self::Text(text) => text.trim().is_empty(),
            Self::Ids(ids) => ids.is_empty(),
        }
    }
}

/// What an SFT row holds.
#[derive(Debug, Clone, PartialEq)]
pub enum SftText {
    /// A conversation: every assistant turn is learned, nothing else.
    Chat(Dialogue),
    /// A conversation and the turns that follow it: only the assistant turns of the second part are learned.
    ChatCompletion(Dialogue, Dialogue),
    /// A prompt and the completion to learn.
    Completion(String, String),
    /// Running text, learned whole (pretraining).
    Text(String),
}
