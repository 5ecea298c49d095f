//! `duel quickstart`: the whole recipe on the model inside the binary.

use super::{Global, run};
use crate::error::Result;
use crate::pipeline::Until;
use crate::recipe::Recipe;
use clap::Args;

/// The whole recipe on the model inside the binary: SFT, reward model, three rounds of online DPO, evaluation
///
/// Example: duel quickstart --json
#[derive(Debug, Args)]
pub struct Quickstart {
    /// Where the run is kept
    #[arg(long)]
    output_dir: Option<String>,
    /// Change a value of the recipe: table.key=value
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Replace stages, done or half done, whose data or starting model changed since
    #[arg(long)]
    redo: bool,
}

impl Quickstart {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let mut overrides = Vec::new();
        if let Some(folder) = &self.output_dir {
            overrides.push(format!(
                "output_dir={}",
                toml::Value::String(folder.clone())
            ));
        }
        if global.backend != "auto" {
            let backend = toml::Value::String(global.backend.clone());
            overrides.push(format!("device.backend={backend}"));
        }
        if let Some(index) = global.device {
            overrides.push(format!("device.index={index}"));
        }
        overrides.extend(self.set.iter().cloned());
        let loaded = Recipe::open("quickstart/quickstart", &overrides)?;
        run::execute(&loaded, global, Until::End, self.redo)
    }
}
