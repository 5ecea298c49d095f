//! Sequences that are too long: drop them, or cut the prompt from the left. Never the end of a response.
//!
//! A response without its end teaches false stopping or none, and a pair that is cut may become two equal responses.
//! So a response is kept whole or not at all, and what gives way is the oldest part of the prompt.

use super::chat::{Encoded, EncodedPair, Spans};

/// What happens to a row that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// The row is left out and counted.
    Drop,
    /// The prompt loses its oldest tokens (but not its BOS). A row whose response alone is too long is left out.
    #[default]
    TruncatePrompt,
}

/// How long sequences may be, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Prompt and response together.
    pub max_length: usize,
    /// The prompt alone, however short the response.
    pub max_prompt_length: Option<usize>,
    /// What gives way.
    pub overflow: Overflow,
    /// A BOS at the head of a prompt that a cut keeps (`Chat::leading_bos`).
    pub leading_bos: Option<u32>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It was short enough.
    Whole,
    /// This many tokens of the prompt were cut.
    Truncated(usize),
    /// It must be left out, for this reason.
    Dropped(&'static str),
}

const RESPONSE_TOO_LONG: &str = "response longer than max_length";
const PROMPT_TOO_LONG: &str = "longer than the limit";

impl Limits {
    /// A limit on prompt and response together; prompts are cut from the left.
    pub fn new(max_length: usize) -> Self {
        Self {
            max_length,
            max_prompt_length: None,
            overflow: Overflow::default(),
            leading_bos: None,
        }
    }

    /// Fits a prompt with one response.
    pub fn response(&self, row: &mut Encoded) -> Fit {
        self.prompt(&mut row.prompt, row.answer.len())
    }

    /// Fits a prompt with two responses; both keep the same prompt, so the longer one decides.
    pub fn pair(&self, row: &mut EncodedPair) -> Fit {
        let longest = row.chosen.len().max(row.rejected.len());
        self.prompt(&mut row.prompt, longest)
    }

    /// Fits a prompt that is to be followed by `response` tokens. At least one token of it stays.
    pub fn prompt(&self, prompt: &mut Vec<u32>, response: usize) -> Fit {
        if response >= self.max_length {
            return Fit::Dropped(RESPONSE_TOO_LONG);
        }
        let room = self.max_length - response;
        let room = room
            .min(self.max_prompt_length.unwrap_or(usize::MAX))
            .max(1);
        let excess = prompt.len().saturating_sub(room);
        match (excess, self.overflow) {
            (0, _) => Fit::Whole,
            (_, Overflow::Drop) => Fit::Dropped(PROMPT_TOO_LONG),
            (_, Overflow::TruncatePrompt) => {
                let kept = self.head(prompt, room);
                prompt.drain(kept..kept + excess);
                Fit::Truncated(excess)
            }
        }
    }

    /// Fits an SFT sequence. A cut from the left that falls into a learned turn leaves the rest of that turn as context
    /// only: its words would be learned without what they answer. A row with nothing left to learn is dropped.
    pub fn spans(&self, row: &mut Spans) -> Fit {
        let excess = row.ids.len().saturating_sub(self.max_length);
        if excess == 0 {
            return Fit::Whole;
        }
        if self.overflow == Overflow::Drop {
            return Fit::Dropped(PROMPT_TOO_LONG);
        }
        let kept = self.head(&row.ids, self.max_length);
        let cut = kept + excess;
        let mut scored = row.scored[cut..].to_vec();
        if row.scored[cut - 1] {
            let rest = scored.iter().take_while(|scored| **scored).count();
            scored[..rest].fill(false);
        }
        if !scored.contains(&true) {
            return Fit::Dropped(RESPONSE_TOO_LONG);
        }
        row.ids.drain(kept..cut);
        row.scored.truncate(kept);
        row.scored.extend(scored);
        row.scored[0] = false;
        Fit::Truncated(excess)
    }

    /// How many tokens at the head survive a cut to `room` tokens.
    fn head(&self, ids: &[u32], room: usize) -> usize {
        let headed = self.leading_bos.is_some() && ids.first().copied() == self.leading_bos;
        usize::from(headed && room > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOS: u32 = 1;

    fn limits(max_length: usize) -> Limits {
        Limits {
            leading_bos: Some(BOS),
            ..Limits::new(max_length)
        }
    }

    fn pair(prompt: &[u32], chosen: usize, rejected: usize) -> EncodedPair {
        EncodedPair {
            prompt: prompt.to_vec(),
            chosen: vec![8; chosen],
            rejected: vec![9; rejected],
        }
    }

    #[test]
    fn the_longer_response_decides_and_both_stay_whole() {
        let mut row = pair(&[BOS, 2, 3, 4, 5], 2, 3);
        assert_eq!(limits(6).pair(&mut row), Fit::Truncated(2));
        assert_eq!(row, pair(&[BOS, 4, 5], 2, 3));
        assert_eq!(limits(6).pair(&mut row), Fit::Whole);
    }

    #[test]
    fn without_a_bos_the_oldest_tokens_go() {
        let mut row = pair(&[7, 2, 3, 4], 1, 1);
        assert_eq!(limits(4).pair(&mut row), Fit::Truncated(1));
        assert_eq!(row.prompt, [2, 3, 4]);
    }

    #[test]
    fn a_response_without_room_for_a_prompt_is_dropped_never_cut() {
        let mut row = pair(&[BOS, 2], 1, 4);
        assert_eq!(limits(4).pair(&mut row), Fit::Dropped(RESPONSE_TOO_LONG));
        assert_eq!(row, pair(&[BOS, 2], 1, 4));
    }

    #[test]
    fn the_prompt_has_a_limit_of_its_own() {
        let limits = Limits {
            max_prompt_length: Some(2),
            ..limits(100)
        };
        let mut row = Encoded {
            prompt: vec![BOS, 2, 3],
            answer: vec![8],
        };
        assert_eq!(limits.response(&mut row), Fit::Truncated(1));
        assert_eq!(row.prompt, [BOS, 3]);
    }

    #[test]
    fn the_dropping_policy_cuts_nothing() {
        let limits = Limits {
            overflow: Overflow::Drop,
            ..limits(4)
        };
        let mut row = pair(&[BOS, 2, 3], 2, 1);
        assert_eq!(limits.pair(&mut row), Fit::Dropped(PROMPT_TOO_LONG));
        assert_eq!(row.prompt.len(), 3);
    }

    fn spans(ids: &[u32], scored: &str) -> Spans {
        Spans {
            ids: ids.to_vec(),
            scored: scored.chars().map(|c| c == 'x').collect(),
        }
    }

    #[test]
    fn a_turn_that_lost_its_beginning_is_context_only() {
        let mut row = spans(&[BOS, 2, 3, 4, 5, 6, 7], "--xx-xx");
        assert_eq!(limits(5).spans(&mut row), Fit::Truncated(2));
        assert_eq!(row, spans(&[BOS, 4, 5, 6, 7], "---xx"));
    }

    #[test]
    fn a_whole_turn_after_the_cut_is_still_learned() {
        let mut row = spans(&[BOS, 2, 3, 4, 5], "---xx");
        assert_eq!(limits(4).spans(&mut row), Fit::Truncated(1));
        assert_eq!(row, spans(&[BOS, 3, 4, 5], "--xx"));
    }

    #[test]
    fn a_single_turn_longer_than_the_limit_is_dropped() {
        let mut row = spans(&[BOS, 2, 3, 4, 5], "--xxx");
        assert_eq!(limits(3).spans(&mut row), Fit::Dropped(RESPONSE_TOO_LONG));
        assert_eq!(row.ids.len(), 5);
    }
}
