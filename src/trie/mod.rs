//! The one batch type: token sequences in a radix tree, flat, without padding.
//!
//! Whatever prefix sequences share is stored and computed once. Segments (runs of tokens without a fork)
//! lie one after the other in a flat row of N tokens; a segment sees its ancestors and, causally, itself.
//! The values and gradients are exactly those of separate sequences: a law that tests hold.

mod build;
mod pack;
mod pad;

pub use build::{Segment, Target, Trie};
pub use pack::{pack, siblings};
pub use pad::rounded_up;

/// One token sequence and what is scored in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// For each token whether its log-prob counts. A sequence's first token has nothing before it and is
    /// never scored.
    pub scored: Vec<bool>,
}

impl Sequence {
    /// A prompt that is not scored and a response that is.
    pub fn response(prompt: &[u32], response: &[u32]) -> Self {
        let mut tokens = Vec::with_capacity(prompt.len() + response.len());
        tokens.extend_from_slice(prompt);
        tokens.extend_from_slice(response);
        let scored = (0..tokens.len())
            .map(|i| i >= prompt.len().max(1))
            .collect();
        Self { tokens, scored }
    }

    /// Nothing is scored: for models that only pool.
    pub fn unscored(tokens: Vec<u32>) -> Self {
        let scored = vec![false; tokens.len()];
        Self { tokens, scored }
    }

    /// Nothing is scored but the token behind place `question`, which marks it for models that read the state there
    /// beside that of the last token.
    pub fn asked(tokens: Vec<u32>, question: usize) -> Self {
        let marked = (question + 1).min(tokens.len().saturating_sub(1));
        let scored = (0..tokens.len()).map(|i| i == marked).collect();
        Self { tokens, scored }
    }

    /// Tokens whose log-prob counts.
    pub fn scored_count(&self) -> usize {
        self.scored.iter().skip(1).filter(|&&s| s).count()
    }
}
