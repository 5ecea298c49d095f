//! The responses to one prompt, with their rewards: what pairs are made of and what the audit reads.

use crate::error::{Error, Result};

/// One prompt's responses and what a judge gave each. The lists are equally long: `new` sees to it.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    id: &'a str,
    responses: &'a [String],
    rewards: &'a [f32],
    finished: &'a [bool],
    tokens: Option<&'a [usize]>,
}

impl<'a> Scored<'a> {
    /// One reward and one `finished` (the response ended by itself, not by the token limit) a response.
    ///
    /// Another count is an error that names the prompt. Skipping such a row in silence is how a loop
    /// that samples 4 and expects 8 ends up training on nothing.
    pub fn new(
        id: &'a str,
        responses: &'a [String],
        rewards: &'a [f32],
        finished: &'a [bool],
    ) -> Result<Self> {
        same_count(id, responses.len(), "rewards", rewards.len())?;
        same_count(id, responses.len(), "finished", finished.len())?;
        Ok(Self {
            id,
            responses,
            rewards,
            finished,
            tokens: None,
        })
    }

    /// Adds the token count of each response, for the audit's mean length.
    pub fn with_tokens(mut self, tokens: &'a [usize]) -> Result<Self> {
        same_count(self.id, self.responses.len(), "token counts", tokens.len())?;
        self.tokens = Some(tokens);
        Ok(self)
    }

    /// The prompt's id; it keys every draw about this prompt.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// The responses, in the order they were sampled.
    pub fn responses(&self) -> &'a [String] {
        self.responses
    }

    /// The raw rewards, one a response.
    pub fn rewards(&self) -> &'a [f32] {
        self.rewards
    }

    /// Whether each response ended by itself.
    pub fn finished(&self) -> &'a [bool] {
        self.finished
    }

    /// Token counts, where they are known.
    pub fn tokens(&self) -> Option<&'a [usize]> {
        self.tokens
    }
}

fn same_count(id: &str, responses: usize, what: &str, found: usize) -> Result<()> {
    if responses == found {
        return Ok(());
    }
    Err(Error::data(format!(
        "prompt `{id}`: {responses} responses but {found} {what}"
    ))
    .hint("judge this file again: `duel judge --model RM --data FILE`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_count_names_the_prompt_and_both_counts() {
        let responses = vec!["a".to_string(), "b".to_string()];
        let error = Scored::new("p7", &responses, &[1.0], &[true, true])
            .expect_err("one reward is missing");
        assert_eq!(error.message, "prompt `p7`: 2 responses but 1 rewards");
        assert!(Scored::new("p7", &responses, &[1.0, 2.0], &[true]).is_err());
        let scored =
            Scored::new("p7", &responses, &[1.0, 2.0], &[true, true]).expect("equal counts");
        assert!(scored.with_tokens(&[3]).is_err());
    }
}
