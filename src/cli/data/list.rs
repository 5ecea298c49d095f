//! `duel data list`: the known data sets.

use super::super::{Global, output};
use crate::data::{Catalog, DataSet};
use crate::error::Result;
use clap::Args;
use serde::Serialize;

/// List the known data sets, with their layout and licence
///
/// With --json one line a set.
///
/// Example: duel data list
#[derive(Debug, Args)]
pub struct List {}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(flatten)]
    set: &'a DataSet,
}

impl List {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let catalog = Catalog::built_in();
        if global.json {
            return catalog
                .sets()
                .try_for_each(|(name, set)| output::json(&Named { name, set }));
        }
        let lines = catalog.sets().map(|(name, set)| {
            vec![
                name.to_owned(),
                set.hub.clone(),
                layout(set),
                set.licence.clone(),
                set.about.clone(),
            ]
        });
        let header = ["name", "on the hub", "layout", "licence", "what it holds"];
        output::print(&output::table(&header, lines.collect()))
    }
}

/// The layout as the catalogue writes it, and whether the set measures rather than teaches.
fn layout(set: &DataSet) -> String {
    let name = serde_json::to_value(set.layout).unwrap_or_default();
    let name = name.as_str().unwrap_or_default();
    match set.evaluation {
        true => format!("{name} (evaluation)"),
        false => name.to_owned(),
    }
}
