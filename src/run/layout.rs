//! Where everything in a run directory lies. Nobody else joins these paths.
//!
//! ```text
//! runs/<name>/recipe.toml run.json metrics.jsonl events.out.tfevents.* report.html logs/
//!             sft/ reward/ reward-eval.json eval/{result.json,samples.jsonl}
//!             round-1/{prompts,responses,scores,pairs,reference}.jsonl round-1/checkpoint/ round-1/{kl,eval}.json
//!             round-1/eval/{result.json,responses.jsonl,samples.jsonl} ...
//! ```

use super::atomic::entries;
use crate::error::Result;
use std::path::{Path, PathBuf};

/// The paths of a run directory, for reading; [`super::RunDir`] is the one who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout under `root`; touches no file.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The run directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run's name: that of its directory.
    pub fn name(&self) -> String {
        let whole = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        let name = whole.file_name().unwrap_or(whole.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The resolved recipe.
    pub fn recipe(&self) -> PathBuf {
        self.root.join("recipe.toml")
    }

    /// Who ran it, when, and how it ended ([`super::RunInfo`]).
    pub fn info(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// One JSON object per logged step.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// The folder of log files.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What a pairwise model labelled by itself, an entry an iteration.
    pub fn pseudo_labels(&self) -> PathBuf {
        self.root.join("pairwise-ssrm.json")
    }

    /// The commits of the hub's data sets that it reads.
    pub fn data_sets(&self) -> PathBuf {
        self.root.join("data-sets.json")
    }

    /// Held, with an OS lock, by the process that writes.
    pub fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }

    /// What a run without rounds was evaluated to.
    pub fn samples(&self) -> PathBuf {
        self.root.join("eval").join("samples.jsonl")
    }

    /// The [`super::Measured`] of the evaluation that is the stage `stage`: `eval`, or a round's.
    pub fn evaluation(&self, stage: &str) -> PathBuf {
        self.root.join(stage).join("result.json")
    }

    /// The held-out accuracy of the reward model that the stage `stage` trained; `null` without held-out pairs.
    pub fn accuracy(&self, stage: &str) -> PathBuf {
        self.root.join(format!("{stage}-eval.json"))
    }

    /// The files of round `n`, counted from 1.
    pub fn round(&self, n: usize) -> RoundLayout {
        RoundLayout {
            n,
            root: self.root.join(format!("round-{n}")),
        }
    }

    /// The rounds that have a folder, in order.
    pub fn rounds(&self) -> Result<Vec<RoundLayout>> {
        let mut rounds: Vec<usize> = entries(&self.root)?
            .iter()
            .filter(|path| path.is_dir())
            .filter_map(|path| round_number(path.file_name()?.to_str()?))
            .collect();
        rounds.sort_unstable();
        Ok(rounds.into_iter().map(|n| self.round(n)).collect())
    }
}

/// The number in `round-<n>`.
pub(super) fn round_number(folder: &str) -> Option<usize> {
    folder.strip_prefix("round-")?.parse().ok()
}

/// The files of one online round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundLayout {
    n: usize,
    root: PathBuf,
}

impl RoundLayout {
    /// Which round, from 1.
    pub fn number(&self) -> usize {
        self.n
    }

    /// The stage name of one part: `round-1/responses` for `"responses"`.
    pub fn stage(&self, part: &str) -> String {
        format!("round-{}/{part}", self.n)
    }

    /// The prompts of this round.
    pub fn prompts(&self) -> PathBuf {
        self.root.join("prompts.jsonl")
    }

    /// K responses to each prompt.
    pub fn responses(&self) -> PathBuf {
        self.root.join("responses.jsonl")
    }

    /// The responses with their rewards.
    pub fn scores(&self) -> PathBuf {
        self.root.join("scores.jsonl")
    }

    /// How far the policy that drew them is from the start.
    pub fn kl(&self) -> PathBuf {
        self.root.join("kl.json")
    }

    /// The preference pairs made of them.
    pub fn pairs(&self) -> PathBuf {
        self.root.join("pairs.jsonl")
    }

    /// The pairs' log-probs under the reference.
    pub fn reference(&self) -> PathBuf {
        self.root.join("reference.jsonl")
    }

    /// The model after this round.
    pub fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    /// The round's [`super::RoundSummary`].
    pub fn eval(&self) -> PathBuf {
        self.root.join("eval.json")
    }

    /// Responses before and after ([`super::Sample`] rows).
    pub fn samples(&self) -> PathBuf {
        self.root.join("eval").join("samples.jsonl")
    }
}

/// The folder for what can be made again: `XDG_CACHE_HOME`, `LOCALAPPDATA`, or `.cache` in the home folder.
pub fn user_cache() -> PathBuf {
    let cache = ["XDG_CACHE_HOME", "LOCALAPPDATA"]
        .iter()
        .find_map(|key| std::env::var_os(key).filter(|folder| !folder.is_empty()));
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    cache
        .map(PathBuf::from)
        .or(home)
        .unwrap_or_else(std::env::temp_dir)
}
