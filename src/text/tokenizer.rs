//! The tokenizer: text to ids and back, and the ids that mean something.

use super::files::TokenizerFiles;
use crate::error::{Error, Result};
use std::ops::Range;
use tokenizers::{PostProcessorWrapper, Tokenizer as Inner};

/// A tokenizer with its special ids. No method adds special tokens unless its name says so.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Inner,
    bos: Option<u32>,
    leading: Option<u32>,
    eos: u32,
    pad: u32,
}

impl Tokenizer {
    /// Builds the tokenizer of a model's files.
    ///
    /// # Errors
    /// A `tokenizer.json` that cannot be read, a special token outside the vocabulary, or no end-of-text token at all.
    pub fn new(files: &TokenizerFiles) -> Result<Self> {
        let mut inner = Inner::from_bytes(&files.tokenizer_json)
            .map_err(|error| broken(format!("tokenizer.json cannot be used: {error}")))?;
        // A length limit or a padding rule left in the file would change texts silently.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| broken(error.to_string()))?;
        let bos = named(&inner, files, "bos_token")?;
        let leading = leading(&inner, files, bos)?;
        let eos = named(&inner, files, "eos_token")?.or(files.eos_token_ids.first().copied());
        let eos = eos.ok_or_else(|| {
            Error::data("the tokenizer names no end-of-text token")
                .hint("add `\"eos_token\": \"...\"` to the model's tokenizer_config.json")
        })?;
        let pad = named(&inner, files, "pad_token")?.unwrap_or(eos);
        // Besides adding special tokens, which is done by hand here, a post-processor may trim offsets, and the loss
        // spans need them whole.
        inner.with_post_processor(None::<PostProcessorWrapper>);
        Ok(Self {
            inner,
            bos: bos.or(leading),
            leading,
            eos,
            pad,
        })
    }

    /// The ids of a text. Special tokens written out in the text become their ids; none is added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text, each with the bytes of the text that it covers.
    pub fn encode_with_ranges(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>> {
        let encoding = self.inner.encode(text, false).map_err(failed)?;
        let ranges = encoding
            .get_offsets()
            .iter()
            .map(|&(start, end)| start..end);
        Ok(encoding.get_ids().iter().copied().zip(ranges).collect())
    }

    /// The ids of a text that begins a sequence: with exactly one leading BOS where the tokenizer puts one.
    pub fn encode_with_bos(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode(text)?;
        if let Some(leading) = self.leading
            && ids.first() != Some(&leading)
        {
            ids.insert(0, leading);
        }
        Ok(ids)
    }

    /// The text of some ids, with or without the special tokens among them.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner.decode(ids, skip_special).map_err(failed)
    }

    /// One token, readable on its own: its text with line breaks spelt out, or its raw form where its bytes are only a part
    /// of a character.
    pub fn piece(&self, id: u32) -> String {
        let text = self.inner.decode(&[id], false).unwrap_or_default();
        if text.is_empty() || text.contains(char::REPLACEMENT_CHARACTER) {
            return self
                .inner
                .id_to_token(id)
                .unwrap_or_else(|| format!("<{id}>"));
        }
        text.chars()
            .map(|c| match c {
                c if c.is_control() => c.escape_default().to_string(),
                c => c.to_string(),
            })
            .collect()
    }

    /// The id of a token by its name.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether the id is a special token: one that no ordinary text becomes.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        added.contains_key(&id)
    }

    /// The beginning-of-text id, where the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The id that is put in front of plain text, where one is.
    pub fn leading(&self) -> Option<u32> {
        self.leading
    }

    /// The end-of-text id.
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The padding id; the end-of-text id where the model names none. The two may be the same.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// How many tokens there are, added ones included. The model's embedding may be larger.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The first id whose token `other` does not have under the same id; none where all ids mean the same to both.
    pub fn first_unlike(&self, other: &Self) -> Option<u32> {
        let theirs = other.inner.get_vocab(true);
        let own = self.inner.get_vocab(true).into_iter();
        let unlike = own.filter(|(token, id)| theirs.get(token) != Some(id));
        unlike.map(|(_, id)| id).min()
    }
}

/// The id of a special token that the files name.
fn named(inner: &Inner, files: &TokenizerFiles, name: &str) -> Result<Option<u32>> {
    let Some(token) = files.special_token(name) else {
        return Ok(None);
    };
    match inner.token_to_id(&token) {
        Some(id) => Ok(Some(id)),
        // Some releases name a padding token that they never added; eos does for it.
        None if name == "pad_token" => Ok(None),
        None => Err(Error::data(format!(
            "`{name}` is `{token}`, which is not in the vocabulary"
        ))
        .hint(format!(
            "correct `{name}` in the model's tokenizer_config.json"
        ))),
    }
}

/// The id in front of plain text: what `add_bos_token` says, else what the post-processor adds.
fn leading(inner: &Inner, files: &TokenizerFiles, bos: Option<u32>) -> Result<Option<u32>> {
    match files
        .tokenizer_config
        .get("add_bos_token")
        .and_then(|v| v.as_bool())
    {
        Some(false) => return Ok(None),
        Some(true) if bos.is_some() => return Ok(bos),
        _ => {}
    }
    let first = |special: bool| -> Result<Option<u32>> {
        let encoding = inner.encode_fast("a", special).map_err(failed)?;
        Ok(encoding.get_ids().first().copied())
    };
    let with = first(true)?;
    Ok(if with == first(false)? { None } else { with })
}

fn broken(fact: String) -> Error {
    Error::data(fact)
        .hint("fetch tokenizer.json again, or save it anew with a current transformers")
}

fn failed(error: tokenizers::Error) -> Error {
    Error::data(format!("the tokenizer failed: {error}"))
}
