//! The recipes that come with duel, inside the binary.

use super::complaint::closest;
use crate::Error;
use std::path::Path;

/// A shipped recipe file.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// Its path in the repository.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($path:literal),* $(,)?) => {
        &[$(Shipped { path: $path, text: include_str!(concat!("../../", $path)) }),*]
    };
}

/// Every shipped file, those that others extend included.
pub static SHIPPED: &[Shipped] = shipped![
    "recipes/quickstart/quickstart.toml",
    "recipes/quickstart/pretrain.toml",
    "recipes/smollm2-hh/base.toml",
    "recipes/smollm2-hh/sft.toml",
    "recipes/smollm2-hh/reward.toml",
    "recipes/smollm2-hh/online.toml",
    "recipes/smollm2-hh/online-lora.toml",
    "recipes/smollm2-hh/dpo.toml",
    "recipes/llama3-8b/base.toml",
    "recipes/llama3-8b/sft.toml",
    "recipes/llama3-8b/reward.toml",
    "recipes/llama3-8b/pairwise.toml",
    "recipes/llama3-8b/multi-objective.toml",
    "recipes/llama3-8b/decision-tree.toml",
    "recipes/llama3-8b/process.toml",
    "recipes/llama3-8b/outcome.toml",
    "recipes/llama3-8b/scalar.toml",
    "recipes/llama3-8b/dpo.toml",
    "recipes/llama3-8b/online.toml",
    "recipes/llama3-8b/online-concise.toml",
    "recipes/llama3-8b/online-released.toml",
    "recipes/gemma-2b/base.toml",
    "recipes/gemma-2b/sft.toml",
    "recipes/gemma-2b/reward.toml",
    "recipes/gemma-2b/odin.toml",
    "recipes/gemma-2b/pairwise.toml",
    "recipes/gemma-2b/ssrm.toml",
    "recipes/gemma-2b/online.toml",
    "recipes/gemma-2-9b/base.toml",
    "recipes/gemma-2-9b/sft.toml",
    "recipes/gemma-2-9b/reward.toml",
    "recipes/gemma-2-9b/pairwise.toml",
    "recipes/gemma-2-9b/rrm.toml",
    "recipes/gemma-2-9b/online.toml",
    "recipes/mistral-7b/base.toml",
    "recipes/mistral-7b/sft.toml",
    "recipes/mistral-7b/reward.toml",
    "recipes/mistral-7b/pairwise.toml",
    "recipes/mistral-7b/online.toml",
    "recipes/studies/base.toml",
    "recipes/studies/bradley-terry.toml",
    "recipes/studies/odin.toml",
    "recipes/studies/pairwise.toml",
    "recipes/studies/rrm.toml",
    "recipes/studies/rrm-filtered.toml",
    "recipes/studies/labelled.toml",
    "recipes/studies/ssrm.toml",
    "recipes/studies/supervised.toml",
    "recipes/studies/arithmetic-policy.toml",
    "recipes/studies/arithmetic-process.toml",
    "recipes/studies/arithmetic-outcome.toml",
    "recipes/studies/arithmetic-scalar.toml",
    "recipes/studies/arithmetic-reward.toml",
    "recipes/studies/objectives.toml",
    "recipes/studies/objectives-by-prompt.toml",
    "recipes/studies/policy.toml",
    "recipes/studies/policy-once.toml",
    "recipes/studies/policy-offline.toml",
    "recipes/studies/policy-concise.toml",
    "recipes/studies/policy-previous.toml",
    "recipes/studies/policy-odin.toml",
    "recipes/studies/policy-longer.toml",
    "recipes/studies/policy-tax.toml",
    "recipes/studies/domains.toml",
];

impl Shipped {
    /// The name that `duel run` takes: `family/recipe`.
    pub fn name(&self) -> &'static str {
        let path = self.path.strip_prefix("recipes/").unwrap_or(self.path);
        path.strip_suffix(".toml").unwrap_or(path)
    }

    /// The recipe's own one-line description.
    pub fn description(&self) -> String {
        toml::from_str::<toml::Table>(self.text)
            .ok()
            .and_then(|table| Some(table.get("description")?.as_str()?.to_owned()))
            .unwrap_or_default()
    }
}

/// The shipped recipes that can be run: all but the `base` files.
pub fn catalogue() -> impl Iterator<Item = &'static Shipped> {
    SHIPPED
        .iter()
        .filter(|shipped| !shipped.name().ends_with("/base"))
}

/// The path of the shipped recipe of this name, with or without `.toml`; `quickstart` is `quickstart/quickstart`.
pub(super) fn shipped_path(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".toml").unwrap_or(name);
    SHIPPED
        .iter()
        .find(|shipped| {
            let own = shipped.name();
            let path = shipped.path.strip_suffix(".toml");
            own == name || path == Some(name) || own == format!("{name}/{name}")
        })
        .map(|shipped| shipped.path)
}

/// The text at a shipped path.
pub(super) fn shipped_text(path: &Path) -> Option<&'static str> {
    SHIPPED
        .iter()
        .find(|shipped| Path::new(shipped.path) == path)
        .map(|shipped| shipped.text)
}

/// The error for a name that is neither a file nor a shipped recipe.
pub(super) fn unknown(name: &str) -> Error {
    let error = Error::user(format!(
        "`{name}` is neither a file nor a recipe that comes with duel"
    ));
    match closest(name, catalogue().map(Shipped::name)) {
        Some(likely) => error.hint(format!(
            "did you mean `{likely}`? `duel recipe list` shows them all"
        )),
        None => error.hint("`duel recipe list` shows the recipes that come with duel"),
    }
}
