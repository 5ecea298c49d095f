//! From conversations to token ids, with every boundary explicit.
//!
//! What is a prompt, what is a response and what is scored is decided here once, for training, generation and judging
//! alike: the same template, exactly one beginning of text, and an end of turn only where a turn really ended.

use super::dialogue::{Answer, Message, Prompt, SftText};
use super::files::TokenizerFiles;
use super::template::{ChatTemplate, Rendered};
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use std::ops::Range;

/// A tokenizer and the chat template that goes with it.
#[derive(Debug, Clone)]
pub struct Chat {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    stop_ids: Vec<u32>,
    leading_bos: Option<u32>,
}

/// A prompt and one response, as ids. `prompt ++ answer` is what the model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// What comes before the response.
    pub prompt: Vec<u32>,
    /// The response; every one of its tokens is scored.
    pub answer: Vec<u32>,
}

/// A prompt and two responses to it, as ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPair {
    /// What comes before both responses.
    pub prompt: Vec<u32>,
    /// The preferred response.
    pub chosen: Vec<u32>,
    /// The other one.
    pub rejected: Vec<u32>,
}

/// A sequence in which some tokens are learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans {
    /// The sequence.
    pub ids: Vec<u32>,
    /// For each token whether it is a target. The first never is: nothing precedes it.
    pub scored: Vec<bool>,
}

/// The special tokens that a chat template may name.
const SPECIAL_TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

impl Chat {
    /// The tokenizer and template of a model's files. A model without a template is fine until a conversation comes.
    pub fn new(files: &TokenizerFiles) -> Result<Self> {
        let tokenizer = Tokenizer::new(files)?;
        let tokens: Vec<_> = SPECIAL_TOKENS
            .into_iter()
            .filter_map(|name| Some((name.to_string(), files.special_token(name)?)))
            .collect();
        let template = files.chat_template.as_deref();
        let template = template
            .map(|source| ChatTemplate::new(source, &tokens))
            .transpose()?;
        let mut stop_ids = vec![tokenizer.eos()];
        stop_ids.extend(&files.eos_token_ids);
        let mut chat = Self {
            leading_bos: tokenizer.leading(),
            tokenizer,
            template,
            stop_ids,
        };
        chat.probe()?;
        let mut seen = Vec::new();
        chat.stop_ids.retain(|id| {
            !seen.contains(id) && {
                seen.push(*id);
                true
            }
        });
        Ok(chat)
    }

    /// Passes further variables to the template (`tools`, `enable_thinking`, ...).
    pub fn with_template_variables(
        mut self,
        variables: &serde_json::Map<String, serde_json::Value>,
    ) -> Self {
        self.template = self
            .template
            .map(|template| template.with_variables(variables));
        self
    }

    /// The ids that a response follows: a conversation ends with the opened assistant turn, text gets its BOS.
    pub fn prompt(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Chat(turns) => self.tokenizer.encode(&self.render(turns, true)?.text),
            Prompt::Text(text) => self.tokenizer.encode_with_bos(text),
            Prompt::Ids(ids) => self.known(ids),
        }
    }

    /// Ids of a file, refused where the tokenizer has no such token.
    fn known(&self, ids: &[u32]) -> Result<Vec<u32>> {
        match ids.iter().find(|id| **id as usize >= self.vocab_size()) {
            Some(id) => Err(Error::data(format!(
                "the token id {id} is outside the vocabulary of {} tokens",
                self.vocab_size()
            ))
            .hint("the ids are of another tokenizer; give text or messages instead")),
            None => Ok(ids.to_vec()),
        }
    }

    /// A prompt with a complete response.
    ///
    /// The response begins where the ids of the prompt and of the whole part ways, as in TRL. So the end-of-turn marker,
    /// and what the template writes after it, belong to the response. Plain text gets the end-of-text token once.
    ///
    /// # Errors
    /// When prompt and response have different forms (a text response to a conversation is taken as one turn).
    pub fn pair(&self, prompt: &Prompt, answer: &Answer) -> Result<Encoded> {
        let whole = self.whole(prompt, answer)?;
        let at = common_prefix(&self.prompt(prompt)?, &whole);
        Ok(split(whole, at))
    }

    /// A prompt with two complete responses, cut at the same place, as in TRL.
    pub fn preference(
        &self,
        prompt: &Prompt,
        chosen: &Answer,
        rejected: &Answer,
    ) -> Result<EncodedPair> {
        let (chosen, rejected) = (self.whole(prompt, chosen)?, self.whole(prompt, rejected)?);
        self.split_pair(prompt, chosen, rejected)
    }

    /// A prompt with two generated texts, each with whether it finished, cut at the same place.
    pub fn response_pair(
        &self,
        prompt: &Prompt,
        chosen: (&str, bool),
        rejected: (&str, bool),
    ) -> Result<EncodedPair> {
        let whole = |(text, finished)| self.whole_response(prompt, text, finished);
        self.split_pair(prompt, whole(chosen)?, whole(rejected)?)
    }

    /// A prompt with generated text. A response that was cut by the length limit (`finished` is false) gets no end of
    /// turn: training on one would teach the model to stop in the middle of a sentence.
    pub fn response(&self, prompt: &Prompt, text: &str, finished: bool) -> Result<Encoded> {
        let whole = self.whole_response(prompt, text, finished)?;
        let at = common_prefix(&self.prompt(prompt)?, &whole);
        Ok(split(whole, at))
    }

    /// What an SFT row teaches: the words of the assistant and the marker that ends its turn, nothing else.
    ///
    /// A template with `{% generation %}` blocks says itself what that is. For others the turns are rendered one by one.
    ///
    /// # Errors
    /// When a template without such blocks renders the beginning of a conversation differently once it goes on.
    pub fn sft(&self, row: &SftText) -> Result<Spans> {
        match row {
            SftText::Chat(turns) => self.sft_turns(turns, 0),
            SftText::ChatCompletion(prompt, completion) => {
                let turns = [prompt.as_slice(), completion.as_slice()].concat();
                self.sft_turns(&turns, prompt.len())
            }
            SftText::Completion(prompt, completion) => {
                let prompt = Prompt::Text(prompt.clone());
                let Encoded { prompt, answer } =
                    self.pair(&prompt, &Answer::Text(completion.clone()))?;
                let scored = [vec![false; prompt.len()], vec![true; answer.len()]].concat();
                Ok(Spans::new([prompt, answer].concat(), scored))
            }
            SftText::Text(text) => {
                let ids = self.with_eos(self.tokenizer.encode_with_bos(text)?);
                let scored = vec![true; ids.len()];
                Ok(Spans::new(ids, scored))
            }
        }
    }

    /// The text of some ids.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.tokenizer.decode(ids, skip_special)
    }

    /// The same, but no token ends a response: for measuring with responses of one length.
    pub fn endless(mut self) -> Self {
        self.stop_ids.clear();
        self
    }

    /// The ids that end a response: the model's end-of-text tokens and the template's end of turn.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// The padding id; it may be the end-of-text id.
    pub fn pad_id(&self) -> u32 {
        self.tokenizer.pad()
    }

    /// The end-of-text id.
    pub fn eos_id(&self) -> u32 {
        self.tokenizer.eos()
    }

    /// The beginning-of-text id that stands at the head of every sequence and survives truncation, where there is
    /// one. A token that also opens turns (as `<|im_start|>` does) is not one.
    pub fn leading_bos(&self) -> Option<u32> {
        self.leading_bos
    }

    /// How many tokens there are. The model's embedding may be larger.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.vocab_size()
    }

    /// Whether conversations can be rendered.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// A sequence as rows of id, readable token and whether it is learned, for `duel data show`.
    pub fn table(&self, spans: &Spans) -> Vec<(u32, String, bool)> {
        let rows = spans.ids.iter().zip(&spans.scored);
        rows.map(|(&id, &scored)| (id, self.tokenizer.piece(id), scored))
            .collect()
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// When the model has no chat template, or when the template refuses the conversation.
    pub fn render(&self, turns: &[Message], add_generation_prompt: bool) -> Result<Rendered> {
        let template = self.template.as_ref().ok_or_else(|| {
            Error::data("the tokenizer has no chat template, and the row is a conversation").hint(
                "use the chat version of the model, or give a template: `model.chat_template` in a recipe, chat_template.jinja in the \
                 model's directory",
            )
        })?;
        template.render(turns, add_generation_prompt)
    }

    /// Cuts two sequences where either parts ways with the prompt: a response may merge with its end.
    fn split_pair(
        &self,
        prompt: &Prompt,
        chosen: Vec<u32>,
        rejected: Vec<u32>,
    ) -> Result<EncodedPair> {
        let alone = self.prompt(prompt)?;
        let at = common_prefix(&alone, &chosen).min(common_prefix(&alone, &rejected));
        let chosen = split(chosen, at);
        Ok(EncodedPair {
            prompt: chosen.prompt,
            chosen: chosen.answer,
            rejected: split(rejected, at).answer,
        })
    }

    /// Prompt and generated text together, complete or cut where the text was.
    fn whole_response(&self, prompt: &Prompt, text: &str, finished: bool) -> Result<Vec<u32>> {
        if finished {
            return self.whole(prompt, &Answer::Text(text.to_string()));
        }
        match prompt {
            Prompt::Chat(turns) => {
                let before = self.render(turns, true)?.text;
                self.tokenizer.encode(&(before + text))
            }
            Prompt::Text(before) => self.tokenizer.encode_with_bos(&format!("{before}{text}")),
            Prompt::Ids(ids) => Ok([ids.clone(), self.tokenizer.encode(text)?].concat()),
        }
    }

    /// Prompt and response together, complete.
    fn whole(&self, prompt: &Prompt, answer: &Answer) -> Result<Vec<u32>> {
        let one_turn;
        let (prompt, turns) = match (prompt, answer) {
            (Prompt::Chat(prompt), Answer::Chat(turns)) => (prompt, turns),
            (Prompt::Chat(prompt), Answer::Text(text)) => {
                one_turn = vec![Message::assistant(text)];
                (prompt, &one_turn)
            }
            (Prompt::Text(prompt), Answer::Text(text)) => {
                let ids = self.tokenizer.encode_with_bos(&format!("{prompt}{text}"))?;
                return Ok(self.with_eos(ids));
            }
            (Prompt::Ids(prompt), Answer::Ids(ids)) => return Ok([prompt.as_slice(), ids].concat()),
            (Prompt::Ids(prompt), Answer::Text(text)) => {
                let ids = [prompt.clone(), self.tokenizer.encode(text)?].concat();
                return Ok(self.with_eos(ids));
            }
            _ => {
                return Err(
                    Error::data("the prompt and its response have different forms")
                        .hint("give both as messages, both as text, or both as ids"),
                );
            }
        };
        let turns = [prompt.as_slice(), turns].concat();
        self.tokenizer.encode(&self.render(&turns, false)?.text)
    }

    /// Appends the end-of-text token, unless it is there already.
    fn with_eos(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if ids.last() != Some(&self.tokenizer.eos()) {
            ids.push(self.tokenizer.eos());
        }
        ids
    }

    /// A conversation of which the assistant turns from turn `first` on are learned.
    fn sft_turns(&self, turns: &[Message], first: usize) -> Result<Spans> {
        let whole = self.render(turns, false)?;
        let marked = self
            .template
            .as_ref()
            .is_some_and(ChatTemplate::marks_generation);
        let learned = match (marked, first) {
            (true, 0) => whole.generated,
            (true, _) => {
                let before = self.render(&turns[..first], true)?.text;
                let start = common_prefix(before.as_bytes(), whole.text.as_bytes());
                // A block may begin with what the generation prompt already says (an empty thought).
                let all = whole
                    .generated
                    .into_iter()
                    .filter(|range| range.end > start);
                all.map(|range| range.start.max(start)..range.end).collect()
            }
            (false, _) => self.turn_ranges(turns, first, &whole.text)?,
        };
        let tokens = self.tokenizer.encode_with_ranges(&whole.text)?;
        let mut scored = vec![false; tokens.len()];
        for range in learned {
            let inside = |token: &(u32, Range<usize>)| {
                token.1.start < range.end && range.start < token.1.end
            };
            let Some(from) = tokens.iter().position(inside) else {
                continue;
            };
            let count = tokens[from..]
                .iter()
                .take_while(|token| inside(token))
                .count();
            let turn = &tokens[from..from + count];
            let keep = if marked {
                count
            } else {
                self.through_end_of_turn(turn)
            };
            scored[from..from + keep].fill(true);
        }
        Ok(Spans::new(
            tokens.into_iter().map(|(id, _)| id).collect(),
            scored,
        ))
    }

    /// How many tokens of a turn are the model's: generation stops at the end-of-turn marker, so what the template
    /// writes after it is not.
    fn through_end_of_turn(&self, turn: &[(u32, Range<usize>)]) -> usize {
        let end = turn.iter().rposition(|(id, _)| self.stop_ids.contains(id));
        end.map_or(turn.len(), |at| at + 1)
    }

    /// The byte ranges of the assistant turns from turn `first` on, end-of-turn marker included.
    fn turn_ranges(
        &self,
        turns: &[Message],
        first: usize,
        whole: &str,
    ) -> Result<Vec<Range<usize>>> {
        let mut ranges = Vec::new();
        for (i, turn) in turns.iter().enumerate().skip(first) {
            if turn.role != "assistant" {
                continue;
            }
            let before = self.render(&turns[..i], true)?.text;
            let through = self.render(&turns[..=i], false)?.text;
            if !whole.starts_with(&through) || !through.starts_with(&before) {
                return Err(Error::data(format!(
                    "the chat template renders turn {} differently once the conversation goes on, so the words to learn \
                     cannot be told apart",
                    i + 1
                ))
                .hint("put `{% generation %}` ... `{% endgeneration %}` round the assistant's words in chat_template.jinja"));
            }
            ranges.push(before.len()..through.len());
        }
        Ok(ranges)
    }

    /// Renders one small exchange to learn which special token ends a turn and whether a BOS heads every sequence.
    fn probe(&mut self) -> Result<()> {
        let Some(template) = &self.template else {
            return Ok(());
        };
        const WORDS: &str = "duel looks for the end of this turn";
        let turns = [Message::user("Hello"), Message::assistant(WORDS)];
        // A template that refuses even this has its own idea of roles; its errors come with the first real row.
        let Ok(Rendered { text, .. }) = template.render(&turns, false) else {
            return Ok(());
        };
        let ids = self.tokenizer.encode(&text)?;
        if let Some(bos) = self.tokenizer.bos()
            && self.leading_bos.is_none()
            && ids.first() == Some(&bos)
            && ids.iter().filter(|&&id| id == bos).count() == 1
        {
            self.leading_bos = Some(bos);
        }
        let tail = text
            .rfind(WORDS)
            .map(|at| text[at + WORDS.len()..].trim_start());
        let next = self
            .tokenizer
            .encode(tail.unwrap_or_default())?
            .first()
            .copied();
        self.stop_ids
            .extend(next.filter(|&id| self.tokenizer.is_special(id)));
        Ok(())
    }
}

impl Spans {
    fn new(ids: Vec<u32>, mut scored: Vec<bool>) -> Self {
        if let Some(first) = scored.first_mut() {
            *first = false;
        }
        Self { ids, scored }
    }

    /// How many tokens are learned.
    pub fn targets(&self) -> usize {
        self.scored.iter().filter(|scored| **scored).count()
    }
}

fn common_prefix<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn split(mut whole: Vec<u32>, at: usize) -> Encoded {
    let answer = whole.split_off(at);
    Encoded {
        prompt: whole,
        answer,
    }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
