//! A model as it lies on disk: weights, tokenizer and config together, in and out.

use super::build::{Kept, LoraShape, Values};
use super::decoder::Decoder;
use super::files::hub;
use super::files::peft::{self, Adapter, AdapterConfig};
use super::files::{
    Checkpoint, NamedTensor, StoreDtype, for_reward, write_generation_config, write_model,
};
use super::gated::Gated;
use super::init::Random;
use super::params::is_adapter;
use super::spec::{DecoderSpec, Head};
use crate::data::Key;
use crate::error::{Error, Result};
use crate::text::{Chat, TokenizerFiles};
use crate::trie::Trie;
use burn::tensor::{DType, Device};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A model with everything that travels with it.
pub struct Model {
    /// The weights, untracked.
    pub decoder: Decoder,
    /// The head of a multi-objective reward model.
    pub gated: Option<Gated>,
    /// Tokenizer and chat template.
    pub chat: Chat,
    /// `config.json`, verbatim.
    pub config: Value,
    /// The tokenizer's files.
    pub tokenizer: TokenizerFiles,
    /// Where it was read from: the base model's name in an adapter.
    pub path: PathBuf,
}

struct FromFiles<'a>(&'a Checkpoint);

impl Values for FromFiles<'_> {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.0.read(name, shape)
    }
}

struct FromAdapter<'a>(&'a Adapter);

impl Values for FromAdapter<'_> {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let found = self.0.tensors.iter().find(|(own, _, _)| own == name);
        match found {
            Some((_, own, values)) if own == shape => Ok(values.clone()),
            Some((_, own, _)) => Err(Error::data(format!(
                "the adapter's {name} has shape {own:?}, the model needs {shape:?}"
            ))
            .hint("is this adapter of another base model?")),
            None => Err(Error::data(format!("the adapter has no {name}"))),
        }
    }
}

/// An adapter of a layer that the decoder does not have (or does not adapt, as its output head) would be
/// dropped in silence.
fn refuse_foreign(adapter: &Adapter, decoder: &Decoder) -> Result<()> {
    let own = decoder.parameters();
    let foreign = |name: &&String| !own.iter().any(|parameter| parameter.name == **name);
    match adapter.tensors.iter().map(|(name, _, _)| name).find(foreign) {
        None => Ok(()),
        Some(name) => Err(Error::data(format!("the adapter's {name} belongs to no layer that duel adapts"))
            .hint("is this adapter of another base model? If not, merge it with PEFT (`merge_and_unload`) and give the result")),
    }
}

/// A reward model gives one number for a whole sequence and has no probability of a next token.
fn refuse_reward(head: Head, name: &str) -> Result<()> {
    match head {
        Head::LanguageModel => Ok(()),
        Head::Score | Head::Gated => Err(Error::user(format!(
            "{name} is a reward model: it scores, it does not write"
        ))
        .hint("use the model it was trained from; `duel judge` scores responses")),
    }
}

/// Says where a score is read if the padding also ends a turn: the token before the end is not the one that most reward
/// models were trained at, and trainers of old read it behind the prompt, where all responses score alike.
fn warn_of_padding(spec: &DecoderSpec, chat: &Chat, path: &Path) {
    if let Some(pad) = spec.pad_token_id
        && chat.stop_ids().contains(&pad)
    {
        tracing::warn!(
            "{}: the pad token {pad} also ends a turn, so the score is read at the token before it, as transformers \
             reads it since 4.50",
            path.display()
        );
    }
}

/// Refuses a reward model where one that writes is needed, by its files, before any weight is read.
///
/// # Errors
/// A user error for a reward model; what is missing or damaged, by file.
pub fn must_write(path: &Path) -> Result<()> {
    refuse_reward(head_of(path)?, &path.display().to_string())
}

fn head_of(path: &Path) -> Result<Head> {
    if !path.join("adapter_config.json").exists() {
        return Ok(Checkpoint::open(path)?.spec.head);
    }
    let adapter = peft::read_adapter(path)?;
    let scores = |(name, _, _): &NamedTensor| name == "score.weight";
    match base_of(path, &adapter)? {
        _ if adapter.tensors.iter().any(scores) => Ok(Head::Score),
        Some(base) => head_of(&base),
        // That it names no base is said where it is loaded.
        None => Ok(Head::LanguageModel),
    }
}

/// The model under an adapter in `path`, where it names one.
fn base_of(path: &Path, adapter: &Adapter) -> Result<Option<PathBuf>> {
    let Some(base) = &adapter.config.base_model_name_or_path else {
        return Ok(None);
    };
    let base = hub::resolve(base, adapter.config.revision.as_deref(), false);
    base.map(Some).map_err(|e| e.at(path.display()))
}

/// What the decoder in `path` is, that of its base for an adapter; no weight is read. None of an adapter without a base.
///
/// # Errors
/// What is missing or damaged, by file.
pub fn spec_of(path: &Path) -> Result<Option<DecoderSpec>> {
    if !path.join("adapter_config.json").exists() {
        return Ok(Some(Checkpoint::open(path)?.spec));
    }
    match base_of(path, &peft::read_adapter(path)?)? {
        Some(base) => spec_of(&base),
        None => Ok(None),
    }
}

impl Model {
    /// Refuses a reward model where one that writes is needed; `name` is what the user calls it.
    ///
    /// # Errors
    /// A user error for a reward model.
    pub fn must_write(&self, name: &str) -> Result<()> {
        refuse_reward(self.decoder.spec.head, name)
    }

    /// Reads a Hugging Face directory, a GGUF file, or a PEFT adapter with its base; in f32.
    ///
    /// # Errors
    /// What is missing or damaged, by file and tensor.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        Self::load_kept(path, device, Kept::default())
    }

    /// The same with its matrices kept as asked.
    ///
    /// # Errors
    /// What is missing or damaged, by file and tensor.
    pub fn load_kept(path: &Path, device: &Device, kept: Kept) -> Result<Self> {
        if path.join("adapter_config.json").exists() {
            return Self::load_adapted(path, device, kept);
        }
        let checkpoint = Checkpoint::open(path)?;
        let tokenizer = match checkpoint.tokenizer_files() {
            Some(files) => files?,
            None => TokenizerFiles::read(path)?,
        };
        let chat = Chat::new(&tokenizer).map_err(|e| e.at(path.display()))?;
        let spec = &checkpoint.spec;
        if chat.vocab_size() > spec.vocab_size {
            return Err(Error::data(format!(
                "{}: the tokenizer has {} tokens, the model only {}",
                path.display(),
                chat.vocab_size(),
                spec.vocab_size
            ))
            .hint("take tokenizer.json and the weights from the same model"));
        }
        warn_of_padding(spec, &chat, path);
        let decoder = Decoder::build_kept(spec, &mut FromFiles(&checkpoint), device, kept)?;
        Ok(Self {
            decoder,
            gated: Gated::open(&checkpoint, device)?,
            chat,
            config: checkpoint.config.clone(),
            tokenizer,
            path: path.to_owned(),
        })
    }

    fn load_adapted(path: &Path, device: &Device, kept: Kept) -> Result<Self> {
        let adapter = peft::read_adapter(path)?;
        let base = base_of(path, &adapter)?.ok_or_else(|| {
            Error::data(format!(
                "{} names no base model",
                path.join("adapter_config.json").display()
            ))
            .hint("set `base_model_name_or_path` in it to the base model's folder")
        })?;
        let mut model = Self::load_kept(&base, device, kept)?;
        let has = |wanted: &str| adapter.tensors.iter().any(|(name, _, _)| name == wanted);
        if has("score.weight") {
            let score = FromAdapter(&adapter)
                .values("score.weight", &[1, model.decoder.spec.hidden_size])?;
            model = model.with_score_values(score, device)?;
        }
        let shape_of = |module: &str| {
            let config = &adapter.config;
            has(&format!("{module}.lora_A"))
                .then(|| (config.rank_of(module), config.scale_of(module)))
        };
        model.decoder = model
            .decoder
            .adapt_where(&shape_of, &mut FromAdapter(&adapter))
            .map_err(|e| e.at(path.display()))?;
        refuse_foreign(&adapter, &model.decoder).map_err(|e| e.at(path.display()))?;
        if let Ok(tokenizer) = TokenizerFiles::read(path) {
            let tokenizer = tokenizer.with_ends_of(&model.tokenizer);
            model.chat = Chat::new(&tokenizer)?;
            model.tokenizer = tokenizer;
        }
        Ok(model)
    }

    /// The model under another chat template, which it is saved with, too.
    ///
    /// # Errors
    /// A template that is none.
    pub fn with_chat_template(mut self, template: &str) -> Result<Self> {
        self.tokenizer.chat_template = Some(template.to_owned());
        self.chat = Chat::new(&self.tokenizer)?;
        Ok(self)
    }

    /// The model with a fresh score head, as a Bradley-Terry model begins: weights drawn with the config's
    /// `initializer_range`.
    ///
    /// # Errors
    /// A config that cannot become a classifier's.
    pub fn with_score_head(self, key: Key, device: &Device) -> Result<Self> {
        let values = self.fresh_head(key)?;
        self.with_score_values(values, device)
    }

    /// The model with one more fresh score head, for a loss that needs it.
    ///
    /// # Errors
    /// As [`Self::with_score_head`].
    pub fn with_head_more(mut self, key: Key) -> Result<Self> {
        let values = self.fresh_head(key)?;
        self.decoder = self.decoder.with_head_more(values);
        Ok(self)
    }

    fn fresh_head(&self, key: Key) -> Result<Vec<f32>> {
        let range = self.config.get("initializer_range").and_then(Value::as_f64);
        let hidden = self.decoder.spec.hidden_size;
        let mut random = Random::new(key, range.unwrap_or(0.02));
        random.values("score.weight", &[1, hidden])
    }

    fn with_score_values(mut self, values: Vec<f32>, device: &Device) -> Result<Self> {
        let mut spec = DecoderSpec {
            head: Head::Score,
            ..(*self.decoder.spec).clone()
        };
        if self.decoder.score.is_none() {
            let pad = self.reward_pad();
            self.config = for_reward(&self.config, pad)?;
            // Trained as it will be read.
            spec.pad_token_id = Some(pad);
        }
        self.decoder = self.decoder.with_score(spec, values, device);
        self.gated = None;
        Ok(self)
    }

    /// The model under a multi-objective head instead of the one it has.
    ///
    /// # Errors
    /// A config that cannot become such a model's.
    pub fn with_gated_head(mut self, gated: Gated) -> Result<Self> {
        let spec = DecoderSpec {
            head: Head::Gated,
            ..(*self.decoder.spec).clone()
        };
        self.config = gated.config(&self.config, self.reward_pad())?;
        self.decoder = self.decoder.without_head(spec);
        self.gated = Some(gated);
        Ok(self)
    }

    /// One score a sequence, `[sequences]`, by whichever head scores. Under a gate each sequence marks where its question ends.
    ///
    /// # Panics
    /// If no head scores.
    pub fn scores(&self, trie: &Trie) -> Vec<f32> {
        match &self.gated {
            Some(gated) => gated.opinions(self.decoder.embeddings(trie)).scores,
            None => self
                .decoder
                .rewards(trie)
                .into_data()
                .iter::<f32>()
                .collect(),
        }
    }

    /// Whether it scores responses.
    pub fn is_reward_model(&self) -> bool {
        self.decoder.score.is_some() || self.gated.is_some()
    }

    /// A pad token for the classifier's config that never ends a sequence: transformers looks for the last
    /// token that is not the pad.
    fn reward_pad(&self) -> u32 {
        let ends = self.chat.stop_ids();
        let pad = self.chat.pad_id();
        if !ends.contains(&pad) {
            return pad;
        }
        let unused = |id: &u32| !ends.contains(id) && self.chat.tokenizer().is_special(*id);
        let vocab = self.chat.vocab_size() as u32;
        (0..vocab).find(unused).unwrap_or(pad)
    }

    /// Writes the weights that `decoder` holds with this model's tokenizer and config: a whole model with its
    /// adapters merged, or where `lora` is given the adapter alone.
    ///
    /// # Errors
    /// When writing fails.
    pub fn save(
        &self,
        dir: &Path,
        decoder: &Decoder,
        lora: Option<&LoraShape>,
        dtype: StoreDtype,
    ) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", e))?;
        let written = match lora {
            Some(_) => decoder.clone(),
            None => decoder.clone().merged(),
        };
        let mut tensors: Vec<NamedTensor> = written
            .parameters()
            .into_iter()
            .filter(|p| lora.is_none() || is_adapter(&p.name) || p.name == "score.weight")
            .map(|p| {
                let values = p.values.cast(DType::F32).into_data().try_into_vec();
                (p.name, p.shape, values.expect("cast to f32"))
            })
            .collect();
        if let (Some(gated), None) = (&self.gated, lora) {
            tensors.extend(gated.tensors());
        }
        self.tokenizer.write(dir)?;
        write_generation_config(dir, &self.config, self.chat.stop_ids())?;
        match lora {
            None => {
                if let Some(tree) = self.gated.as_ref().and_then(|gated| gated.tree.as_ref()) {
                    tree.write(dir)?;
                }
                write_model(dir, &self.config, tensors, dtype)
            }
            Some(lora) => {
                peft::write_adapter(dir, &self.adapter_config(lora, decoder)?, tensors, dtype)
            }
        }
    }

    fn adapter_config(&self, lora: &LoraShape, decoder: &Decoder) -> Result<AdapterConfig> {
        // On another machine the cache lies elsewhere, but the hub's name means the same.
        let (base, revision) = match hub::origin(&self.path) {
            Some((id, commit)) => (id, Some(commit)),
            None => {
                let path = std::path::absolute(&self.path);
                let path = path.map_err(|e| Error::io(&self.path, "find", e))?;
                (path.display().to_string(), None)
            }
        };
        let task = match decoder.spec.head {
            Head::LanguageModel => "CAUSAL_LM",
            Head::Score | Head::Gated => "SEQ_CLS",
        };
        Ok(AdapterConfig {
            r: lora.r,
            lora_alpha: lora.alpha,
            lora_dropout: 0.0,
            target_modules: lora.targets.clone(),
            task_type: Some(task.into()),
            base_model_name_or_path: Some(base),
            revision,
            bias: "none".into(),
            use_rslora: lora.rank_stabilised,
            modules_to_save: None,
            rank_pattern: Default::default(),
            alpha_pattern: Default::default(),
        })
    }
}
