//! The files that make a tokenizer, as Hugging Face lays them out.

use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// What a model directory (or a GGUF's metadata) says about its tokenizer.
#[derive(Debug, Clone, Default)]
pub struct TokenizerFiles {
    /// `tokenizer.json`, whole.
    pub tokenizer_json: String,
    /// `tokenizer_config.json`, an object (empty where the model has none).
    pub tokenizer_config: Value,
    /// The chat template's Jinja source: `chat_template.jinja`, or the field of `tokenizer_config.json`.
    pub chat_template: Option<String>,
    /// End-of-sequence ids of `generation_config.json` / `config.json`; generation stops at any of them.
    pub eos_token_ids: Vec<u32>,
    /// Small files by name, exactly as they were read, so that they go out byte for byte: re-printed JSON
    /// would turn the integer `1000000000000000019884624838656` that Hugging Face writes into a float.
    pub originals: Vec<(String, String)>,
}

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const GENERATION: &str = "generation_config.json";

impl TokenizerFiles {
    /// Reads the tokenizer of a Hugging Face model directory.
    ///
    /// # Errors
    /// When there is no `tokenizer.json`, or when one of the files is not JSON.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(TOKENIZER);
        let tokenizer_json = read_if_there(&path)?.ok_or_else(|| no_tokenizer(dir))?;
        let mut originals = Vec::new();
        for name in [CONFIG, SPECIAL_TOKENS, GENERATION] {
            if let Some(text) = read_if_there(&dir.join(name))? {
                originals.push((name.to_string(), text));
            }
        }
        let mut files = Self {
            tokenizer_json,
            tokenizer_config: Value::Object(serde_json::Map::new()),
            chat_template: read_if_there(&dir.join(TEMPLATE))?,
            eos_token_ids: end_ids(dir)?,
            originals,
        };
        if let Some(text) = files.original(CONFIG) {
            files.tokenizer_config = parse(&dir.join(CONFIG), text)?;
        }
        if files.chat_template.is_none() {
            files.chat_template = template_of(&files.tokenizer_config);
        }
        Ok(files)
    }

    /// Writes the files into a model directory that exists. What was read goes out byte for byte.
    pub fn write(&self, dir: &Path) -> Result<()> {
        write(&dir.join(TOKENIZER), &self.tokenizer_json)?;
        write(&dir.join(CONFIG), &self.config_text()?)?;
        if let Some(template) = &self.chat_template {
            write(&dir.join(TEMPLATE), template)?;
        }
        for name in [SPECIAL_TOKENS, GENERATION] {
            if let Some(text) = self.original(name) {
                write(&dir.join(name), text)?;
            }
        }
        Ok(())
    }

    /// These files with the end-of-sequence ids of `base`, where they name none: an adapter's folder holds the
    /// tokenizer, but seldom the settings of generation.
    pub fn with_ends_of(mut self, base: &Self) -> Self {
        if self.eos_token_ids.is_empty() {
            self.eos_token_ids.clone_from(&base.eos_token_ids);
            let settings = base.originals.iter().filter(|(name, _)| name == GENERATION);
            self.originals.extend(settings.cloned());
        }
        self
    }

    /// The special token called `name` (`bos_token`, `eos_token`, ...), where the files name one.
    pub fn special_token(&self, name: &str) -> Option<String> {
        let token = |value: &Value| match value.get(name)? {
            Value::String(token) => Some(token.clone()),
            other => Some(other.get("content")?.as_str()?.to_string()),
        };
        let map = || serde_json::from_str(self.original(SPECIAL_TOKENS)?).ok();
        token(&self.tokenizer_config).or_else(|| token(&map()?))
    }

    fn original(&self, name: &str) -> Option<&str> {
        let mut all = self.originals.iter();
        all.find(|(own, _)| own == name)
            .map(|(_, text)| text.as_str())
    }

    /// The configuration as text: its own text, unless somebody changed the value since.
    fn config_text(&self) -> Result<String> {
        if let Some(text) = self.original(CONFIG) {
            let unchanged = serde_json::from_str::<Value>(text)
                .is_ok_and(|value| value == self.tokenizer_config);
            if unchanged {
                return Ok(text.to_string());
            }
        }
        let empty = Value::Object(serde_json::Map::new());
        let config = match &self.tokenizer_config {
            Value::Null => &empty,
            config => config,
        };
        let text = serde_json::to_string_pretty(config)
            .map_err(|error| Error::internal(format!("cannot write {CONFIG}: {error}")))?;
        Ok(text + "\n")
    }
}

/// The template inside `tokenizer_config.json`: text, or a list of named ones of which `default` is meant.
fn template_of(config: &Value) -> Option<String> {
    match config.get("chat_template")? {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let default = named
                .iter()
                .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"));
            let entry = default.or_else(|| named.first())?;
            Some(entry.get("template")?.as_str()?.to_string())
        }
        _ => None,
    }
}

/// `eos_token_id` (a number or a list) of the first file that has one: generation's settings win.
fn end_ids(dir: &Path) -> Result<Vec<u32>> {
    for name in [GENERATION, "config.json"] {
        let path = dir.join(name);
        let Some(text) = read_if_there(&path)? else {
            continue;
        };
        let config = parse(&path, &text)?;
        let ids: Vec<u32> = match config.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
            Some(value) => id(value).into_iter().collect(),
            None => Vec::new(),
        };
        if !ids.is_empty() {
            return Ok(ids);
        }
    }
    Ok(Vec::new())
}

fn id(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn no_tokenizer(dir: &Path) -> Error {
    let fact = format!("{} holds no {TOKENIZER}", dir.display());
    if dir.join("tokenizer.model").exists() {
        return Error::data(format!("{fact}, only a SentencePiece tokenizer.model")).hint(
            "convert it once with transformers: `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)`",
        );
    }
    Error::data(fact).hint("point at a model directory in Hugging Face layout")
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::data(format!("{} is not UTF-8 text", path.display()))
                .hint("fetch the file again: it is damaged"))
        }
        Err(error) => Err(Error::io(path, "read", error)),
    }
}

fn parse(path: &Path, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        Error::data(format!("{} is not JSON: {error}", path.display()))
            .hint("fetch the file again: it is damaged")
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Error::io(path, "write", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        dir
    }

    #[test]
    fn what_was_read_goes_out_byte_for_byte() {
        let config = "{\n  \"model_max_length\": 1000000000000000019884624838656,\n  \"bos_token\": {\"content\": \"<s>\"}\n}";
        let files = [
            ("tokenizer.json", "{ \"version\":  \"1.0\" }"),
            ("tokenizer_config.json", config),
            ("special_tokens_map.json", "{\"eos_token\":\"</s>\"}\n"),
            ("chat_template.jinja", "{{ messages }}\n"),
            ("generation_config.json", "{\"eos_token_id\": [1,  2]}"),
        ];
        let read = TokenizerFiles::read(directory(&files).path()).expect("read");
        assert_eq!(read.special_token("bos_token").as_deref(), Some("<s>"));
        assert_eq!(read.special_token("eos_token").as_deref(), Some("</s>"));
        let out = directory(&[]);
        read.write(out.path()).expect("written");
        for (name, text) in files {
            let written = std::fs::read_to_string(out.path().join(name)).expect("there");
            assert_eq!(written, text, "{name}");
        }
    }

    #[test]
    fn a_changed_configuration_is_printed_anew() {
        let dir = directory(&[("tokenizer.json", "{}"), ("tokenizer_config.json", "{}")]);
        let mut read = TokenizerFiles::read(dir.path()).expect("read");
        read.tokenizer_config["pad_token"] = "<pad>".into();
        read.write(dir.path()).expect("written");
        let again = TokenizerFiles::read(dir.path()).expect("read again");
        assert_eq!(again.special_token("pad_token").as_deref(), Some("<pad>"));
    }

    #[test]
    fn old_layouts_keep_the_template_in_the_configuration() {
        let plain = r#"{"chat_template": "A"}"#;
        let named = r#"{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]}"#;
        for (config, expected) in [(plain, "A"), (named, "D")] {
            let dir = directory(&[("tokenizer.json", "{}"), ("tokenizer_config.json", config)]);
            let read = TokenizerFiles::read(dir.path()).expect("read");
            assert_eq!(read.chat_template.as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_settings_of_generation_name_the_end_ids_first() {
        let config = ("config.json", r#"{"eos_token_id": 7}"#);
        let generation = ("generation_config.json", r#"{"eos_token_id": [3, 4]}"#);
        let tokenizer = ("tokenizer.json", "{}");
        let both = directory(&[tokenizer, config, generation]);
        let one = directory(&[tokenizer, config]);
        let ids =
            |dir: &tempfile::TempDir| TokenizerFiles::read(dir.path()).map(|f| f.eos_token_ids);
        assert_eq!(ids(&both).expect("read"), [3, 4]);
        assert_eq!(ids(&one).expect("read"), [7]);
    }

    #[test]
    fn an_adapter_without_settings_of_generation_ends_as_its_base_does() {
        let tokenizer = ("tokenizer.json", "{}");
        let settings = ("generation_config.json", r#"{"eos_token_id": [3, 4]}"#);
        let other = ("generation_config.json", r#"{"eos_token_id": 5}"#);
        let read = |files: &[_]| TokenizerFiles::read(directory(files).path()).expect("read");
        let base = read(&[tokenizer, settings]);
        let silent = read(&[tokenizer]).with_ends_of(&base);
        assert_eq!(silent.eos_token_ids, [3, 4]);
        let out = directory(&[]);
        silent.write(out.path()).expect("written");
        let written = std::fs::read_to_string(out.path().join(settings.0)).expect("there");
        assert_eq!(written, settings.1);
        let own = read(&[tokenizer, other]).with_ends_of(&base);
        assert_eq!(own.eos_token_ids, [5]);
    }

    #[test]
    fn a_missing_tokenizer_and_broken_json_say_what_to_do() {
        let error = TokenizerFiles::read(directory(&[("tokenizer.model", "x")]).path());
        let text = error.expect_err("no tokenizer.json").to_string();
        assert!(
            text.contains("SentencePiece") && text.contains("hint: convert"),
            "{text}"
        );
        let broken = directory(&[("tokenizer.json", "{}"), ("tokenizer_config.json", "{")]);
        let text = TokenizerFiles::read(broken.path())
            .expect_err("broken")
            .to_string();
        assert!(text.contains("tokenizer_config.json is not JSON"), "{text}");
    }
}
