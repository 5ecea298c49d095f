//! Kernels of one purpose, tried against each other on the card at hand: once for each kind of call, and what is found is kept
//! in a file. What is best depends on registers, caches and compilers that no driver tells of.

use burn_cubecl::cubecl::device::WgpuDeviceKind;
use burn_cubecl::cubecl::future::block_on;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeDevice, CubeTuneId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Whether trying pays on the device of `like`. A processor that stands in for a card would try for longer than it computes.
pub fn pays(like: &CubeTensor) -> bool {
    !matches!(&like.device, CubeDevice::Wgpu(device) if device.kind == WgpuDeviceKind::Cpu)
}

/// The fastest of `ways` for calls of this kind; the first where the card can run none. `run` runs way `i` and hands back what
/// it wrote, or nothing where the card cannot; it may be run more than once.
pub fn fastest(
    like: &CubeTensor,
    kind: &str,
    ways: &[&str],
    run: &mut dyn FnMut(usize) -> Option<CubeTensor>,
) -> usize {
    let device = CubeTuneId::new(&like.client, &like.device).to_string();
    let mut known = known().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(way) = known.way(&device, kind, ways) {
        return way;
    }
    // Nobody else tries meanwhile: two at once would measure each other.
    let mut time = |way: usize| -> Option<Duration> {
        // The first run compiles it.
        let mut best = Duration::MAX;
        done(&run(way)?)?;
        for _ in 0..RUNS {
            let began = Instant::now();
            done(&run(way)?)?;
            best = best.min(began.elapsed());
        }
        Some(best)
    };
    let times = (0..ways.len()).filter_map(|way| Some((time(way)?, way)));
    let way = times.min().map_or(0, |(_, way)| way);
    known.keep(&device, kind, ways[way]);
    way
}

/// Which of `ways` was found for `kind` of `device`; `find` finds it where nobody knows, and says whether that is to be kept.
pub fn remembered(
    device: &str,
    kind: &str,
    ways: &[&str],
    find: &dyn Fn() -> (usize, bool),
) -> usize {
    let look = |known: &Known| known.way(device, kind, ways);
    let lock = || known().lock().unwrap_or_else(PoisonError::into_inner);
    // What finds it may try kernels, which are remembered here too.
    let before = look(&lock());
    before.unwrap_or_else(|| {
        let (way, sure) = find();
        if sure {
            lock().keep(device, kind, ways[way]);
        }
        way
    })
}

/// Runs of a way, of which the fastest counts.
const RUNS: usize = 3;

/// Waits until a result is there; none if what should have written it failed, which nothing but its buffer tells.
fn done(result: &CubeTensor) -> Option<()> {
    block_on(result.client.sync_buffers([&result.handle])).ok()
}

/// What was found out: of a device and a kind of call, the way's name.
struct Known {
    ways: BTreeMap<String, BTreeMap<String, String>>,
    /// Best effort: without a file everything is tried again in the next process.
    file: Option<PathBuf>,
}

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Keeps what is found out in `folder`; the first call counts, and only before anything was tried.
pub fn keep_in(folder: &Path) {
    FOLDER.get_or_init(|| folder.to_owned());
}

fn known() -> &'static Mutex<Known> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        // Another version may have other kernels under the same names.
        let name = concat!("fastest-", env!("CARGO_PKG_VERSION"), ".json");
        let file = FOLDER.get().map(|folder| folder.join(name));
        Mutex::new(Known::read(file))
    })
}

impl Known {
    /// What the file says; a file that says nothing is as none.
    fn read(file: Option<PathBuf>) -> Self {
        let text = file
            .as_ref()
            .and_then(|file| std::fs::read_to_string(file).ok());
        let ways = text.and_then(|text| serde_json::from_str(&text).ok());
        Self {
            ways: ways.unwrap_or_default(),
            file,
        }
    }

    fn way(&self, device: &str, kind: &str, ways: &[&str]) -> Option<usize> {
        let name = self.ways.get(device)?.get(kind)?;
        // Another version of duel may know other ways.
        ways.iter().position(|way| way == name)
    }

    fn keep(&mut self, device: &str, kind: &str, way: &str) {
        let of_device = self.ways.entry(device.to_owned()).or_default();
        of_device.insert(kind.to_owned(), way.to_owned());
        if let Some(file) = &self.file {
            // Best effort, as above.
            let _ = write(file, &self.ways);
        }
    }
}

/// Whole or not at all: programs that run side by side write one after the other.
fn write(file: &Path, ways: &BTreeMap<String, BTreeMap<String, String>>) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(ways)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let part = file.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&part, text)?;
    std::fs::rename(part, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cube, device};
    use burn::tensor::Tensor;

    fn tensors() -> Vec<CubeTensor> {
        let found = device::found()
            .into_iter()
            .filter(|found| found.backend != "cpu");
        let tensor = |found: device::Found| {
            let device = device::open(found.backend, found.index).expect("it was found");
            cube::primitive(Tensor::zeros([1, 4], &device))
        };
        found.map(tensor).collect()
    }

    #[test]
    fn the_fastest_way_that_the_card_can_is_found_once() {
        for like in tensors() {
            let mut runs = [0; 3];
            let mut run = |way: usize| {
                runs[way] += 1;
                match way {
                    0 => std::thread::sleep(Duration::from_millis(10)),
                    1 => return None,
                    _ => {}
                }
                Some(like.clone())
            };
            let ways = ["slow", "impossible", "fast"];
            assert_eq!(fastest(&like, "test: once", &ways, &mut run), 2);
            assert_eq!(fastest(&like, "test: once", &ways, &mut run), 2);
            assert_eq!(
                runs,
                [1 + RUNS, 1, 1 + RUNS],
                "the second call tried nothing"
            );
        }
    }

    #[test]
    fn what_is_remembered_is_found_once() {
        let ways = ["0", "1"];
        assert_eq!(remembered("test", "a machine", &ways, &|| (0, false)), 0);
        assert_eq!(remembered("test", "a machine", &ways, &|| (1, true)), 1);
        let again = || panic!("it is known");
        assert_eq!(remembered("test", "a machine", &ways, &again), 1);
        assert_eq!(remembered("test", "another", &ways, &|| (0, true)), 0);
    }

    #[test]
    fn what_was_found_is_read_back_and_a_broken_file_is_as_none() {
        let folder = std::env::temp_dir().join(format!("duel-tried-{}", std::process::id()));
        let file = folder.join("fastest.json");
        let mut known = Known::read(Some(file.clone()));
        known.keep("card", "product", "b");
        let back = Known::read(Some(file.clone()));
        assert_eq!(back.way("card", "product", &["a", "b"]), Some(1));
        assert_eq!(
            back.way("card", "product", &["a", "c"]),
            None,
            "a way that is gone"
        );
        assert_eq!(back.way("other", "product", &["a", "b"]), None);
        std::fs::write(&file, "{").expect("written");
        assert!(Known::read(Some(file)).ways.is_empty());
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
