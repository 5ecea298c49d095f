//! Which device `auto` takes: the one on which a training step is the fastest, measured. A card that is slower than the
//! processor beside it counts for nothing.

use super::{Found, found, open, probe};
use std::sync::OnceLock;

/// What `auto` takes, with the reason. It is measured once for a set of devices and drivers, where kernels are kept
/// (see [`super::keep_kernels_in`]); else once a process.
pub fn choose() -> &'static Chosen {
    static CHOSEN: OnceLock<Chosen> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let speed = |found: &Found| {
            let device = open(found.backend, found.index).ok()?;
            probe::guarded(|| probe::step_rate(&device))
        };
        chosen(&found(), &remembered, &speed)
    })
}

/// A device, and why it is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The device.
    pub device: Found,
    /// The reason.
    pub why: &'static str,
}

/// The index of a device for a set of them; what finds it is only run where nobody knows it yet, and is forgotten where it
/// is not sure.
type Memory<'a> = &'a dyn Fn(&str, usize, &dyn Fn() -> (usize, bool)) -> usize;

/// The fastest of `devices`, the processor first. A machine without a graphics card has nothing to measure, and the
/// software renderers of graphics drivers are never taken.
fn chosen(devices: &[Found], memory: Memory, speed: &dyn Fn(&Found) -> Option<f64>) -> Chosen {
    let real: Vec<&Found> = devices.iter().filter(|found| !found.software).collect();
    if real.len() == 1 {
        return Chosen {
            device: real[0].clone(),
            why: "there is no graphics card",
        };
    }
    let names = real.iter().map(|found| {
        let Found {
            backend,
            index,
            name,
            driver,
            ..
        } = found;
        format!("{backend} {index} {name} {driver}")
    });
    let names = names.collect::<Vec<_>>().join("; ");
    let fastest = || {
        let speeds: Vec<Option<f64>> = real.iter().map(|found| speed(found)).collect();
        // A card that was busy or out of memory may do better next time.
        let sure = speeds.iter().all(Option::is_some);
        let mut best = 0;
        for (at, speed) in speeds.iter().enumerate() {
            // Of several names of one card the first stays.
            if *speed > speeds[best] {
                best = at;
            }
        }
        (best, sure)
    };
    Chosen {
        device: real[memory(&names, real.len(), &fastest)].clone(),
        why: "a training step was the fastest on it",
    }
}

/// Kept beside the kernels of the machine.
fn remembered(names: &str, count: usize, find: &dyn Fn() -> (usize, bool)) -> usize {
    #[cfg(feature = "cube")]
    {
        let ways: Vec<String> = (0..count).map(|index| index.to_string()).collect();
        let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
        // Another build may have slower loops, or write other kernels.
        let build = (
            cfg!(debug_assertions),
            cfg!(feature = "vulkan"),
            cfg!(feature = "metal"),
        );
        crate::tried::remembered("auto", &format!("{names}; {build:?}"), &ways, find)
    }
    #[cfg(not(feature = "cube"))]
    {
        let _ = (names, count);
        find().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn device(backend: &'static str, index: usize, software: bool) -> Found {
        Found {
            backend,
            index,
            name: format!("a {backend}"),
            driver: "1.0".to_owned(),
            memory_bytes: None,
            software,
        }
    }

    fn afresh(_: &str, _: usize, find: &dyn Fn() -> (usize, bool)) -> usize {
        find().0
    }

    #[test]
    fn the_fastest_step_decides_whatever_the_kind_of_device() {
        let devices = [
            device("cpu", 0, false),
            device("vulkan", 0, false),
            device("vulkan", 1, false),
            device("dx12", 0, false),
        ];
        let taken = |speeds: [Option<f64>; 4]| {
            let speed = |found: &Found| {
                let at = devices.iter().position(|device| device == found);
                speeds[at.expect("one of them")]
            };
            let chosen = chosen(&devices, &afresh, &speed).device;
            (chosen.backend, chosen.index)
        };
        let slow = Some(1.0);
        assert_eq!(taken([slow, Some(9.0), Some(10.0), slow]), ("vulkan", 1));
        assert_eq!(taken([Some(11.0), Some(9.0), Some(10.0), slow]), ("cpu", 0));
        assert_eq!(
            taken([slow, Some(9.0), slow, Some(9.0)]),
            ("vulkan", 0),
            "one card by two names"
        );
        assert_eq!(
            taken([slow, None, None, None]),
            ("cpu", 0),
            "cards that fail"
        );
    }

    #[test]
    fn nothing_is_measured_without_a_card_or_where_the_answer_is_known() {
        let speed = |_: &Found| -> Option<f64> { panic!("nothing to measure") };
        let machine = [device("cpu", 0, false), device("vulkan", 0, true)];
        let alone = chosen(&machine, &afresh, &speed);
        assert_eq!(
            (alone.device.backend, alone.why),
            ("cpu", "there is no graphics card")
        );
        let machine = [device("cpu", 0, false), device("vulkan", 0, false)];
        let asked = Cell::new(String::new());
        let known = |names: &str, _: usize, _: &dyn Fn() -> (usize, bool)| {
            asked.set(names.to_owned());
            1
        };
        assert_eq!(chosen(&machine, &known, &speed).device.backend, "vulkan");
        assert_eq!(asked.take(), "cpu 0 a cpu 1.0; vulkan 0 a vulkan 1.0");
    }

    #[test]
    fn an_answer_without_one_of_the_devices_is_not_kept() {
        let machine = [device("cpu", 0, false), device("vulkan", 0, false)];
        let sure = |of_card: Option<f64>| {
            let kept = Cell::new(None);
            let memory = |_: &str, _: usize, find: &dyn Fn() -> (usize, bool)| {
                let (found, sure) = find();
                kept.set(Some(sure));
                found
            };
            let speed = |found: &Found| {
                if found.backend == "cpu" {
                    Some(1.0)
                } else {
                    of_card
                }
            };
            chosen(&machine, &memory, &speed);
            kept.get()
        };
        assert_eq!([sure(Some(2.0)), sure(None)], [Some(true), Some(false)]);
    }
}
