//! Where the question of a prompt ends, which is where a gate reads it.

use super::chat::Chat;
use super::dialogue::Prompt;
use crate::error::Result;

impl Chat {
    /// The place of the last token of the question among the ids of [`Chat::prompt`]: the end of the last turn, before the
    /// template opens the assistant's, white space aside. Of plain text it is the last word.
    ///
    /// In ArmoRM's prompts it is the `<|eot_id|>` in front of the assistant's header, which its code finds as the first token
    /// of the last `<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n`, and for Gemma the `<end_of_turn>` in front of
    /// `\n<start_of_turn>model\n`.
    ///
    /// # Errors
    /// A prompt that cannot be rendered or encoded.
    pub fn question_end(&self, prompt: &Prompt) -> Result<usize> {
        let ids = self.prompt(prompt)?;
        let asked = match prompt {
            Prompt::Chat(turns) => {
                let asked = self.tokenizer().encode(&self.render(turns, false)?.text)?;
                let shared = ids.iter().zip(&asked).take_while(|(a, b)| a == b).count();
                // A template that renders the beginning otherwise without the header says nothing of its place.
                if shared == 0 { ids.len() } else { shared }
            }
            Prompt::Text(_) | Prompt::Ids(_) => ids.len(),
        };
        let mut end = asked;
        while end > 1 && self.decode(&ids[end - 1..end], false)?.trim().is_empty() {
            end -= 1;
        }
        Ok(end.saturating_sub(1))
    }
}
