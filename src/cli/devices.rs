//! `duel devices`: what this binary can compute on.

use super::{Global, output, setup};
use crate::error::Result;
use crate::pipeline::estimate;
use clap::Args;
use duel_backends::device::{DeviceInfo, find};

/// List what this binary can compute on, and what `--backend auto` takes
///
/// With --backend only that one's devices, with --device N too only that one. With --json one line a device.
///
/// Example: duel devices
#[derive(Debug, Args)]
pub struct Devices {
    /// Print rows for the table of adapters in docs/devices.md
    #[arg(long)]
    report: bool,
}

impl Devices {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let mut devices = duel_backends::device::list();
        if global.backend != "auto" || global.device.is_some() {
            // `webgpu` is the platform's own way by another name; a number without a name is no device.
            let index = global.device.unwrap_or(0);
            let found = find(&global.backend, index).filter(|_| global.backend != "auto");
            let named = found.map_or(&*global.backend, |found| found.backend);
            let is = |device: &DeviceInfo| {
                let numbered = global.device.is_none() || device.device == global.device;
                device.backend == named && numbered
            };
            devices.retain(is);
            if devices.is_empty() {
                // Why there is none, as every other command says it.
                setup::open_device(&global.backend, index)?;
            }
        }
        if self.report {
            return output::print(&report(&devices));
        }
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
                device
                    .step_tokens_per_second
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
            "tokens/s",
            "auto",
            "note",
        ];
        output::print(&output::table(&header, lines.collect()))
    }
}

/// Rows of the table of docs/devices.md: what was tried, where, and today's date.
fn report(devices: &[DeviceInfo]) -> String {
    let today = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let tried = devices.iter().filter(|device| device.device.is_some());
    let rows = tried.map(|device| {
        let mut outcome = vec![device.dtypes.join(", ")];
        outcome.extend(device.memory_bytes.map(gib));
        outcome.push(device.matmul_gflops.map_or_else(
            || "no matrix product".to_owned(),
            |rate| format!("{rate:.0} GFLOP/s"),
        ));
        let steps = device.step_tokens_per_second;
        outcome.extend(steps.map(|rate| format!("{rate:.0} tokens/s of a block")));
        format!(
            "| {} | {} | {} | {today} | {system}, duel {}: {} |",
            device.name,
            device.backend,
            device.driver,
            env!("CARGO_PKG_VERSION"),
            outcome.join("; "),
        )
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", estimate::gib(bytes))
}
