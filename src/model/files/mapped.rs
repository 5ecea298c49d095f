//! A file's bytes as the operating system pages them in.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// A read-only memory map of a whole file.
#[derive(Debug)]
pub struct Mapped(Mmap);

impl Mapped {
    /// Maps `path`.
    ///
    /// # Errors
    /// A missing or unreadable file; an empty one cannot be mapped and holds no model either.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |error| Error::io(path, "read", error);
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(Error::user(format!(
                "{} is a directory, not a file",
                path.display()
            )));
        }
        if metadata.len() == 0 {
            return Err(Error::data(format!("{} is empty", path.display()))
                .hint("download or copy the file again"));
        }
        map(&file).map(Self).map_err(io)
    }

    /// Gives back the memory of bytes that were read and are not needed soon: a model that is loaded would else lie there
    /// twice, once in the map. Whoever reads them again has them read from the file again.
    pub fn forget(&self, start: usize, bytes: usize) {
        #[cfg(unix)]
        {
            // Whole pages: the system takes no other.
            let from = start.next_multiple_of(PAGE);
            let until = (start + bytes) / PAGE * PAGE;
            if from < until {
                forget(&self.0, from, until - from);
            }
        }
        let _ = (start, bytes);
    }
}

/// No page of a system that duel runs on is larger.
#[cfg(unix)]
const PAGE: usize = 64 << 10;

#[cfg(unix)]
#[allow(unsafe_code)]
fn forget(map: &Mmap, start: usize, bytes: usize) {
    // SAFETY: a page of a read-only map of a file comes back from it with the same bytes. That it stays is no error.
    let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, bytes) };
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and private to this process. Model files are replaced by rename,
    // never changed in place, so the mapped bytes do not move under us; a file that somebody else
    // shortens meanwhile ends the process (SIGBUS), as it does for every reader of weights by map.
    unsafe { Mmap::map(file) }
}
