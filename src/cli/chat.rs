//! `duel chat`: talk to a model.

use super::kept::{Keeping, Serving};
use super::{Global, numbers, output, setup, stop};
use crate::data::Key;
use crate::error::{Error, Result};
use crate::generate::{Engine, Prompted};
use crate::recipe::{Sampling, WeightDtype};
use crate::text::{Dialogue, Message, Prompt};
use clap::Args;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};

/// Talk to a model; an empty line or ^D ends it, `/new` begins afresh, ^C stops a reply
///
/// With --json every line of stdin is a turn of the user, and every reply is a line of JSON: role, content, how it
/// finished (`stop` or `length`) and its tokens.
///
/// Example: duel chat --model runs/smollm2-hh/round-3/checkpoint
#[derive(Debug, Args)]
pub struct Chat {
    /// The model: a directory, a GGUF file, a hub id, or `quickstart`
    #[arg(long, default_value = "quickstart")]
    model: String,
    /// What the system turn says
    #[arg(long)]
    system: Option<String>,
    /// 0 is greedy
    #[arg(long, default_value_t = 0.7, value_parser = numbers::not_negative)]
    temperature: f64,
    /// Keep the likeliest tokens that together have this probability
    #[arg(long, default_value_t = 0.95, value_parser = numbers::share_above_0)]
    top_p: f64,
    /// Longest answer, in tokens
    #[arg(long, default_value_t = 256, value_parser = numbers::from_1)]
    max_new_tokens: usize,
    /// What the weights are rounded to: bf16 reads half of the bytes for each token, int8 a quarter
    #[arg(long, default_value = "f32")]
    dtype: WeightDtype,
    /// Everything random is drawn from it
    #[arg(long, default_value_t = 0, value_parser = numbers::seed)]
    seed: u64,
    #[command(flatten)]
    keeping: Keeping,
}

impl Chat {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let model = setup::drawer(&self.model, global, self.keeping, Serving::said(self.dtype))?;
        if !model.chat.has_template() {
            return Err(Error::data(format!("{} has no chat template", self.model))
                .hint("use an instruction-tuned model, or `duel generate` with text prompts"));
        }
        let how = Sampling {
            num_generations: 1,
            temperature: vec![self.temperature],
            top_p: self.top_p,
            max_new_tokens: self.max_new_tokens,
            dtype: self.dtype,
            ..Sampling::default()
        };
        let engine = Engine::new(&model.decoder, &model.chat, &how);
        let opening: Dialogue = self
            .system
            .iter()
            .map(|text| Message::new("system", text))
            .collect();
        let mut turns = opening.clone();
        let terminal = std::io::stdin().is_terminal() && !global.json;
        let mut lines = std::io::stdin().lock().lines();
        for turn in 0u64.. {
            if terminal {
                output::prompt("> ");
            }
            let Some(line) = lines.next() else { break };
            let line = line.map_err(|e| unread(turn + 1, &e))?;
            match line.trim() {
                "" => break,
                "/new" => {
                    turns.clone_from(&opening);
                    continue;
                }
                text => turns.push(Message::user(text)),
            }
            let asked = Prompted {
                id: turn.to_string(),
                tokens: model.chat.prompt(&Prompt::Chat(turns.clone()))?,
            };
            let (length, room) = (
                asked.tokens.len(),
                model.decoder.spec.max_position_embeddings,
            );
            if length >= room {
                turns.pop();
                let fact =
                    format!("the conversation has {length} tokens, and the model ends at {room}");
                if !terminal {
                    return Err(Error::data(fact).hint("`/new` on a line of its own begins afresh"));
                }
                output::note(&format!("({fact}: `/new` begins afresh)"));
                continue;
            }
            let mut replies = Vec::new();
            let written = stop::reply(|| {
                engine.generate(&[asked], Key::new(self.seed), &mut |_, drawn| {
                    replies.extend(drawn);
                    Ok(())
                })
            })?;
            if written.is_none() {
                if !terminal {
                    return Err(Error::interrupted("stopped in a reply"));
                }
                output::note("\n(the reply was stopped)");
                turns.pop();
                continue;
            }
            for reply in replies {
                match global.json {
                    true => output::json(&json!({
                        "role": "assistant",
                        "content": reply.text,
                        "finish": reply.finish,
                        "tokens": reply.tokens.len(),
                    }))?,
                    false => output::print(&output::printable(reply.text.trim()))?,
                }
                turns.push(Message::assistant(reply.text));
            }
        }
        std::io::stdout()
            .flush()
            .map_err(|e| Error::internal(e.to_string()))
    }
}

/// A line of stdin, counted from 1, that could not be read.
fn unread(line: u64, error: &std::io::Error) -> Error {
    Error::data(format!("line {line} of stdin cannot be read: {error}"))
        .hint("turns are lines of UTF-8 text: convert the input, for example with iconv")
}
