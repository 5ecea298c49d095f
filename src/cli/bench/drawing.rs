//! The kinds that train nothing: drawing responses and judging them.

use super::{Bench, Global, setup, where_it_went};
use crate::data::{Key, has_pairs, load_preferences, load_prompts};
use crate::error::{Error, Result};
use crate::generate::{Engine, Prompted};
use crate::judge::RewardJudge;
use crate::model::Model;
use crate::pipeline::judges::score_with;
use crate::pipeline::responses::{self, GroupRow};
use crate::recipe::Sampling;
use crate::text::{Answer, Chat};
use duel_backends::clock;
use serde_json::{Value, json};
use std::time::Instant;

/// Longest prompt with response that is judged, in tokens.
const JUDGED_LENGTH: usize = 2048;

/// Draws K responses to the first prompts, once to warm up and once measured.
pub fn generate(bench: &Bench, model: &Model) -> Result<Value> {
    let how = Sampling {
        num_generations: bench.k,
        max_new_tokens: bench.max_new_tokens,
        temperature: vec![bench.temperature],
        dtype: bench.dtype,
        max_tokens_per_batch: usize::MAX,
        ..Sampling::default()
    };
    let chat = model.chat.clone().endless();
    let prompts = prompts(bench, &model.chat)?;
    let engine = Engine::new(&model.decoder, &chat, &how);
    engine.generate(&prompts, Key::new(1), &mut |_, _| Ok(()))?;
    let began = Instant::now();
    let mut drawn = 0;
    clock::start();
    engine.generate(&prompts, Key::new(0), &mut |_, responses| {
        drawn += responses.iter().map(|r| r.tokens.len()).sum::<usize>();
        Ok(())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "kind": "generate",
        "dtype": how.dtype,
        "prompts": prompts.len(),
        "k": bench.k,
        "tokens": drawn,
        "seconds": seconds,
        "tokens_per_second": drawn as f64 / seconds,
        "where": where_it_went(clock::stop(), seconds),
    }))
}

/// The first prompts of whatever rows the file has.
fn prompts(bench: &Bench, chat: &Chat) -> Result<Vec<Prompted>> {
    let (files, options) = bench.source()?;
    let files = &files[..];
    let rows: Vec<_> = match has_pairs(files, &options) {
        true => load_preferences(files, &options)?
            .0
            .into_iter()
            .map(|row| (row.id, row.prompt))
            .collect(),
        false => load_prompts(files, &options)?
            .0
            .into_iter()
            .map(|row| (row.id, row.prompt))
            .collect(),
    };
    let prompted = |(id, prompt)| {
        let tokens = chat.prompt(&prompt)?;
        Ok(Prompted { id, tokens })
    };
    rows.into_iter().take(bench.pairs).map(prompted).collect()
}

/// Gives the responses to the first prompts their rewards, after one group to warm up.
pub fn judge(bench: &Bench, model: Model, global: &Global) -> Result<Value> {
    let model = match model.decoder.score {
        Some(_) => model,
        None => model.with_score_head(Key::new(0), &setup::device(global)?)?,
    };
    let groups = groups(bench, &model.chat)?;
    let tokens = tokens(&groups, &model.chat)?;
    let mut judge = RewardJudge::new(&model, JUDGED_LENGTH, 4096)?;
    score_with(&mut judge, groups[..1].to_vec(), &mut |_| Ok(()))?;
    let began = Instant::now();
    let mut judged = 0;
    score_with(&mut judge, groups, &mut |row| {
        judged += row.rewards.len();
        Ok(())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "kind": "judge",
        "responses": judged,
        "tokens": tokens,
        "seconds": seconds,
        "responses_per_second": judged as f64 / seconds,
        // As a judge without shared prefixes would count them.
        "tokens_per_second": tokens as f64 / seconds,
    }))
}

/// The first rows with their responses; of a pair K are made, each a little different.
fn groups(bench: &Bench, chat: &Chat) -> Result<Vec<GroupRow>> {
    let (files, options) = bench.source()?;
    let files = &files[..];
    if !has_pairs(files, &options) {
        let (rows, _) = load_prompts(files, &options)?;
        let answered = rows.iter().filter(|row| !row.responses.is_empty());
        let groups: Vec<GroupRow> = answered.take(bench.pairs).map(responses::read).collect();
        return match groups.is_empty() {
            false => Ok(groups),
            true => Err(Error::data(format!("{}: no row has responses", bench.data.display()))
                .hint("rows need `responses`, or `chosen` and `rejected`; `duel generate` writes the former")),
        };
    }
    let (rows, _) = load_preferences(files, &options)?;
    let group = |row: &crate::data::Preference| {
        let both = [words(&row.chosen, chat)?, words(&row.rejected, chat)?];
        let response = |i: usize| format!("{} ({i})", both[i % 2].trim());
        Ok(GroupRow {
            id: row.id.clone(),
            prompt: (&row.prompt).into(),
            responses: (0..bench.k).map(response).collect(),
            finish: Vec::new(),
            tokens: Vec::new(),
            rewards: Vec::new(),
            answer: None,
        })
    };
    rows.iter().take(bench.pairs).map(group).collect()
}

/// The tokens of every prompt with its response.
fn tokens(groups: &[GroupRow], chat: &Chat) -> Result<usize> {
    let mut tokens = 0;
    for row in groups {
        let prompt = row.prompt.clone().into();
        for response in &row.responses {
            let encoded = chat.response(&prompt, response, true)?;
            tokens += encoded.prompt.len() + encoded.answer.len();
        }
    }
    Ok(tokens)
}

/// The last words of a response.
fn words(answer: &Answer, chat: &Chat) -> Result<String> {
    match answer {
        Answer::Chat(turns) => Ok(turns.last().map_or_else(String::new, |t| t.content.clone())),
        Answer::Text(text) => Ok(text.clone()),
        Answer::Ids(ids) => chat.decode(ids, true),
    }
}
