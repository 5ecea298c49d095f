//! The laws of recipes: what is shipped loads, what is wrong is pointed at, what is shown can be loaded again.

mod described;
mod errors;
mod layering;
mod shipped;
mod written;

use super::*;
use std::path::{Path, PathBuf};

/// A folder of recipe files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file in it");
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, overrides: &[&str]) -> crate::Result<Loaded> {
        let overrides: Vec<String> = overrides.iter().map(|&one| one.to_owned()).collect();
        Recipe::load(&self.path("recipe.toml"), &overrides)
    }

    /// The error of loading, without the folder's name.
    fn error(&self, overrides: &[&str]) -> String {
        let error = self.load(overrides).expect_err("the recipe is wrong");
        assert_eq!(error.exit_code(), 2);
        error.to_string().replace(&self.prefix(), "")
    }

    /// The folder's name as it stands before that of a file.
    fn prefix(&self) -> String {
        format!("{}{}", self.0.path().display(), std::path::MAIN_SEPARATOR)
    }
}

fn recipe(text: &str) -> Folder {
    Folder::new(&[("recipe.toml", text)])
}

const DPO: &str = "name = \"test\"

[model]
model_name_or_path = \"quickstart\"

[dpo.data]
files = \"pairs.jsonl\"
";

fn dpo(more: &str) -> Folder {
    recipe(&format!("{DPO}{more}"))
}

const ONLINE: &str = "name = \"test\"

[model]
model_name_or_path = \"quickstart\"

[online.prompts]
files = \"prompts.jsonl\"

[online.judge.reward]
model_name_or_path = \"rm\"
";

fn online(more: &str) -> Folder {
    recipe(&format!("{ONLINE}{more}"))
}
