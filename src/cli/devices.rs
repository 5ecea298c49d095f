//! `duel devices`: what this binary can compute on.

use super::{Global, output};
use crate::error::Result;
use clap::Args;

/// List what this binary can compute on, and what `--backend auto` takes
///
/// With --json one line a device.
///
/// Example: duel devices
#[derive(Debug, Args)]
pub struct Devices {}

impl Devices {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let devices = duel_backends::device::list();
        if global.json {
            return devices.iter().try_for_each(output::json);
        }
        let lines = devices.into_iter().map(|device| {
            vec![
                device.backend.to_owned(),
                device.name,
                device.dtypes.join(", "),
                if device.chosen { "yes" } else { "" }.to_owned(),
                device.note,
            ]
        });
        let header = ["--backend", "device", "computes in", "auto", "note"];
        output::print(&output::table(&header, lines.collect()))
    }
}
