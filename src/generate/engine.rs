//! The local engine: all prompts of a batch are prefilled together, then every response of every prompt
//! decodes together. A prompt's keys and values are stored once for all its responses; a response that is
//! finished leaves the batch.

use super::sample::{Sampler, Seen};
use crate::data::key::Key;
use crate::error::{Error, Result};
use crate::model::{Cache, Decoder, Served};
use crate::recipe::{Sampling, WeightDtype};
use crate::run::interrupt;
use crate::text::Chat;
use crate::trie::{Sequence, Trie, pack};
use burn::tensor::Tensor;
use duel_backends::ops::{self, Draw, KeySpan, Precision, QuerySegment, Spans};
use std::cell::OnceCell;
use std::sync::Arc;

/// A prompt, tokenised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompted {
    /// The row's name; randomness is drawn from it.
    pub id: String,
    /// Its tokens, generation prompt included.
    pub tokens: Vec<u32>,
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// With an end marker or a stop text.
    Stop,
    /// At the length limit.
    Length,
}

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// Its tokens, without the end marker.
    pub tokens: Vec<u32>,
    /// Its text, without the end marker and what follows a stop text.
    pub text: String,
    /// How it ended.
    pub finish: Finish,
}

/// A model that answers.
pub struct Engine<'a> {
    /// The weights, untracked.
    decoder: &'a Decoder,
    /// Its tokenizer.
    pub chat: &'a Chat,
    /// How to draw.
    how: &'a Sampling,
    /// The weights as decoding reads them, laid out at the first prompt.
    served: OnceCell<Served>,
}

/// What a recipe calls by another name.
pub fn precision(dtype: WeightDtype) -> Precision {
    match dtype {
        WeightDtype::F32 => Precision::F32,
        WeightDtype::Bf16 => Precision::Bf16,
        WeightDtype::Int8 => Precision::Int8,
    }
}

/// A response in the making.
struct Live {
    /// Which prompt of the batch.
    prompt: usize,
    /// Which of its responses.
    index: usize,
    sampler: Sampler,
    tokens: Vec<u32>,
    /// What a repetition penalty holds down; empty where there is none.
    seen: Seen,
    /// First row of the cache that is its own.
    row: usize,
}

impl<'a> Engine<'a> {
    /// An engine of these weights, which are untracked, and their tokenizer.
    pub fn new(decoder: &'a Decoder, chat: &'a Chat, how: &'a Sampling) -> Self {
        Self {
            decoder,
            chat,
            how,
            served: OnceCell::new(),
        }
    }

    fn served(&self) -> &Served {
        self.served
            .get_or_init(|| self.decoder.served(precision(self.how.dtype)))
    }

    /// `num_generations` responses for each prompt, handed to `done` prompt by prompt in order.
    ///
    /// # Errors
    /// A prompt that is empty or leaves no room, logits that are not finite, ^C, or whatever `done` reports.
    pub fn generate(
        &self,
        prompts: &[Prompted],
        key: Key,
        done: &mut dyn FnMut(&Prompted, Vec<Drawn>) -> Result<()>,
    ) -> Result<()> {
        let room = self.decoder.spec.max_position_embeddings;
        if let Some(long) = prompts.iter().find(|p| p.tokens.len() >= room) {
            return Err(Error::data(format!(
                "prompt {} has {} tokens, but the model ends at {room}",
                long.id,
                long.tokens.len()
            ))
            .hint("shorten it: this is the model's own limit"));
        }
        if let Some(empty) = prompts.iter().find(|p| p.tokens.is_empty()) {
            return Err(
                Error::data(format!("prompt {} has no tokens", empty.id)).hint(
                    "a response needs something to respond to: write a prompt, or drop the row",
                ),
            );
        }
        let sizes: Vec<usize> = prompts.iter().map(|p| self.rows_for(p)).collect();
        for run in pack(&sizes, self.how.max_tokens_per_batch) {
            let batch = &prompts[run];
            for (prompt, drawn) in batch.iter().zip(self.batch(batch, key)?) {
                done(prompt, drawn)?;
            }
        }
        Ok(())
    }

    /// Tokens a response of this prompt may have.
    fn limit(&self, prompt: &Prompted) -> usize {
        let room = self.decoder.spec.max_position_embeddings - prompt.tokens.len();
        self.how.max_new_tokens.min(room)
    }

    /// Cache rows that a prompt with its responses takes.
    fn rows_for(&self, prompt: &Prompted) -> usize {
        prompt.tokens.len() + self.how.num_generations * self.limit(prompt)
    }

    fn batch(&self, prompts: &[Prompted], key: Key) -> Result<Vec<Vec<Drawn>>> {
        let sequences: Vec<Sequence> = prompts
            .iter()
            .map(|p| Sequence::unscored(p.tokens.clone()))
            .collect();
        // Shared beginnings of different prompts are not merged: a response must not depend on who is in its batch.
        let trie = Trie::apart(&sequences);
        let rows: usize = prompts.iter().map(|p| self.rows_for(p)).sum();
        // Laid out before there is a cache: both take their room.
        self.served();
        let mut cache = Cache::new(&self.decoder.spec, rows, &self.decoder.device());
        let mut live = self.start(prompts, trie.len(), key);
        let mut finished: Vec<Vec<Option<Drawn>>> =
            vec![vec![None; self.how.num_generations]; prompts.len()];

        let logits = self.prefill(&trie, &mut cache);
        let of_prompt: Vec<usize> = live.iter().map(|l| l.prompt).collect();
        self.draw(&mut live, logits, &of_prompt, prompts)?;
        loop {
            // A batch may take minutes: what it began is drawn again, what earlier batches drew is kept.
            if interrupt::requested() {
                return Err(interrupt::error("stopped while generating"));
            }
            self.retire(&mut live, prompts, &mut finished)?;
            if live.is_empty() {
                break;
            }
            let logits = self.decode(&live, prompts, &trie, &mut cache);
            let own: Vec<usize> = (0..live.len()).collect();
            self.draw(&mut live, logits, &own, prompts)?;
        }
        let whole = |drawn: Vec<Option<Drawn>>| drawn.into_iter().flatten().collect();
        Ok(finished.into_iter().map(whole).collect())
    }

    fn start(&self, prompts: &[Prompted], mut row: usize, key: Key) -> Vec<Live> {
        let mut live = Vec::new();
        for (i, prompt) in prompts.iter().enumerate() {
            let key = key.fold("sample").fold(&prompt.id);
            let seen = match self.penalises() {
                true => Seen::of(&prompt.tokens),
                false => Seen::default(),
            };
            for index in 0..self.how.num_generations {
                live.push(Live {
                    prompt: i,
                    index,
                    sampler: Sampler::new(self.how, key, index),
                    tokens: Vec::new(),
                    seen: seen.clone(),
                    row,
                });
                row += self.limit(prompt);
            }
        }
        live
    }

    /// Runs all prompts and returns the logits after each: `[prompts, vocab]`.
    fn prefill(&self, trie: &Trie, cache: &mut Cache) -> Tensor<2> {
        cache.place((0..trie.len() as u32).collect());
        let spans = trie.spans(self.decoder.spec.sliding_window);
        self.decoder.cached_logits(
            self.served(),
            &trie.tokens,
            &trie.positions,
            spans,
            cache,
            &trie.last,
        )
    }

    /// Runs the newest token of every live response: `[live, vocab]`.
    fn decode(
        &self,
        live: &[Live],
        prompts: &[Prompted],
        trie: &Trie,
        cache: &mut Cache,
    ) -> Tensor<2> {
        let mut tokens = Vec::with_capacity(live.len());
        let mut positions = Vec::with_capacity(live.len());
        let mut segments = Vec::with_capacity(live.len());
        let mut rows = Vec::with_capacity(live.len());
        for (i, response) in live.iter().enumerate() {
            let (before, count) = (prompts[response.prompt].tokens.len(), response.tokens.len());
            let depth = before + count - 1;
            tokens.push(response.tokens[count - 1]);
            positions.push(depth as u32);
            rows.push((response.row + count - 1) as u32);
            let mut keys = trie.spans_of(trie.leaf[response.prompt]);
            keys.push(KeySpan {
                rows: response.row..response.row + count,
                depth: before,
            });
            segments.push(QuerySegment {
                rows: i..i + 1,
                depth,
                keys,
            });
        }
        cache.place(rows);
        let spans = Spans {
            segments,
            window: self.decoder.spec.sliding_window,
        };
        let all: Vec<u32> = (0..live.len() as u32).collect();
        self.decoder
            .cached_logits(self.served(), &tokens, &positions, spans, cache, &all)
    }

    fn penalises(&self) -> bool {
        self.how.repetition_penalty != 1.0
    }

    /// Draws one token for every live response from row `row_of[i]` of the logits, where they lie.
    fn draw(
        &self,
        live: &mut [Live],
        logits: Tensor<2>,
        row_of: &[usize],
        prompts: &[Prompted],
    ) -> Result<()> {
        // Responses that share a row have seen the same: their prompt.
        let mut rows: Vec<(usize, &Live)> = row_of.iter().copied().zip(live.iter()).collect();
        rows.dedup_by_key(|(row, _)| *row);
        let held = rows.iter().flat_map(|(row, live)| live.seen.in_row(*row));
        let penalty = self.how.repetition_penalty as f32;
        let logits = ops::penalise(logits, penalty, Arc::new(held.collect()));
        let draws: Vec<Draw> = live
            .iter_mut()
            .zip(row_of)
            .map(|(response, &row)| response.sampler.next(row))
            .collect();
        for (response, token) in live.iter_mut().zip(ops::draw(logits, draws)) {
            let Some(token) = token else {
                return Err(Error::data(format!(
                    "prompt {}: the model's logits are not finite after {} response tokens",
                    prompts[response.prompt].id,
                    response.tokens.len()
                ))
                .hint(
                    "its weights are damaged or its training ran away: take an earlier checkpoint",
                ));
            };
            response.tokens.push(token);
            if self.penalises() {
                response.seen.add(token);
            }
        }
        Ok(())
    }

    /// Takes finished responses out of the batch.
    fn retire(
        &self,
        live: &mut Vec<Live>,
        prompts: &[Prompted],
        finished: &mut [Vec<Option<Drawn>>],
    ) -> Result<()> {
        let mut kept = Vec::with_capacity(live.len());
        for response in live.drain(..) {
            match self.ended(&response, &prompts[response.prompt])? {
                Some(drawn) => finished[response.prompt][response.index] = Some(drawn),
                None => kept.push(response),
            }
        }
        *live = kept;
        Ok(())
    }

    fn ended(&self, response: &Live, prompt: &Prompted) -> Result<Option<Drawn>> {
        let tokens = &response.tokens;
        let last = tokens[tokens.len() - 1];
        if self.chat.stop_ids().contains(&last) {
            return self.drawn(&tokens[..tokens.len() - 1], Finish::Stop);
        }
        if !self.how.stop.is_empty() {
            let text = self.chat.decode(tokens, true)?;
            let at = self
                .how
                .stop
                .iter()
                .filter_map(|stop| text.find(stop))
                .min();
            if let Some(at) = at {
                return Ok(Some(Drawn {
                    tokens: tokens.clone(),
                    text: text[..at].to_owned(),
                    finish: Finish::Stop,
                }));
            }
        }
        if tokens.len() >= self.limit(prompt) {
            return self.drawn(tokens, Finish::Length);
        }
        Ok(None)
    }

    fn drawn(&self, tokens: &[u32], finish: Finish) -> Result<Option<Drawn>> {
        Ok(Some(Drawn {
            text: self.chat.decode(tokens, true)?,
            tokens: tokens.to_vec(),
            finish,
        }))
    }
}
