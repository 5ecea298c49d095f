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
                device
                    .device
                    .map_or_else(String::new, |index| index.to_string()),
                device.name,
                device.driver,
                device.memory_bytes.map_or_else(String::new, gib),
                device.dtypes.join(", "),
                device
                    .matmul_gflops
                    .map_or_else(String::new, |rate| format!("{rate:.0}")),
                if device.chosen { "yes" } else { "" }.to_owned(),
                device.note,
            ]
        });
        let header = [
            "--backend",
            "--device",
            "name",
            "driver",
            "memory",
            "computes in",
            "GFLOP/s",
            "auto",
            "note",
        ];
        output::print(&output::table(&header, lines.collect()))
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
