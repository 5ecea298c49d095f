//! How a command keeps a model that it only reads, and whether the device has room for that.

use super::{Global, setup};
use crate::error::{Error, Result};
use crate::model::{DecoderSpec, Kept, memory, spec_of};
use crate::pipeline::context;
use crate::recipe::Dtype;
use burn::tensor::Device;
use clap::Args;
use duel_backends::device::{self, Found, computes};
use duel_backends::ops::Operands;
use std::fmt::Display;
use std::path::Path;

/// How a model that is only read is kept.
#[derive(Debug, Clone, Copy, Args)]
pub struct Keeping {
    /// What matrix products read: in bf16 or f16 the model takes half of the memory, and auto is the fewest bits that the
    /// device computes with
    #[arg(long, default_value = "f32")]
    compute: Dtype,
    /// Keep the matrices of the blocks in 4 bits
    #[arg(long)]
    load_in_4bit: bool,
}

impl Keeping {
    /// How on `device`.
    ///
    /// # Errors
    /// Numbers that it does not compute with.
    pub fn on(self, device: &Device) -> Result<Kept> {
        context::check_dtype(self.compute, device)?;
        Ok(Kept {
            operands: context::operands(self.compute, device),
            frozen: true,
            packed: self.load_in_4bit,
        })
    }

    /// What tells results of one way from those of another.
    pub fn fact(self) -> (&'static str, bool) {
        (self.compute.name(), self.load_in_4bit)
    }
}

/// Another way to call a command, and how it keeps the model then.
pub type Other = (String, Kept);

/// What may be said beside `flags` where a model is only read, fewest bits last.
pub fn others(flags: &str, asked: Kept, device: &Device) -> Vec<Other> {
    let packed = |kept: Kept| Kept {
        packed: true,
        ..kept
    };
    let with = |more: &str| format!("{flags} {more}").trim().to_owned();
    let mut others = vec![(with("--load-in-4bit"), packed(asked))];
    let halves = [Operands::Bf16, Operands::F16];
    if let Some(half) = halves.into_iter().find(|half| computes(device, *half)) {
        let kept = Kept {
            operands: half,
            ..asked
        };
        let flag = format!("--compute {}", half.name());
        others.insert(0, (with(&flag), kept));
        others.push((with(&format!("{flag} --load-in-4bit")), packed(kept)));
    }
    others
}

/// Stops a command before it loads a model that surely does not fit: what `takes` counts is all there at once.
///
/// # Errors
/// What it takes, what the device has, and up to three ways to make it fit.
pub fn must_fit(
    model: &Path,
    global: &Global,
    asked: Kept,
    others: &[Other],
    takes: &dyn Fn(&DecoderSpec, Kept) -> u64,
) -> Result<()> {
    let Some(here) = device::find(&global.backend, global.device) else {
        // Opening it says why.
        return Ok(());
    };
    let Some(spec) = spec_of(model)? else {
        return Ok(());
    };
    let bytes = takes(&spec, asked);
    let mut narrower: Vec<(&str, u64)> = Vec::new();
    for (flags, kept) in others {
        let fewer = takes(&spec, *kept);
        // More flags that save nothing are no way.
        if narrower.iter().all(|(_, known)| fewer < *known) {
            narrower.push((flags, fewer));
        }
    }
    match has(&here, bytes) {
        true => Ok(()),
        false => Err(refusal(
            &model.display(),
            bytes,
            &here,
            &narrower,
            &device::found(),
        )),
    }
}

/// Why a model of so many bytes is not loaded, and what makes it fit: fewer bits, or another device.
fn refusal(
    model: &dyn Display,
    bytes: u64,
    here: &Found,
    narrower: &[(&str, u64)],
    devices: &[Found],
) -> Error {
    let fact = format!(
        "{model} takes {:.2} GiB, the device has {:.2} GiB ({})",
        gib(bytes),
        gib(here.memory_bytes.unwrap_or_default()),
        here.name
    );
    let fewer = narrower.iter().filter(|(_, bytes)| has(here, *bytes));
    let fewer = fewer.map(|(flags, bytes)| ((*flags).to_owned(), *bytes));
    // A processor that draws for a card has the same memory as the CPU, and is slower.
    let larger = devices
        .iter()
        .filter(|other| has(other, bytes) && !other.software);
    let larger = larger.map(|other| {
        let flags = format!("--backend {} --device {}", other.backend, other.index);
        (flags, bytes)
    });
    let ways: Vec<String> = fewer
        .chain(larger)
        .take(3)
        .map(|(flags, bytes)| format!("{flags} ({:.2} GiB)", gib(bytes)))
        .collect();
    Error::device(fact).hint(match ways.is_empty() {
        true => "nothing that duel knows makes this model fit: take a smaller one".to_owned(),
        false => ways.join("\n      "),
    })
}

/// A device that tells nothing may have it.
fn has(found: &Found, bytes: u64) -> bool {
    found.memory_bytes.is_none_or(|memory| bytes <= memory)
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// The same of a model that is read and no more.
///
/// # Errors
/// As above, and a device that cannot be opened.
pub fn read_on(model: &Path, global: &Global, keeping: Keeping) -> Result<(Device, Kept)> {
    let device = setup::device(global)?;
    let kept = keeping.on(&device)?;
    must_fit(
        model,
        global,
        kept,
        &others("", kept, &device),
        &memory::weights,
    )?;
    Ok((device, kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn device(backend: &'static str, gib: u64, software: bool) -> Found {
        Found {
            backend,
            index: 0,
            name: format!("a {backend}"),
            driver: String::new(),
            memory_bytes: Some(gib << 30),
            software,
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        let card = device("vulkan", 8, false);
        let all = [
            device("cpu", 64, false),
            card.clone(),
            device("dx12", 64, true),
        ];
        let said = |bytes: u64, narrower: &[(&str, u64)]| {
            let error = refusal(&"judge", bytes << 30, &card, narrower, &all);
            error.to_string()
        };
        let narrower = [("--compute auto", 16 << 30), ("--load-in-4bit", 5 << 30)];
        assert_snapshot!(said(32, &narrower), @r"
        judge takes 32.00 GiB, the device has 8.00 GiB (a vulkan)

        hint: --load-in-4bit (5.00 GiB)
              --backend cpu --device 0 (32.00 GiB)
        ");
        assert_snapshot!(said(100, &[]), @r"
        judge takes 100.00 GiB, the device has 8.00 GiB (a vulkan)

        hint: nothing that duel knows makes this model fit: take a smaller one
        ");
    }
}
