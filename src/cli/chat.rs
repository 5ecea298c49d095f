//! `duel chat`: talk to a model.

use super::{Global, output, setup};
use crate::data::Key;
use crate::error::{Error, Result};
use crate::generate::{Engine, Prompted};
use crate::recipe::Sampling;
use crate::text::{Dialogue, Message, Prompt};
use clap::Args;
use std::io::{BufRead, IsTerminal, Write};

/// Talk to a model; an empty line or ^D ends it, `/new` begins afresh
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
    #[arg(long, default_value_t = 0.7)]
    temperature: f64,
    /// Keep the likeliest tokens that together have this probability
    #[arg(long, default_value_t = 0.95)]
    top_p: f64,
    /// Longest answer, in tokens
    #[arg(long, default_value_t = 256)]
    max_new_tokens: usize,
    /// Everything random is drawn from it
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Chat {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let model = setup::model(&self.model, global)?;
        if !model.chat.has_template() {
            return Err(Error::data(format!("{} has no chat template", self.model))
                .hint("use an instruction-tuned model, or `duel generate` with text prompts"));
        }
        let how = Sampling {
            num_generations: 1,
            temperature: vec![self.temperature],
            top_p: self.top_p,
            max_new_tokens: self.max_new_tokens,
            ..Sampling::default()
        };
        let engine = Engine {
            decoder: &model.decoder,
            chat: &model.chat,
            how: &how,
        };
        let opening: Dialogue = self
            .system
            .iter()
            .map(|text| Message::new("system", text))
            .collect();
        let mut turns = opening.clone();
        let terminal = std::io::stdin().is_terminal();
        let mut lines = std::io::stdin().lock().lines();
        for turn in 0u64.. {
            if terminal {
                output::prompt("> ");
            }
            let Some(Ok(line)) = lines.next() else { break };
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
            let mut answer = String::new();
            engine.generate(&[asked], Key::new(self.seed), &mut |_, drawn| {
                answer = drawn.into_iter().next().map(|d| d.text).unwrap_or_default();
                Ok(())
            })?;
            output::print(answer.trim())?;
            turns.push(Message::assistant(answer));
        }
        std::io::stdout()
            .flush()
            .map_err(|e| Error::internal(e.to_string()))
    }
}
