//! How a command keeps a model that it only reads, and whether the device has room for that.

use super::{Global, setup};
use crate::error::{Error, Result};
use crate::generate::precision;
use crate::model::{DecoderSpec, Kept, memory, spec_of};
use crate::pipeline::context;
use crate::pipeline::estimate::{gib, hint_of};
use crate::recipe::{Dtype, WeightDtype};
use burn::tensor::Device;
use clap::Args;
use duel_backends::device::{self, Found, computes};
use duel_backends::ops::Operands;
use std::fmt::Display;
use std::path::Path;

/// How a model that is only read is kept.
#[derive(Debug, Clone, Copy, Args)]
pub struct Keeping {
    /// What matrix products read: in bf16 or f16 the weights take half of the memory, and auto is the fewest bits that the
    /// device computes with. What writes lays the matrices out once more
    #[arg(long, default_value = "f32")]
    compute: Dtype,
    /// Keep the matrices of the blocks in 4 bits
    #[arg(long)]
    load_in_4bit: bool,
}

impl Keeping {
    /// How on `device`, which is asked whether it computes so.
    ///
    /// # Errors
    /// Numbers that it does not compute with.
    fn on(self, device: &Device) -> Result<Kept> {
        context::check_dtype(self.compute, device, "--compute")?;
        Ok(self.kept(device))
    }

    /// How on `device`.
    pub fn kept(self, device: &Device) -> Kept {
        Kept {
            operands: context::operands(self.compute, device),
            frozen: true,
            packed: self.load_in_4bit,
        }
    }
}

/// Other ways to keep a model that is only read, said beside `flags`: fewest bits last.
pub fn fewer_bits(flags: &str, asked: Kept, device: &Device) -> Vec<(String, Kept)> {
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

/// Stops a command before it loads a model that surely does not fit. `takes` is what is there at once in any case, and
/// `others` what would be with other flags.
///
/// # Errors
/// What it takes, what the device has, and up to three ways to make it fit.
pub fn must_fit(
    model: &Path,
    global: &Global,
    takes: impl Fn(&DecoderSpec) -> u64,
    others: impl Fn(&DecoderSpec) -> Vec<(String, u64)>,
) -> Result<()> {
    let Some(here) = device::find(&global.backend, global.device.unwrap_or(0)) else {
        // Opening it says why.
        return Ok(());
    };
    let Some(spec) = spec_of(model)? else {
        return Ok(());
    };
    let bytes = takes(&spec);
    match has(&here, bytes) {
        true => Ok(()),
        false => {
            let (others, devices) = (others(&spec), device::found());
            Err(refusal(&model.display(), bytes, &here, others, &devices))
        }
    }
}

/// Why a model of so many bytes is not loaded, and what makes it fit: fewer bits, or another device.
fn refusal(
    model: &dyn Display,
    bytes: u64,
    here: &Found,
    others: Vec<(String, u64)>,
    devices: &[Found],
) -> Error {
    let fact = format!(
        "{model} takes {:.2} GiB, the device has {:.2} GiB ({})",
        gib(bytes),
        gib(here.memory_bytes.unwrap_or_default()),
        here.name
    );
    let mut fewer: Vec<(String, u64)> = Vec::new();
    for (flags, bytes) in others {
        // More flags that save nothing are no way.
        if has(here, bytes) && fewer.iter().all(|(_, known)| bytes < *known) {
            fewer.push((flags, bytes));
        }
    }
    // A processor that draws for a card has the same memory as the CPU, and is slower.
    let larger = devices
        .iter()
        .filter(|other| has(other, bytes) && !other.software);
    let larger = larger.map(|other| {
        let flags = format!("--backend {} --device {}", other.backend, other.index);
        (flags, bytes)
    });
    let ways: Vec<String> = fewer
        .into_iter()
        .chain(larger)
        .take(3)
        .map(|(flags, bytes)| format!("{flags} ({:.2} GiB)", gib(bytes)))
        .collect();
    Error::device(fact).hint(hint_of(&ways))
}

/// A device that tells nothing may have it.
fn has(found: &Found, bytes: u64) -> bool {
    found.memory_bytes.is_none_or(|memory| bytes <= memory)
}

/// Where a model that is read and no more is loaded, and how.
///
/// # Errors
/// A device that cannot be opened or does not compute so, and a model that does not fit it.
pub fn read_on(model: &Path, global: &Global, keeping: Keeping) -> Result<(Device, Kept)> {
    let device = setup::device(global)?;
    let kept = keeping.on(&device)?;
    let ways = |spec: &DecoderSpec| {
        let ways = fewer_bits("", kept, &device).into_iter();
        ways.map(|(flags, kept)| (flags, memory::weights(spec, kept)))
            .collect()
    };
    must_fit(model, global, |spec| memory::weights(spec, kept), ways)?;
    Ok((device, kept))
}

/// What decoding rounds the weights to, and whether the command has `--dtype` to say it.
#[derive(Debug, Clone, Copy)]
pub struct Serving {
    /// As `--dtype` says it.
    pub dtype: WeightDtype,
    /// There is such a flag.
    pub flag: bool,
}

impl Serving {
    /// Of a command that rounds nothing.
    pub const F32: Self = Self {
        dtype: WeightDtype::F32,
        flag: false,
    };

    /// As a command's `--dtype` says it.
    pub fn said(dtype: WeightDtype) -> Self {
        Self { dtype, flag: true }
    }
}

/// The same of a model that writes: its matrices are laid out once more for that.
///
/// # Errors
/// As above.
pub fn write_on(
    model: &Path,
    global: &Global,
    keeping: Keeping,
    serving: Serving,
) -> Result<(Device, Kept)> {
    let device = setup::device(global)?;
    let kept = keeping.on(&device)?;
    let takes = |spec: &DecoderSpec| drawing_bytes(spec, kept, serving.dtype, &device);
    must_fit(model, global, takes, |spec| {
        fewer_drawing("", spec, kept, serving, &device)
    })?;
    Ok((device, kept))
}

/// Bytes of a model that writes, before it has written anything.
pub fn drawing_bytes(spec: &DecoderSpec, kept: Kept, dtype: WeightDtype, device: &Device) -> u64 {
    let bytes = match on_cpu(device) {
        true => precision(dtype).bytes_per_weight(),
        // A card keeps them as its products read them.
        false => kept.operands.bytes() as f64,
    };
    memory::weights(spec, kept) + memory::served(spec, bytes)
}

/// What it would be with other flags, fewest bits last.
pub fn fewer_drawing(
    flags: &str,
    spec: &DecoderSpec,
    asked: Kept,
    serving: Serving,
    device: &Device,
) -> Vec<(String, u64)> {
    let dtypes: &[(&str, WeightDtype)] = match serving.flag && on_cpu(device) {
        true => &[
            ("--dtype bf16", WeightDtype::Bf16),
            ("--dtype int8", WeightDtype::Int8),
        ],
        false => &[],
    };
    let mut kepts = vec![(flags.to_owned(), asked)];
    kepts.extend(fewer_bits(flags, asked, device));
    let mut all = Vec::new();
    for (flags, kept) in kepts {
        all.push((
            flags.clone(),
            drawing_bytes(spec, kept, serving.dtype, device),
        ));
        for (dtype, rounded) in dtypes {
            let bytes = drawing_bytes(spec, kept, *rounded, device);
            all.push((format!("{flags} {dtype}").trim().to_owned(), bytes));
        }
    }
    all
}

fn on_cpu(device: &Device) -> bool {
    device::row_multiple(device) == 1
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
            let narrower = narrower
                .iter()
                .map(|(flags, bytes)| ((*flags).to_owned(), *bytes));
            let error = refusal(&"judge", bytes << 30, &card, narrower.collect(), &all);
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
