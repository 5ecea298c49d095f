//! `duel data show`: the tokens of the first rows, and which of them are learned.

use super::super::{Global, output, setup};
use super::rows::{self, Tokens};
use super::{Rows, chat, rows_of};
use crate::data::LoadOptions;
use crate::error::Result;
use crate::text::{Chat, Spans};
use clap::Args;
use serde::Serialize;

/// Print the first rows token by token: what the model sees, and what it learns from
///
/// `●` marks the tokens that are learned (scored, in a pair), `·` stands for a space. With --json one line a row.
///
/// Example: duel data show pairs.jsonl --model HuggingFaceTB/SmolLM2-135M-Instruct --rows 1
#[derive(Debug, Args)]
pub struct Show {
    /// The rows: jsonl or parquet, a data set of the hub, or `quickstart:NAME`
    file: String,
    /// Whose tokenizer and chat template: a directory, a GGUF file, a hub id, or `quickstart`
    #[arg(long)]
    model: String,
    /// How many rows
    #[arg(long, default_value_t = 3, value_name = "N")]
    rows: usize,
    #[command(flatten)]
    how: Rows,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    origin: String,
    kind: &'static str,
    sequences: Vec<Sequence>,
}

#[derive(Serialize)]
struct Sequence {
    name: &'static str,
    /// Tokens in front that an earlier sequence of the row has as well.
    shared: usize,
    tokens: Vec<u32>,
    pieces: Vec<String>,
    scored: Vec<bool>,
}

impl Show {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let options = LoadOptions {
            limit: Some(self.rows),
            ..self.how.reading.options_of(self.file.as_ref())
        };
        let (rows, report) = rows::load(&rows_of(&self.file)?, self.how.kind, &options)?;
        let chat = chat(&self.model)?;
        setup::warn_of_plain(&chat, rows.plain_prompts().into_iter())?;
        for row in rows.encode(&chat) {
            let tokens = row.tokens.map_err(|error| error.at(row.origin))?;
            let row = Row {
                id: row.id,
                origin: row.origin.to_string(),
                kind: rows.kind(),
                sequences: sequences(tokens, &chat),
            };
            match global.json {
                true => output::json(&row)?,
                false => output::print(&row.text())?,
            }
        }
        if report.total() > report.kept {
            output::report(&report);
        }
        Ok(())
    }
}

/// What of a row goes through the model.
fn sequences(tokens: Tokens, chat: &Chat) -> Vec<Sequence> {
    match tokens {
        Tokens::Pair(pair) => {
            let whole = |response: &[u32]| Spans {
                ids: [pair.prompt.as_slice(), response].concat(),
                // The first token of a sequence is never scored: nothing precedes it.
                scored: (0..pair.prompt.len() + response.len())
                    .map(|at| at >= pair.prompt.len().max(1))
                    .collect(),
            };
            vec![
                Sequence::new("chosen", 0, &whole(&pair.chosen), chat),
                Sequence::new("rejected", pair.prompt.len(), &whole(&pair.rejected), chat),
            ]
        }
        Tokens::Learned(spans) => vec![Sequence::new("sequence", 0, &spans, chat)],
        Tokens::Judged(row) => {
            let ids = [row.prompt, row.answer].concat();
            let scored = vec![false; ids.len()];
            vec![Sequence::new("response", 0, &Spans { ids, scored }, chat)]
        }
        Tokens::Prompt(ids) => {
            let scored = vec![false; ids.len()];
            vec![Sequence::new("prompt", 0, &Spans { ids, scored }, chat)]
        }
    }
}

impl Sequence {
    fn new(name: &'static str, shared: usize, spans: &Spans, chat: &Chat) -> Self {
        let (mut tokens, mut pieces, mut scored) = (Vec::new(), Vec::new(), Vec::new());
        for (id, piece, learned) in chat.table(spans) {
            tokens.push(id);
            pieces.push(piece);
            scored.push(learned);
        }
        Self {
            name,
            shared,
            tokens,
            pieces,
            scored,
        }
    }

    fn text(&self) -> String {
        let learned = self.scored.iter().filter(|scored| **scored).count();
        let after = match self.shared {
            0 => String::new(),
            shared => format!("; the first {shared} as above"),
        };
        let lines = (self.shared..self.tokens.len()).map(|at| {
            vec![
                at.to_string(),
                self.tokens[at].to_string(),
                self.pieces[at].replace(' ', "·"),
                if self.scored[at] { "●" } else { "" }.to_owned(),
            ]
        });
        format!(
            "{}: {} tokens, {learned} learned{after}\n{}",
            self.name,
            self.tokens.len(),
            output::table(&["at", "id", "token", "learned"], lines.collect())
        )
    }
}

impl Row<'_> {
    fn text(&self) -> String {
        let sequences: Vec<String> = self.sequences.iter().map(Sequence::text).collect();
        format!(
            "{} ({}, id {})\n{}\n",
            self.origin,
            self.kind,
            self.id,
            sequences.join("\n")
        )
    }
}
